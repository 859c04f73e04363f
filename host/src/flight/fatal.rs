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
