//! Why something failed, in the shape in which histories keep it.

use crate::bindings::soloist::functions::types as wit;
use crate::json::Json;
use std::error::Error;
use std::fmt;

/// The result of whatever may fail with a [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why an activity, a sub-orchestration or an orchestration failed.
///
/// It is stored in the history and handed to whoever waits for the result. Every standard error becomes one by `?`: its
/// type's name is the [kind](Failure::kind), its text the message, its sources the causes.
///
/// ```
/// use soloist_sdk::prelude::*;
///
/// #[activity]
/// fn parse_port(text: String) -> Result<u16> {
///     let port: u16 = text.trim().parse()?; // fails with kind `ParseIntError`
///     if port < 1024 {
///         return Err(Failure::new(format!("port {port} is reserved")).with_kind("ReservedPort").non_retriable());
///     }
///     Ok(port)
/// }
/// # assert_eq!(parse_port("x".into()).unwrap_err().kind(), "ParseIntError");
/// ```
pub struct Failure(Box<Inner>);

#[derive(Clone, PartialEq)]
struct Inner {
    failure: wit::Failure,
    /// Set in the one value that [`crate::OrchestrationContext::continue_as_new`] makes.
    continue_as_new: Option<Json>,
}

impl Failure {
    /// A failure of kind `Error` with a text for people.
    pub fn new(message: impl Into<String>) -> Self {
        Self::from_wit(wit::Failure {
            kind: "Error".into(),
            message: message.into(),
            details: None,
            causes: Vec::new(),
            properties: None,
            non_retriable: false,
        })
    }

    /// Names the kind of the error: what a retry policy's filter compares.
    pub fn with_kind(mut self, kind: impl Into<String>) -> Self {
        self.0.failure.kind = kind.into();
        self
    }

    /// Adds a stack trace or other text for the developer.
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.0.failure.details = Some(details.into());
        self
    }

    /// Adds a cause, behind those that are there (nearest first).
    pub fn with_cause(mut self, kind: impl Into<String>, message: impl Into<String>) -> Self {
        self.0.failure.causes.push(wit::FailureCause { kind: kind.into(), message: message.into() });
        self
    }

    /// Adds data of the application.
    pub fn with_properties(mut self, properties: Json) -> Self {
        self.0.failure.properties = Some(properties.into_text());
        self
    }

    /// Says that another attempt cannot help: retry policies give up at once.
    pub fn non_retriable(mut self) -> Self {
        self.0.failure.non_retriable = true;
        self
    }

    /// The kind of the error, for example its type's name; `Error` where the code gave none.
    pub fn kind(&self) -> &str {
        &self.0.failure.kind
    }

    /// What went wrong, for people.
    pub fn message(&self) -> &str {
        &self.0.failure.message
    }

    /// Stack trace or other text for the developer.
    pub fn details(&self) -> Option<&str> {
        self.0.failure.details.as_deref()
    }

    /// What lies beneath, nearest first, as pairs of kind and message.
    pub fn causes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.failure.causes.iter().map(|cause| (cause.kind.as_str(), cause.message.as_str()))
    }

    /// Data of the application, as JSON text.
    pub fn properties(&self) -> Option<&str> {
        self.0.failure.properties.as_deref()
    }

    /// True if another attempt cannot help.
    pub fn is_non_retriable(&self) -> bool {
        self.0.failure.non_retriable
    }

    pub(crate) fn continue_as_new(input: Json) -> Self {
        let mut failure = Self::new("the orchestration continues as new").with_kind("ContinueAsNew");
        failure.0.continue_as_new = Some(input);
        failure
    }

    /// The next execution's input, if this is not a failure but the request to continue as new.
    pub(crate) fn into_continue_as_new(mut self) -> Result<Json, Failure> {
        self.0.continue_as_new.take().ok_or(self)
    }

    /// A named function, for `From` turns standard errors into failures and the generated type is one.
    pub(crate) fn from_wit(failure: wit::Failure) -> Self {
        Self(Box::new(Inner { failure, continue_as_new: None }))
    }

    pub(crate) fn into_wit(self) -> wit::Failure {
        self.0.failure
    }
}

/// Turns any standard error into a failure. (That is why [`Failure`] itself is none: the two would overlap.)
impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut failure = Self::new(error.to_string()).with_kind(type_name::<E>());
        let mut source = error.source();
        while let Some(cause) = source {
            failure = failure.with_cause("Error", cause.to_string());
            source = cause.source();
        }
        failure
    }
}

/// The type's name without its path and parameters: `ParseIntError`, `Error`.
fn type_name<E>() -> &'static str {
    let full = std::any::type_name::<E>();
    let path = full.split('<').next().unwrap_or(full);
    path.rsplit("::").next().unwrap_or(path)
}

impl Clone for Failure {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind(), self.message())?;
        for (kind, message) in self.causes() {
            write!(f, "\ncaused by {kind}: {message}")?;
        }
        if let Some(details) = self.details() {
            write!(f, "\n{details}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot read the number")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_standard_error_keeps_its_type_its_text_and_its_sources() {
        fn read(text: &str) -> Result<u8> {
            Ok(text.parse().map_err(Outer)?)
        }
        let failure = read("x").unwrap_err();
        assert_eq!(failure.kind(), "Outer");
        assert_eq!(failure.message(), "cannot read the number");
        assert_eq!(failure.causes().collect::<Vec<_>>(), [("Error", "invalid digit found in string")]);
        assert!(!failure.is_non_retriable());
    }

    #[test]
    fn only_the_request_to_continue_as_new_is_one() {
        let input = Json::encode(&3).unwrap();
        assert_eq!(Failure::continue_as_new(input.clone()).into_continue_as_new(), Ok(input));
        let failure = Failure::new("x").with_kind("ContinueAsNew");
        assert_eq!(failure.clone().into_continue_as_new(), Err(failure));
    }
}
