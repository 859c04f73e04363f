//! The signals that a process brings upon itself: a handler writes the recording down and lets the process end as it would.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use super::Recorder;

/// Crashes, and aborts (a failed assertion of a library, a panic while panicking, no memory).
const FATAL: [libc::c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT];

static RECORDER: OnceLock<Arc<Recorder>> = OnceLock::new();
/// What handled each of [`FATAL`] before.
static BEFORE: OnceLock<[libc::sigaction; FATAL.len()]> = OnceLock::new();
static WRITTEN: AtomicBool = AtomicBool::new(false);

/// Makes the process write its recording down when it is ended by a signal of its own making. Once per process: a second
/// recorder is ignored.
///
/// To be called before the first engine of guests is made. Traps of guests are such signals, too: the engine's handler
/// must come first, and pass on to this one only what is no trap. This one passes on to the handler before it (the
/// standard library's, which tells of an overflown stack).
///
/// # Errors
/// If the system refuses a handler.
pub fn install(recorder: &Arc<Recorder>) -> std::io::Result<()> {
    if RECORDER.set(Arc::clone(recorder)).is_err() {
        return Ok(());
    }
    // SAFETY: a `sigaction` of zeros is a valid value, and only a place for the answer.
    let mut before: [libc::sigaction; FATAL.len()] = unsafe { std::mem::zeroed() };
    for (signal, before) in FATAL.into_iter().zip(&mut before) {
        // SAFETY: the pointer is valid for the call.
        if unsafe { libc::sigaction(signal, std::ptr::null(), before) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    // Known before the handler can run.
    let _ = BEFORE.set(before);
    for signal in FATAL {
        // SAFETY: as above.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as *const () as libc::sighandler_t;
        // On the alternative stack: the thread's own may be what has run out.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler calls async-signal-safe functions only; the pointers are valid for the calls.
        let refused = unsafe {
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if refused != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // The first signal counts: an overflown stack is SIGSEGV first, and then the standard library's SIGABRT.
    if !WRITTEN.swap(true, Ordering::Relaxed)
        && let Some(recorder) = RECORDER.get()
    {
        recorder.write_down(signal);
    }
    let before = BEFORE.get().and_then(|before| {
        let at = FATAL.iter().position(|fatal| *fatal == signal)?;
        before.get(at)
    });
    // SAFETY: the system passes a valid pointer to a handler with SA_SIGINFO.
    let was_sent = unsafe { (*info).si_code } <= 0;
    if let Some(before) = before
        && !was_sent
        && before.sa_flags & libc::SA_SIGINFO != 0
    {
        // SAFETY: with SA_SIGINFO the field holds a function of this type.
        let chained: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { std::mem::transmute(before.sa_sigaction) };
        chained(signal, info, context);
        // It may have restored the default and returned, to meet the fault again: then that ends the process.
        return;
    }
    // SAFETY: async-signal-safe calls. The signal is blocked here: it ends the process when this returns.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// A signal's name, as people look it up.
#[must_use]
pub fn signal_name(signal: i32) -> String {
    match signal {
        libc::SIGSEGV => "SIGSEGV".to_owned(),
        libc::SIGBUS => "SIGBUS".to_owned(),
        libc::SIGILL => "SIGILL".to_owned(),
        libc::SIGFPE => "SIGFPE".to_owned(),
        libc::SIGABRT => "SIGABRT".to_owned(),
        other => format!("signal {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, path::Path, process::Command};

    use super::*;
    use crate::flight::{Call, CallKind, EndOfFlight};

    /// Tells a child process how to end, and where its recording goes.
    const END: &str = "SOLOIST_TEST_FATAL_END";
    const FILE: &str = "SOLOIST_TEST_FATAL_FILE";

    #[expect(unconditional_recursion, reason = "it is to overflow the stack")]
    fn overflow(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 512]);
        overflow(depth + 1) + frame[7]
    }

    /// The child: ends in the way that it is told. Does nothing as a test of its own.
    #[test]
    fn ends_as_it_is_told() {
        let (Ok(end), Ok(file)) = (std::env::var(END), std::env::var(FILE)) else { return };
        let recorder = Arc::new(Recorder::on(std::fs::File::create(file).unwrap()));
        install(&recorder).unwrap();
        let call = Call { kind: CallKind::Turn, execution: "e", number: 1, attempt: 1, function: "Fatal" };
        let _flight = recorder.begin(&call);
        // SAFETY: the end of this process is what is wanted; no memory of the core is written to disk.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
            match end.as_str() {
                "abort" => std::process::abort(),
                "fault" => std::ptr::null_mut::<u8>().write_volatile(std::hint::black_box(1)),
                "overflow" => drop(std::thread::spawn(|| overflow(0)).join()),
                "sent" => drop(libc::raise(libc::SIGFPE)),
                "killed" => drop(libc::raise(libc::SIGKILL)),
                _ => {}
            }
        }
    }

    fn end_of_a_child(end: &str, file: &Path) -> (Option<i32>, Option<EndOfFlight>) {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "flight::fatal::tests::ends_as_it_is_told"]).env(END, end).env(FILE, file);
        let status = child.output().unwrap().status;
        (status.signal(), EndOfFlight::parse(&std::fs::read(file).unwrap()).unwrap())
    }

    #[test]
    fn a_process_ends_as_without_the_handler_and_leaves_what_it_ran() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flight");
        let ends = [
            ("abort", libc::SIGABRT, libc::SIGABRT),
            ("sent", libc::SIGFPE, libc::SIGFPE),
            // The standard library says what has happened, and aborts.
            ("overflow", libc::SIGSEGV, libc::SIGABRT),
            ("fault", libc::SIGSEGV, libc::SIGSEGV),
        ];
        for (end, recorded, ended_by) in ends {
            let (signal, left) = end_of_a_child(end, &file);
            let left = left.unwrap_or_else(|| panic!("{end}: nothing is recorded"));
            assert_eq!((signal, left.signal), (Some(ended_by), recorded), "{end}");
            assert_eq!(left.calls.iter().map(|call| call.function.as_str()).collect::<Vec<_>>(), ["Fatal"], "{end}");
        }
        assert_eq!(end_of_a_child("killed", &file), (Some(libc::SIGKILL), None), "from outside");
        assert_eq!(end_of_a_child("not at all", &file), (None, None));
    }
}
