//! What the kernel counts: CPU time, memory, cache flushes of a disk.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

/// The CPU time of a process, in user and system mode: Linux counts it in hundredths of a second.
pub fn cpu_time(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(10 * ticks))
}

/// How much memory a process has in RAM, in bytes.
pub fn resident_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
}

/// How many cache flushes the disk that holds this path has completed since the system started: each `fdatasync` that must
/// reach the disk makes one. Nothing tells them apart by process without privileges.
pub fn disk_flushes(path: &Path) -> Option<u64> {
    /// The field of `/sys/block/<disk>/stat`, counted from 0.
    const FLUSHES: usize = 15;
    let device = fs::metadata(path).ok()?.dev();
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    let device = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    // A partition does not count them: its disk does.
    let disk = if device.join("partition").exists() { device.parent()?.to_owned() } else { device };
    fs::read_to_string(disk.join("stat")).ok()?.split_whitespace().nth(FLUSHES)?.parse().ok()
}

/// The machine, in a few words: processor, cores, kernel, load.
pub fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(", ");
    let rustc = if cfg!(debug_assertions) { ", a debug build" } else { "" };
    format!("{cores} cores ({model}), Linux {}, load averages at the end {load}{rustc}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let me = std::process::id();
        assert!(cpu_time(me).is_some() && resident_memory(me).is_some_and(|bytes| bytes > 1 << 20));
        assert!(describe().contains("cores"));
    }
}
