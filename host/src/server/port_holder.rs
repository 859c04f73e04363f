//! Who listens on a port, where the system tells: Linux's `/proc`.

use std::{fmt, fs, path::Path};

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHolder {
    /// Its process id.
    pub pid: u32,
    /// What it calls itself.
    pub name: String,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (process {})", self.name, self.pid)
    }
}

/// The process that listens on a port. None if there is none, or if it is another user's and the system does not tell.
pub(super) fn port_holder(port: u16) -> Option<PortHolder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| listener_inode(line, port)).collect::<Vec<_>>())
        .collect();
    if inodes.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        holds(&process.path(), &inodes).then(|| PortHolder { pid, name: process_name(&process.path()) })
    })
}

/// The inode of the socket in a line of the table, if it listens on the port. Columns: number, local address, remote address,
/// state, four of queues and timers (two of them joined by a colon), user, timeout, inode.
fn listener_inode(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (_, own_port) = columns.get(1)?.rsplit_once(':')?;
    let listens = u16::from_str_radix(own_port, 16) == Ok(port) && columns.get(3) == Some(&LISTEN);
    columns.get(9).filter(|_| listens).map(|inode| format!("socket:[{inode}]"))
}

fn holds(process: &Path, inodes: &[String]) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| inodes.iter().any(|inode| inode == target)))
}

fn process_name(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).map_or_else(|_| "?".to_owned(), |name| name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listeners_on_the_port_count() {
        let listening = "   0: 0100007F:1B9F 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 90210 1 0 100 0";
        assert_eq!(listener_inode(listening, 7071), Some("socket:[90210]".into()));
        assert_eq!(listener_inode(listening, 7072), None);
        assert_eq!(listener_inode(&listening.replace(" 0A ", " 01 "), 7071), None);
        assert_eq!(
            listener_inode("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt", 0),
            None
        );
    }
}
