//! Whether this process has about all that it can use: then it takes no more requests of functions for a while
//! (`dynamicThrottlesEnabled`).

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what was seen holds. The original looks every 15 s; requests that are refused should not wait that long.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// More than this part of anything is too much, as in the original.
const PERCENT_MAX: u64 = 80;

/// Watches this process.
#[derive(Debug)]
pub(super) struct Pressure(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    at: Instant,
    cpu: Duration,
    reason: Option<&'static str>,
}

/// What of a thing is used, and what there is of it.
#[derive(Clone, Copy, Debug)]
struct Use {
    used: u64,
    of: u64,
}

impl Use {
    fn is_too_much(self) -> bool {
        self.of > 0 && self.used.saturating_mul(100) / self.of > PERCENT_MAX
    }
}

impl Pressure {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Seen { at: Instant::now(), cpu: cpu_time(), reason: None }))
    }

    /// What there is too little of, if anything. Looks once a second at most.
    pub(super) fn reason(&self) -> Option<&'static str> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = seen.at.elapsed();
        if elapsed < LOOK_EVERY {
            return seen.reason;
        }
        let cpu = cpu_time();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let processor = Use {
            used: cpu.saturating_sub(seen.cpu).as_millis() as u64,
            of: (elapsed.as_millis() as u64).saturating_mul(cores),
        };
        *seen = Seen { at: Instant::now(), cpu, reason: judge(processor, memory(), open_files()) };
        seen.reason
    }
}

fn judge(processor: Use, memory: Option<Use>, files: Option<Use>) -> Option<&'static str> {
    let too_much = |found: Option<Use>| found.is_some_and(Use::is_too_much);
    if too_much(memory) {
        Some("memory")
    } else if too_much(files) {
        Some("open files")
    } else if processor.is_too_much() {
        Some("processor time")
    } else {
        None
    }
}

/// The processor time of this process so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call.
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0 {
        return Duration::ZERO;
    }
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// This process's memory in RAM, of what its control group or the machine has. None where the system does not tell.
fn memory() -> Option<Use> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: a plain question to the system.
    let page_bytes = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    let machine = fs::read_to_string("/proc/meminfo").ok()?;
    let total = machine.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total = total.split_whitespace().next()?.parse::<u64>().ok()? * 1024;
    Some(Use { used: pages * page_bytes, of: group_limit().unwrap_or(u64::MAX).min(total) })
}

/// The memory limit of this process's control group.
fn group_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.max")).ok()?.trim().parse().ok()
}

/// The files that this process has open, of those that it may.
fn open_files() -> Option<Use> {
    let used = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is valid for the call.
    let told = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    told.then_some(Use { used, of: limit.rlim_cur })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_four_fifths_of_anything_is_too_much() {
        let part = |used| Use { used, of: 100 };
        assert_eq!(judge(part(80), Some(part(80)), Some(part(80))), None);
        assert_eq!(judge(part(81), None, None), Some("processor time"));
        assert_eq!(judge(part(0), Some(part(81)), None), Some("memory"));
        assert_eq!(judge(part(0), None, Some(part(99))), Some("open files"));
        assert_eq!(judge(Use { used: 0, of: 0 }, Some(Use { used: 5, of: u64::MAX }), None), None);
    }

    #[test]
    fn the_system_tells_what_is_asked() {
        assert!(cpu_time() > Duration::ZERO);
        if cfg!(target_os = "linux") {
            assert!(memory().is_some_and(|memory| memory.used > 0 && memory.of > memory.used));
            assert!(open_files().is_some_and(|files| files.used > 0 && files.of >= files.used));
        }
    }
}
