//! Mistakes for tests to find: the simulation proves with them that it would notice.
//!
//! `planted!(Name)` stands at the place where the mistake would be made. It is `false`, and compiles to nothing, unless the
//! feature `planted-bugs` is on; no release has it on. A mistake is planted for the calling thread.

#[cfg(not(feature = "planted-bugs"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

#[cfg(feature = "planted-bugs")]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is_planted($crate::planted::Bug::$bug)
    };
}

#[cfg(feature = "planted-bugs")]
pub use on::*;

#[cfg(feature = "planted-bugs")]
mod on {
    use std::cell::Cell;

    /// What can be planted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Bug {
        /// A turn takes inbox messages that an earlier one took.
        MessageDedupeOff,
        /// Storage takes a turn of an execution that has ended.
        TerminalDoesNotAbsorb,
        /// Every attempt is the first.
        RetryAttemptNotCounted,
        /// A fold forgets for how long an attempt is to wait.
        BackOffForgottenByFold,
        /// What a canceled task gives is handed to the code.
        CanceledResultDelivered,
        /// Timers go by the orchestrator's clock, which does not go back when the host's does.
        TimerByOrchestratorsClock,
        /// A guest whose turn was not committed is used again.
        GuestKeptAfterFencedCommit,
        /// The inbox is taken in the order in which answers arrive.
        InboxWithGaps,
        /// Activities that were under way are not run again after a crash.
        OutstandingNotDispatched,
        /// A suspension is forgotten when the instance is loaded.
        SuspensionForgottenByFold,
        /// The slot of an activity that was stopped is not given back.
        SlotLeaked,
        /// Residency keeps counting a guest that an operator ended.
        ResidencyLeaked,
        /// Timers of an execution that an operator ended stay.
        TimerLeaked,
        /// What a replay asks for is not compared with the history.
        ReplayUnchecked,
        /// A worker that rests leaves its cell behind.
        CellLeaked,
        /// Of several outcomes that wait only the first is kept.
        SecondOutcomeDropped,
        /// The last of the events that the code has not received is dropped when it continues as new.
        LastEventNotCarried,
        /// A termination releases no locks.
        LocksKeptAtTerminate,
        /// A replacement releases no locks.
        LocksKeptAtReplacement,
        /// An execution that continues as new, or ends, releases no locks.
        LocksKeptAtContinueAsNew,
        /// A lock request of a generation that has ended goes on to the next entity.
        DeadLockRequestKept,
        /// A lock request that was given up is granted when its turn comes.
        GivenUpRequestGranted,
        /// A locked entity runs whatever comes.
        LockIgnored,
        /// A scheduled signal does not wait for its time.
        ScheduledSignalEarly,
        /// What a batch did stays in memory though its commit failed.
        BatchKeptAfterFailedCommit,
        /// A rewind keeps the failures that it should drop.
        RewindKeepsFailures,
        /// A rewind drops results of activities, so that they run again.
        RewindDropsResults,
        /// A fold forgets that a durable HTTP request was accepted, so that it is made again instead of being asked after.
        AcceptanceForgottenByFold,
        /// What is answered to a poll of a durable HTTP call is lost.
        PollAnswerLost,
        /// A rewound execution sends again what the turn that was undone had sent.
        RewindSendsAgain,
        /// A rewind drops failures to which the code has answered: it does not compare its replays.
        RewindReplaysNothing,
        /// Where a timer function's schedule stands is kept before a run, too.
        FiringKeptBeforeRun,
        /// A timer function fires for each occurrence that was missed.
        MissedFiresInBurst,
        /// A clock that is set back while a timer function runs brings its occurrence again.
        SetBackFiresTwice,
        /// Where a schedule stands is kept though it is not monitored.
        UnmonitoredRemembered,
    }

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a mistake for this thread, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// True if this mistake is to be made.
    pub fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}
