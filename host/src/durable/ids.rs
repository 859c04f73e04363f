//! Names and numbers: one type per idea, so that none can be taken for another.

use std::{fmt, sync::Arc};

/// An instance id: what callers choose to name an orchestration's instance. Case-sensitive.
///
/// The rules are Durable Functions': 1 to 256 characters, no leading `@`, none of `/ \ # ?`, no control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);

/// Why a text is no instance id. The texts are Durable Functions' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstanceIdError {
    /// It begins with `@`, which entities' ids do.
    #[error("Orchestration instance ids must not start with @.")]
    StartsWithAt,
    /// It holds a character that a URL path cannot carry.
    #[error("Orchestration instance ids must not contain /, \\, #, ?, or control characters.")]
    IllegalCharacter,
    /// It is longer than 256 characters (UTF-16 units, as the original counts them).
    #[error("Instance ID lengths must not exceed 256 characters.")]
    TooLong,
    /// It is empty.
    #[error("Instance ids must not be empty.")]
    Empty,
}

impl InstanceId {
    /// Checks a caller's text.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, InstanceIdError> {
        if text.is_empty() {
            return Err(InstanceIdError::Empty);
        }
        if text.starts_with('@') {
            return Err(InstanceIdError::StartsWithAt);
        }
        if text.chars().any(|c| matches!(c, '/' | '\\' | '#' | '?') || c.is_control()) {
            return Err(InstanceIdError::IllegalCharacter);
        }
        if text.encode_utf16().count() > 256 {
            return Err(InstanceIdError::TooLong);
        }
        Ok(Self(text.into()))
    }

    /// Takes a text that was checked when it was stored.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for an entity's, which no orchestration can have.
    pub fn is_entity(&self) -> bool {
        self.0.starts_with('@')
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Names one execution: new with each start, restart, replacement and continue-as-new, kept by rewind.
/// A guest's entropy and GUIDs derive from it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExecutionId(pub Arc<str>);

impl ExecutionId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a function. Compares without regard to ASCII case, shows itself as it was written.
#[derive(Clone, Debug)]
pub struct FunctionName(Arc<str>);

impl FunctionName {
    /// Wraps a name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|b| b.to_ascii_lowercase())
    }
}

impl PartialEq for FunctionName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for FunctionName {}

impl PartialOrd for FunctionName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FunctionName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.folded().cmp(other.folded())
    }
}

impl std::hash::Hash for FunctionName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for byte in self.folded() {
            state.write_u8(byte);
        }
        state.write_u8(0xff);
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Storage's number of an instance: ascending, kept over replacement and restart. Never leaves the host.
    InstanceKey(i64)
}
number! {
    /// Storage's number of a generation (one run of an instance): ascending over all instances. Never leaves the host.
    GenerationKey(i64)
}
number! {
    /// Numbers the messages of one instance, ascending; outlives generations.
    MessageNumber(i64)
}
number! {
    /// Numbers the turns of one generation: 0 is the record of the start, 1 the first run of code.
    TurnNumber(u32)
}

impl TurnNumber {
    /// The record of the start.
    pub const START: Self = Self(0);

    /// The turn after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Numbers the actions of one execution, from 0, in the order in which the code made them. Below 2^31.
pub type Sequence = u32;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// The latest time that the host accepts: 9999-12-31T23:59:59Z, in microseconds.
const LATEST_MICROS: i64 = 253_402_300_799_000_000;

impl Timestamp {
    /// The contract's form: milliseconds. Exact, as both are below 2^53.
    #[expect(clippy::cast_precision_loss, reason = "times are below 2^53 microseconds")]
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// From the contract's milliseconds, rounded up, so that a timer never fires before the time that was asked for.
    /// Not-a-number and the past beyond the epoch become the epoch; what lies beyond the year 9999 becomes its end.
    #[expect(clippy::cast_possible_truncation, reason = "clamped before")]
    pub fn from_millis_f64(millis: f64) -> Self {
        let micros = millis * 1000.0;
        // A time that came from `as_millis_f64` is within rounding of a whole number and must return to exactly that.
        let nearest = micros.round();
        let micros = if (micros - nearest).abs() < 0.01 { nearest } else { micros.ceil() };
        if micros.is_nan() {
            return Self(0);
        }
        Self(micros.clamp(0.0, LATEST_MICROS as f64) as i64)
    }

    /// This time plus a duration, held below the year 10000.
    pub fn plus(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros).min(LATEST_MICROS))
    }

    /// How long until `later`; zero if it has passed.
    pub fn until(self, later: Self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

/// SHA-256 of a component's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which start an instance stems from: kept by continue-as-new, rewind and a restart of the host, and another one after each
/// start, replacement or restart under the id. The number is never given twice to different ids, the time tells apart the
/// starts under one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The instance's number.
    pub instance: InstanceKey,
    /// When it was started.
    pub time: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_ids_follow_the_documented_rules() {
        assert!(InstanceId::parse("order 17 ü 🙂 %2F").is_ok());
        assert_eq!(InstanceId::parse(""), Err(InstanceIdError::Empty));
        assert_eq!(InstanceId::parse("@a@b"), Err(InstanceIdError::StartsWithAt));
        for bad in ["a/b", "a\\b", "a#", "a?", "a\n", "\u{7f}"] {
            assert_eq!(InstanceId::parse(bad), Err(InstanceIdError::IllegalCharacter), "{bad:?}");
        }
        assert!(InstanceId::parse(&"x".repeat(256)).is_ok());
        assert_eq!(InstanceId::parse(&"x".repeat(257)), Err(InstanceIdError::TooLong));
    }

    #[test]
    fn function_names_compare_without_regard_to_case() {
        use std::collections::BTreeSet;
        assert_eq!(FunctionName::new("E1_SayHello"), FunctionName::new("e1_sayhello"));
        let set = BTreeSet::from([FunctionName::new("Echo")]);
        assert!(set.contains(&FunctionName::new("ECHO")));
    }

    #[test]
    fn times_survive_the_contract_exactly() {
        for micros in [0, 1, 999, 1_795_217_333_372_123, 253_402_300_799_000_000] {
            assert_eq!(Timestamp::from_millis_f64(Timestamp(micros).as_millis_f64()), Timestamp(micros));
        }
        assert_eq!(Timestamp::from_millis_f64(0.0001), Timestamp(1), "rounded up: never early");
        assert_eq!(Timestamp::from_millis_f64(f64::NAN), Timestamp(0));
        assert_eq!(Timestamp::from_millis_f64(f64::INFINITY).0, LATEST_MICROS);
    }
}
