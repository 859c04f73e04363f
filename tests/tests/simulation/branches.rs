//! Branches that are waited for together: one fails until it is mended, early or late, while the others go on, send signals,
//! and answer to failures of their own.

use std::collections::BTreeMap;

use soloist::durable::{Failure, GuestOutcome};

use crate::{entities::counter, guest::State, program::activity_result};

/// How many numbers the actions of all branches take.
pub const NUMBERS: u32 = 7;

const BRANCHES: usize = 3;

/// Where the branches stand.
#[derive(Clone, Debug)]
pub struct Branches {
    /// The last branch answers to its failure only once the others are done and have not failed.
    late: bool,
    at: [u32; BRANCHES],
    /// What the branches wait for: each for one activity at most.
    waits: BTreeMap<u32, usize>,
    failed: Option<Failure>,
}

impl State {
    pub fn begin_branches(&mut self, late: bool) {
        let (at, waits) = ([0; BRANCHES], BTreeMap::new());
        self.waits.branches = Some(Branches { late, at, waits, failed: None });
        (0..BRANCHES).for_each(|branch| self.go_on(branch));
    }

    fn branches(&mut self) -> &mut Branches {
        self.waits.branches.as_mut().expect("it has branches")
    }

    /// Goes on with a branch until it waits, or is done.
    fn go_on(&mut self, branch: usize) {
        loop {
            let branches = self.branches();
            branches.at[branch] += 1;
            let (late, step) = (branches.late, branches.at[branch]);
            let waits_for = match (branch, step) {
                (0, 1) => self.fragile_task(),
                (1, 1 | 3) | (2, 2) if !(late && branch == 2) => self.plain_task("Works"),
                (2, 1) => self.plain_task("Fails"),
                (1, 2 | 4) => {
                    self.signal_entity(counter(u64::from(step == 2)), "add", None);
                    continue;
                }
                _ => return,
            };
            self.branches().waits.insert(waits_for, branch);
            return;
        }
    }

    /// What an activity of a branch gave. True if it was one.
    pub fn branch_answer(&mut self, sequence: u32, result: &Result<String, Failure>) -> bool {
        let Some(branches) = &mut self.waits.branches else { return false };
        let Some(branch) = branches.waits.remove(&sequence) else { return false };
        match result {
            Ok(result) => assert_eq!(*result, activity_result(sequence), "the result of another activity"),
            Err(failure) if branch == 0 => branches.failed = Some(failure.clone()),
            Err(failure) => assert_eq!(failure.kind, "Planned", "{failure:?}"),
        }
        self.go_on(branch);
        let branches = self.branches();
        if !branches.waits.is_empty() {
            return true;
        }
        if let Some(failure) = branches.failed.take() {
            self.fail(GuestOutcome::Failed(failure));
        } else if std::mem::take(&mut branches.late) {
            let sequence = self.plain_task("Works");
            self.branches().waits.insert(sequence, 2);
        } else {
            self.end_step(vec!["\"branches\"".into()]);
        }
        true
    }
}
