//! What a hub holds in memory at a moment: once nothing runs or waits, nothing.

use super::Hub;

/// What a hub holds in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubLoad {
    /// Instances of which it keeps anything.
    pub cells: usize,
    /// Entries for timers.
    pub timers: usize,
    /// Guests that count as resident.
    pub residents: usize,
    /// Activities that run.
    pub activities_running: usize,
    /// Activities that wait for a slot.
    pub activities_waiting: usize,
}

impl Hub {
    /// What it holds in memory now.
    pub fn load(&self) -> HubLoad {
        let (activities_running, activities_waiting) = self.inner.activities.running_and_waiting();
        HubLoad {
            cells: self.inner.cells.lock().map_or(0, |cells| cells.len()),
            timers: self.inner.timers.open(),
            residents: self.inner.residency.guests(),
            activities_running,
            activities_waiting,
        }
    }
}
