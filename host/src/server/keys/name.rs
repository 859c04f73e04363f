//! What a key is called, and whom it is for.

use std::fmt;

use crate::app::AuthLevel;

/// The master key's name.
pub const MASTER: &str = "_master";

/// The name of the key that every function and the host have from the beginning.
pub const DEFAULT: &str = "default";

/// The system key that opens the management API.
pub const DURABLE_TASK: &str = "durabletask_extension";

/// What a key opens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everything.
    Master,
    /// Every function of level `function`.
    Host,
    /// An extension: the management API, if the key's name is [`DURABLE_TASK`]; and functions of level `system`.
    System,
    /// One function of level `function`: its name, in lower case.
    Function(String),
}

impl Scope {
    /// The scope of one function's keys.
    pub fn function(name: &str) -> Self {
        Self::Function(name.to_ascii_lowercase())
    }

    /// Reads the text that [`fmt::Display`] makes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "master" => Some(Self::Master),
            "host" => Some(Self::Host),
            "system" => Some(Self::System),
            _ => text.strip_prefix("function:").filter(|name| !name.is_empty()).map(Self::function),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Host => f.write_str("host"),
            Self::System => f.write_str("system"),
            Self::Function(name) => write!(f, "function:{name}"),
        }
    }
}

/// A key's scope and name. Names compare without regard to case: this one is in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId {
    /// What it opens.
    pub scope: Scope,
    /// Its name.
    pub name: String,
}

impl KeyId {
    /// The master key.
    pub fn master() -> Self {
        Self { scope: Scope::Master, name: MASTER.to_owned() }
    }

    /// The system key that opens the management API.
    pub fn durable_task() -> Self {
        Self { scope: Scope::System, name: DURABLE_TASK.to_owned() }
    }

    /// The first key of the host or of a function.
    pub fn default_of(scope: Scope) -> Self {
        Self { scope, name: DEFAULT.to_owned() }
    }

    /// A key by the name that a caller gave. The name of the master key is its own scope's, whatever the caller said: Azure's
    /// tools ask for it among the system keys. None if no key can have that name.
    pub fn parse(scope: Scope, name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case(MASTER) && !matches!(scope, Scope::Function(_)) {
            return Some(Self::master());
        }
        let is_name = (1..=128).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        (is_name && scope != Scope::Master).then(|| Self { scope, name: name.to_ascii_lowercase() })
    }

    /// The host needs it: it can be given another value, but not be deleted.
    pub fn is_built_in(&self) -> bool {
        *self == Self::master() || *self == Self::durable_task()
    }
}

/// What a request needs a key for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Demand<'a> {
    /// To call a function.
    Function { name: &'a str, level: AuthLevel },
    /// The management API.
    DurableTask,
    /// What only the master key opens.
    Admin,
}

impl Demand<'_> {
    /// Whether a key of this name and scope is one that opens it. The master key opens everything; any other one exactly what it
    /// is for.
    pub(super) fn is_met_by(self, key: &KeyId) -> bool {
        if key.scope == Scope::Master {
            return true;
        }
        match self {
            Self::Function { level: AuthLevel::Anonymous, .. } => true,
            Self::Function { name, level: AuthLevel::Function } => match &key.scope {
                Scope::Host => true,
                Scope::Function(function) => function.eq_ignore_ascii_case(name),
                Scope::System | Scope::Master => false,
            },
            Self::Function { level: AuthLevel::System, .. } => key.scope == Scope::System,
            // Who has signed in, no key can tell.
            Self::Function { level: AuthLevel::Admin | AuthLevel::User, .. } | Self::Admin => false,
            Self::DurableTask => *key == KeyId::durable_task(),
        }
    }

    /// No key is needed.
    pub(in crate::server) fn is_open(self) -> bool {
        matches!(self, Self::Function { level: AuthLevel::Anonymous, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_takes_exactly_its_keys() {
        let function = |level| Demand::Function { name: "HttpStart", level };
        let keys = [
            KeyId::master(),
            KeyId::default_of(Scope::Host),
            KeyId::default_of(Scope::function("HttpStart")),
            KeyId::default_of(Scope::function("Other")),
            KeyId::durable_task(),
            KeyId::parse(Scope::System, "other").unwrap(),
        ];
        for (demand, opened) in [
            (function(AuthLevel::Anonymous), [true, true, true, true, true, true]),
            (function(AuthLevel::Function), [true, true, true, false, false, false]),
            (function(AuthLevel::System), [true, false, false, false, true, true]),
            (function(AuthLevel::Admin), [true, false, false, false, false, false]),
            (function(AuthLevel::User), [true, false, false, false, false, false]),
            (Demand::DurableTask, [true, false, false, false, true, false]),
            (Demand::Admin, [true, false, false, false, false, false]),
        ] {
            assert_eq!(keys.each_ref().map(|key| demand.is_met_by(key)), opened, "{demand:?}");
        }
    }

    #[test]
    fn names_are_plain_and_compare_without_case() {
        assert_eq!(KeyId::parse(Scope::Host, "My-Key.1_a").unwrap().name, "my-key.1_a");
        assert_eq!(KeyId::parse(Scope::System, "_MASTER"), Some(KeyId::master()));
        assert_eq!(KeyId::parse(Scope::function("F"), "_master"), None);
        for wrong in ["", "_x", "a b", "a/b", "a\r\nb", "\u{fc}", &"x".repeat(129)] {
            assert_eq!(KeyId::parse(Scope::Host, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for scope in [Scope::Master, Scope::Host, Scope::System, Scope::function("HttpStart")] {
            assert_eq!(Scope::parse(&scope.to_string()), Some(scope));
        }
        assert_eq!(Scope::parse("function:"), None);
        assert_eq!(Scope::parse("other"), None);
    }
}
