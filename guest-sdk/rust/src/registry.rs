//! The functions that a component holds. The attribute macros put them here before anything else runs.

use crate::activity::ActivityContext;
use crate::entity::batch::Entity;
use crate::failure::{Failure, Result};
use crate::http::{HttpRequest, HttpResponse};
use crate::orchestration::OrchestrationContext;
use crate::timer::TimerInfo;
use std::future::Future;
use std::pin::Pin;

/// An orchestration on its way to its output.
pub type Orchestration = Pin<Box<dyn Future<Output = Result<String>>>>;

/// What runs a function: payloads are JSON text here, the macro's code converts.
#[derive(Clone, Copy)]
pub enum Run {
    /// Of an HTTP trigger.
    Http(fn(HttpRequest) -> HttpResponse),
    /// Of an orchestrator.
    Orchestrator(fn(OrchestrationContext) -> Orchestration),
    /// Of an activity.
    Activity(fn(ActivityContext, String) -> Result<String>),
    /// Of an entity: makes what runs one batch.
    Entity(fn() -> Box<dyn Entity>),
    /// Of a timer trigger.
    Timer(fn(TimerInfo) -> Result<()>),
}

/// A function that an attribute macro announced.
pub struct Function {
    /// Its name: the Rust name, or what the attribute says.
    pub name: &'static str,
    /// What runs it.
    pub run: Run,
}

inventory::collect!(Function);

/// The kinds of functions, as far as looking them up is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    Orchestrator,
    Activity,
    Entity,
    Timer,
}

impl Kind {
    fn of(run: &Run) -> Self {
        match run {
            Run::Http(_) => Self::Http,
            Run::Orchestrator(_) => Self::Orchestrator,
            Run::Activity(_) => Self::Activity,
            Run::Entity(_) => Self::Entity,
            Run::Timer(_) => Self::Timer,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Http => "http trigger",
            Self::Orchestrator => "orchestrator",
            Self::Activity => "activity",
            Self::Entity => "entity",
            Self::Timer => "timer trigger",
        }
    }
}

/// Finds the function that the host means.
/// # Errors
/// Kind `UnknownFunction`, with the names of those that are there, if none or more than one answers to the name.
pub(crate) fn find(kind: Kind, name: &str) -> Result<&'static Function> {
    select(|| inventory::iter::<Function>.into_iter(), kind, name)
}

/// The letters of a name, without what may differ: Rust's `e1_say_hello` answers to `E1_SayHello` and to `e1-say-hello`.
fn letters(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase)
}

/// Whether two names are the same but for what may differ. Every new guest compares all its names with the one that is
/// meant: most differ in the first byte, and that has to be seen at once.
pub(crate) fn is_similar(one: &str, other: &str) -> bool {
    if !one.is_ascii() || !other.is_ascii() {
        return letters(one).eq(letters(other));
    }
    let (mut one, mut other) = (one.bytes(), other.bytes());
    let letter = |bytes: &mut std::str::Bytes<'_>| {
        bytes.find(|byte| !matches!(byte, b'_' | b'-')).map(|byte| byte.to_ascii_lowercase())
    };
    loop {
        match (letter(&mut one), letter(&mut other)) {
            (None, None) => return true,
            (a, b) if a != b => return false,
            _ => {}
        }
    }
}

fn select<'a, I: Iterator<Item = &'a Function>>(
    functions: impl Fn() -> I,
    kind: Kind,
    name: &str,
) -> Result<&'a Function> {
    let of_kind = || functions().filter(|function| Kind::of(&function.run) == kind);
    let similar = || of_kind().filter(|function| is_similar(function.name, name));
    let is_exact = |function: &&Function| function.name.to_lowercase() == name.to_lowercase();
    let mut found = similar();
    let (found, why) = match (found.next(), found.next()) {
        (Some(one), None) => return Ok(one),
        (None, _) => (of_kind().collect::<Vec<_>>(), "has no"),
        (Some(_), Some(_)) => {
            let mut exact = similar().filter(is_exact);
            if let (Some(one), None) = (exact.next(), exact.next()) {
                return Ok(one);
            }
            (similar().collect(), "has more than one")
        }
    };
    let mut names: Vec<String> = found.iter().map(|function| format!("'{}'", function.name)).collect();
    names.sort();
    let known = if names.is_empty() { "none".into() } else { names.join(", ") };
    let message = format!("this component {why} {} function '{name}'; it has: {known}", kind.words());
    Err(Failure::new(message).with_kind("UnknownFunction").non_retriable())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn activity(name: &'static str) -> Function {
        Function { name, run: Run::Activity(|_, input| Ok(input)) }
    }

    #[test]
    fn case_underscores_and_hyphens_do_not_matter() {
        let functions = [activity("e1_say_hello"), activity("other")];
        for name in ["E1_SayHello", "e1-say-hello", "E1SAYHELLO", "e1_say_hello"] {
            assert_eq!(select(|| functions.iter(), Kind::Activity, name).ok().unwrap().name, "e1_say_hello", "{name}");
        }
    }

    #[test]
    fn names_beyond_ascii_compare_by_letters() {
        let functions = [activity("grüße_alle"), activity("gruss")];
        assert_eq!(select(|| functions.iter(), Kind::Activity, "GRÜSSE-alle").err().unwrap().kind(), "UnknownFunction");
        assert_eq!(select(|| functions.iter(), Kind::Activity, "GRÜßE-alle").ok().unwrap().name, "grüße_alle");
        for (one, other) in [("a_b", "a_b_"), ("", "__"), ("Ab", "a-B")] {
            assert!(is_similar(one, other), "{one} {other}");
        }
        for (one, other) in [("a", "ab"), ("ab", "a"), ("", "a"), ("ac", "ab")] {
            assert!(!is_similar(one, other), "{one} {other}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let functions = [activity("b"), activity("a")];
        let failure = select(|| functions.iter(), Kind::Activity, "c").err().unwrap();
        assert_eq!(failure.message(), "this component has no activity function 'c'; it has: 'a', 'b'");
        let failure = select(|| functions.iter(), Kind::Orchestrator, "a").err().unwrap();
        assert_eq!(failure.message(), "this component has no orchestrator function 'a'; it has: none");
    }

    #[test]
    fn of_similar_names_the_exact_one_wins() {
        let functions = [activity("a_b"), activity("ab")];
        assert_eq!(select(|| functions.iter(), Kind::Activity, "AB").ok().unwrap().name, "ab");
        let failure = select(|| functions.iter(), Kind::Activity, "a-b").err().unwrap();
        assert_eq!(failure.message(), "this component has more than one activity function 'a-b'; it has: 'a_b', 'ab'");
    }
}
