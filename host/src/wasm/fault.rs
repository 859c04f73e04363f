//! Why a call into a guest returned nothing useful, and how that is told.

use std::time::Duration;

use wasmtime::{Trap, WasmBacktrace};

use super::guest::GuestState;
use crate::durable::Failure;

/// Why a call into a guest returned nothing useful. The guest is dropped.
#[derive(Debug)]
pub(super) enum Fault {
    /// The code panicked: the message, and where.
    Panic(String, String),
    /// The code trapped: the trap, and where.
    Trap(String, String),
    /// The call used more CPU time than its budget.
    Cpu(Duration, String),
    /// The code ran into the memory limit, in bytes.
    Memory(usize, String),
    /// The code recursed too deeply.
    Stack(String),
    /// What the code returned breaks the contract.
    InvalidOutput(String),
    /// What the code returned, or handed to the host, is over the limit in bytes, which has this name.
    TooLarge(usize, &'static str),
    /// The code called what its function's bindings do not grant.
    NotGranted(String),
    /// The call took longer than its function may.
    Timeout(Box<Failure>),
    /// No guest can be had; not the code's fault.
    Unavailable(String),
}

/// Over its CPU budget: raised within the guest, so that the error tells where it was.
#[derive(Debug, thiserror::Error)]
#[error("over its CPU budget")]
pub(super) struct OverBudget;

/// A call of an import that the function's own bindings do not grant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotGranted(pub(super) String);

impl Fault {
    /// What a trap means, judged with what the guest left behind.
    pub(super) fn of(error: &wasmtime::Error, state: &GuestState) -> Self {
        let at = backtrace(error);
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Self::Unavailable(format!("the pool of guests is exhausted: {error:#}"));
        }
        if let Some(NotGranted(message)) = error.downcast_ref() {
            return Self::NotGranted(message.clone());
        }
        if error.is::<OverBudget>() {
            return Self::Cpu(state.meter.budget(), at);
        }
        let text = error.root_cause().to_string();
        if text.contains("fuel allocated for hostcalls has been exhausted") {
            return Self::TooLarge(state.limits.transfer_bytes_max, state.limits.transfer_limit);
        }
        let trap = error.downcast_ref::<Trap>();
        if trap.is_some()
            && let Some(message) = state.console.panic_message()
        {
            return Self::Panic(message, at);
        }
        if state.memory.was_denied() {
            return Self::Memory(state.limits.memory_bytes_max, at);
        }
        match trap {
            Some(Trap::StackOverflow) => Self::Stack(at),
            // The shadow stack of Rust and C lies below address 0 of everything else: running over it wraps around.
            Some(Trap::MemoryOutOfBounds) if faults_below_zero(error) => Self::Stack(at),
            Some(trap) => Self::Trap(trap.to_string(), details(state, at)),
            None if error.is::<wasmtime_wasi::I32Exit>() => {
                Self::Trap("the code ended the process (wasi:cli/exit)".to_owned(), details(state, at))
            }
            None => Self::Trap(text, details(state, at)),
        }
    }

    /// The failure's kind: what retry policies compare and people look up.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Panic(..) => "Panic",
            Self::Trap(..) => "Trap",
            Self::Cpu(..) => "CpuLimitExceeded",
            Self::Memory(..) => "MemoryLimitExceeded",
            Self::Stack(_) => "StackOverflow",
            Self::InvalidOutput(_) => "InvalidOutput",
            Self::TooLarge(..) => "ResponseTooLarge",
            Self::NotGranted(_) => "ImportNotGranted",
            Self::Timeout(_) => "Timeout",
            Self::Unavailable(_) => "Unavailable",
        }
    }

    /// As it is recorded and returned: kind, message, and the place in the code as details.
    pub(super) fn into_failure(self) -> Failure {
        let kind = self.kind();
        // What the bindings do not grant today they will not grant to another attempt.
        let non_retriable = matches!(self, Self::NotGranted(_));
        let (message, details) = match self {
            Self::Timeout(failure) => return *failure,
            Self::Panic(message, at) | Self::Trap(message, at) => (message, at),
            Self::Cpu(budget, at) => (
                format!(
                    "the call used more than {} ms of CPU time; the limit is extensions.soloist.guestCpuMilliseconds in \
                     host.json",
                    budget.as_millis()
                ),
                at,
            ),
            Self::Memory(bytes, at) => (
                format!(
                    "the guest needs more than {} MiB of memory; the limit is extensions.soloist.guestMemoryBytes in \
                     host.json",
                    bytes >> 20
                ),
                at,
            ),
            Self::Stack(at) => ("the code recursed deeper than its stack".to_owned(), at),
            Self::InvalidOutput(message) | Self::NotGranted(message) | Self::Unavailable(message) => {
                (message, String::new())
            }
            Self::TooLarge(bytes, limit) => (
                format!(
                    "the function returned, or handed to the host, more than {bytes} bytes; the limit is \
                     extensions.soloist.{limit} in host.json"
                ),
                String::new(),
            ),
        };
        Failure { details: Some(details).filter(|d| !d.is_empty()), non_retriable, ..Failure::new(kind, message) }
    }
}

/// True for an access just below 4 GiB: an address below 0 that wrapped around.
fn faults_below_zero(error: &wasmtime::Error) -> bool {
    let text = format!("{error:?}");
    text.split("memory fault at wasm address 0x")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .is_some_and(|address| address >= 0xff00_0000)
}

/// Where the code was: one line per frame, innermost first, names as people write them. Repeated frames are counted.
fn backtrace(error: &wasmtime::Error) -> String {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let text = trace.to_string();
    let names = text.lines().filter_map(|line| {
        // `  3:   0x1f2e - module.wasm!path::of::function`, followed by lines of sources where they are known.
        let (_, frame) = line.split_once(" - ")?;
        Some(frame.split_once('!').map_or(frame, |(_module, function)| function))
    });
    let mut frames: Vec<(&str, usize)> = Vec::new();
    for name in names {
        match frames.last_mut() {
            Some((last, count)) if *last == name => *count += 1,
            _ => frames.push((name, 1)),
        }
    }
    let line = |(name, count): (&str, usize)| match count {
        1 => format!("at {name}"),
        _ => format!("at {name} ({count} times)"),
    };
    frames.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The end of stderr and the place: what a trap without a panic message leaves to look at.
fn details(state: &GuestState, at: String) -> String {
    let tail = state.console.stderr_tail();
    if tail.is_empty() { at } else { format!("{tail}\n{at}") }
}
