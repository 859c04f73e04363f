//! The counts of calls that ran when a signal ended the host: who is a suspect, and who is parked.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    CallKind, EndOfFlight,
    recorder::{EXECUTION_WORDS, Recorded},
    replace, signal_name,
};
use crate::durable::{EntityId, FunctionName, derived_id};

/// A call with so many ends of the host on its account is a suspect: it is dispatched alone.
pub const SUSPECT_ATTEMPTS: u32 = 2;

/// So often in a row the host may end within a minute of a call's lone dispatch: then the call is parked.
pub const ALONE_ENDS_MAX: u32 = 3;

const VERSION: u32 = 1;

/// What stands for an entity in a [`CallKey`]: its id, or a digest of a long one. No execution id begins so.
#[must_use]
pub fn entity_text(id: &EntityId) -> String {
    shortened('@', id.to_string())
}

/// What stands for a timer function in a [`CallKey`], and for no execution.
#[must_use]
pub fn timer_text(name: &FunctionName) -> String {
    shortened('#', format!("#{}", name.as_str().to_ascii_lowercase()))
}

fn shortened(mark: char, text: String) -> String {
    if text.len() <= EXECUTION_WORDS * 8 { text } else { format!("{mark}{}", derived_id(&text, 0)) }
}

/// A guest call, over all its attempts: the orchestrator of an execution, or one of its activities; the batches of an entity;
/// the runs of a timer function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallKey {
    /// The execution; or an entity ([`entity_text`]) or a timer function ([`timer_text`]).
    pub execution: String,
    /// The activity's sequence number; none is a turn of the orchestrator, a batch or a run.
    pub activity: Option<u32>,
}

impl CallKey {
    fn is_entity(&self) -> bool {
        self.execution.starts_with('@')
    }

    /// True for what no operator can resume: a corrected component is what it waits for.
    fn waits_for_component(&self) -> bool {
        self.is_entity() || self.execution.starts_with('#')
    }
}

/// What is known of a call that ran when the host was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The function.
    pub function: String,
    /// How often the host ended while it ran.
    pub attempts: u32,
    /// How often in a row it did within a minute of the call's lone dispatch.
    pub alone_ends: u32,
    /// The last signal.
    pub signal: i32,
    /// It is not dispatched any more until an operator resumes the instance.
    pub parked: bool,
}

impl Count {
    /// True if the call may run only with no other suspect beside it.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.attempts >= SUSPECT_ATTEMPTS && !self.parked
    }

    /// Why the call is parked, and what to do, for an operator.
    #[must_use]
    pub fn diagnostics(&self, key: &CallKey) -> String {
        let what = match key.activity {
            Some(sequence) => format!("activity function '{}' (action {sequence})", self.function),
            None if key.is_entity() => format!("entity function '{}' ({})", self.function, key.execution),
            None if key.waits_for_component() => format!("timer function '{}'", self.function),
            None => format!("orchestrator function '{}'", self.function),
        };
        let remedy = match key.waits_for_component() {
            true => "deploy a corrected component and start the host again",
            false => "deploy a corrected component and resume the instance, or terminate it",
        };
        format!(
            "parked: the host was ended {} times while {what} ran, the last {} times within a minute of running it alone, \
             last by {}; {remedy}",
            self.attempts,
            self.alone_ends,
            signal_name(self.signal)
        )
    }
}

/// The counts, and where they are kept.
#[derive(Clone, Debug, Default)]
pub struct Book {
    path: Option<PathBuf>,
    /// The last process whose end was counted.
    run: u64,
    counts: BTreeMap<CallKey, Count>,
    /// The components of the last process that said so, by function.
    deployed: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    run: u64,
    calls: Vec<StoredCall>,
    #[serde(default)]
    deployed: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct StoredCall {
    #[serde(flatten)]
    key: CallKey,
    #[serde(flatten)]
    count: Count,
}

impl Book {
    /// An empty book; without a path it is kept in memory only.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path, ..Self::default() }
    }

    /// Reads a book; a file that does not exist is an empty one.
    ///
    /// # Errors
    /// If the file cannot be read or is none.
    pub fn load(path: &Path) -> io::Result<Self> {
        let book = Self::new(Some(path.to_owned()));
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(book),
            Err(error) => return Err(error),
        };
        let Stored { version, run, calls, deployed } = serde_json::from_slice(&bytes)?;
        if version != VERSION {
            return Err(io::Error::other(format!("its version is {version}, this host knows {VERSION}")));
        }
        let counts = calls.into_iter().map(|call| (call.key, call.count)).collect();
        Ok(Self { run, counts, deployed, ..book })
    }

    /// Counts what ran when a process ended. False if there was nothing to count, or this end had been counted before.
    pub fn count(&mut self, end: &EndOfFlight) -> bool {
        let calls: Vec<_> = end.calls.iter().filter_map(|call| Some((key_of(call)?, call))).collect();
        if end.run == self.run || calls.is_empty() {
            return false;
        }
        self.run = end.run;
        for (key, call) in calls {
            let count = self.counts.entry(key).or_insert_with(|| Count {
                function: call.function.clone(),
                attempts: 0,
                alone_ends: 0,
                signal: end.signal,
                parked: false,
            });
            count.attempts += 1;
            count.signal = end.signal;
            count.alone_ends += u32::from(call.alone);
            count.parked |= count.alone_ends >= ALONE_ENDS_MAX;
        }
        true
    }

    /// Takes note of the components that entity and timer functions run on from here, by function name. Where one is another
    /// than in the process before, the counts of its function begin anew: an entity or a timer function that was parked runs
    /// again. True if something has changed: then the book is to be saved.
    pub fn deploy(&mut self, components: BTreeMap<String, String>) -> bool {
        let components: BTreeMap<_, _> =
            components.into_iter().map(|(name, digest)| (name.to_ascii_lowercase(), digest)).collect();
        if components == self.deployed {
            return false;
        }
        let before = std::mem::replace(&mut self.deployed, components);
        let (before, now) = (&before, &self.deployed);
        self.counts.retain(|key, count| {
            let name = count.function.to_ascii_lowercase();
            !key.waits_for_component() || !now.contains_key(&name) || before.get(&name) == now.get(&name)
        });
        true
    }

    /// What is counted of a call.
    #[must_use]
    pub fn get(&self, key: &CallKey) -> Option<&Count> {
        self.counts.get(key)
    }

    /// The counts of an execution's calls.
    pub fn of_execution<'a>(&'a self, execution: &'a str) -> impl Iterator<Item = (&'a CallKey, &'a Count)> + 'a {
        let first = CallKey { execution: execution.to_owned(), activity: None };
        self.counts.range(first..).take_while(move |(key, _)| key.execution == execution)
    }

    /// Forgets calls for which this is false. True if there were some.
    pub fn retain(&mut self, mut keep: impl FnMut(&CallKey) -> bool) -> bool {
        let before = self.counts.len();
        self.counts.retain(|key, _| keep(key));
        self.counts.len() != before
    }

    /// How many calls are counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// True if nothing is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Makes it durable. After a crash meanwhile the file is as before, or as now.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let call = |(key, count): (&CallKey, &Count)| StoredCall { key: key.clone(), count: count.clone() };
        let stored = Stored {
            version: VERSION,
            run: self.run,
            calls: self.counts.iter().map(call).collect(),
            deployed: self.deployed.clone(),
        };
        replace(path, &serde_json::to_vec_pretty(&stored)?)
    }
}

/// HTTP functions are nobody's instance: nothing repeats them.
fn key_of(call: &Recorded) -> Option<CallKey> {
    let activity = match call.kind {
        CallKind::Turn | CallKind::Entity | CallKind::Timer => None,
        CallKind::Activity => Some(call.number),
        CallKind::Http => return None,
    };
    Some(CallKey { execution: call.execution.clone(), activity })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(run: u64, calls: &[(u32, bool)]) -> EndOfFlight {
        let call = |&(number, alone): &(u32, bool)| Recorded {
            kind: CallKind::Activity,
            execution: "e".into(),
            number,
            attempt: 1,
            function: "F".into(),
            alone,
        };
        EndOfFlight { run, signal: libc::SIGSEGV, calls: calls.iter().map(call).collect() }
    }

    fn key(number: u32) -> CallKey {
        CallKey { execution: "e".into(), activity: Some(number) }
    }

    #[test]
    fn a_call_is_parked_after_two_ends_among_others_and_three_alone() {
        let mut book = Book::new(None);
        for (run, alone) in [(1, false), (2, false), (3, true), (4, true), (5, true)] {
            assert!(!book.get(&key(0)).is_some_and(|count| count.parked), "before run {run}");
            assert_eq!(book.get(&key(0)).is_some_and(Count::is_suspect), run > 2);
            assert!(book.count(&end(run, &[(0, alone), (run as u32, false)])));
        }
        let count = book.get(&key(0)).unwrap();
        assert!(count.parked && !count.is_suspect());
        let text = count.diagnostics(&key(0));
        assert!(
            text.starts_with("parked: the host was ended 5 times while activity function 'F' (action 0) ran"),
            "{text}"
        );
        assert!(text.contains("SIGSEGV") && text.contains("resume the instance, or terminate it"), "{text}");
        assert!(!book.get(&key(3)).unwrap().is_suspect(), "it was there once");
    }

    #[test]
    fn an_end_counts_once() {
        let mut book = Book::new(None);
        assert!(book.count(&end(7, &[(0, false)])));
        assert!(!book.count(&end(7, &[(0, false)])));
        assert_eq!(book.get(&key(0)).unwrap().attempts, 1);
        assert!(!book.count(&end(8, &[])));
    }

    #[test]
    fn another_component_forgives_an_entity_and_a_timer_function_and_no_instance() {
        let mut book = Book::new(None);
        let deployed = |digest: &str| BTreeMap::from([("Counter".to_owned(), digest.to_owned())]);
        assert!(book.deploy(deployed("1")) && !book.deploy(deployed("1")));
        let long = entity_text(&EntityId::parse("Counter", &"x".repeat(200)).unwrap());
        let timer = timer_text(&FunctionName::new("Counter"));
        assert!(long.len() <= EXECUTION_WORDS * 8 && long.starts_with('@') && timer == "#counter");
        for (run, execution) in (1..).zip(["@counter@a", &long, &timer, "e"]) {
            let mut end = end(run, &[(0, true)]);
            (end.calls[0].kind, end.calls[0].function) = (CallKind::Entity, "counter".into());
            end.calls[0].execution = execution.to_owned();
            book.count(&end);
        }
        assert!(!book.deploy(deployed("1")) && book.len() == 4);
        assert!(book.deploy(BTreeMap::new()) && book.len() == 4, "a function that is gone keeps its counts");
        book.deploy(deployed("2"));
        assert_eq!(book.counts.keys().map(|key| key.execution.as_str()).collect::<Vec<_>>(), ["e"]);
    }

    #[test]
    fn a_book_is_read_as_it_was_saved_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("book.json");
        assert!(Book::load(&path).unwrap().is_empty());
        let mut book = Book::load(&path).unwrap();
        book.count(&end(u64::MAX, &[(0, true), (1, false)]));
        book.save().unwrap();
        let mut again = Book::load(&path).unwrap();
        assert_eq!(again.counts, book.counts);
        assert!(!again.count(&end(u64::MAX, &[(0, true)])), "counted before");
        assert!(again.retain(|key| key.activity != Some(0)) && again.len() == 1);
        assert_eq!(book.of_execution("e").count(), 2);
        assert_eq!(book.of_execution("").count(), 0);
        for text in ["", "{}", "[]", r#"{"version":2,"run":1,"calls":[]}"#] {
            fs::write(&path, text).unwrap();
            assert!(Book::load(&path).is_err(), "{text}");
        }
    }
}
