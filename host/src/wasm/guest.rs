//! A guest: one store, its limits, and what the host knows of it.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Store, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi_http::WasiHttpCtx;

use super::{
    ClientGrant, ManagementUrlsFor, Shared,
    console::Console,
    cpu::Meter,
    fault::{Fault, OverBudget},
    outbound::Outgoing,
    wasi::Replayable,
};
use crate::{
    durable::{Failure, TraceContext},
    hub::Creation,
};

/// Memory that a resident guest costs beside its linear memory: store, WASI, table, and what the hub holds for it. Measured
/// on a crowd of small Rust guests, at about 90 KiB each with what they had touched of their linear memory. VmRSS counts
/// another 56 KiB for each: pages of the component's data that all of them share.
const FIXED_BYTES: usize = 56 << 10;

/// What a guest may hand over beside the payload that is bounded: headers, names, and the values' own layout.
const HEAD_BYTES: usize = 1 << 20;

/// What bounds a guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuestLimits {
    /// Linear memory, in bytes, over all memories of the guest.
    pub(super) memory_bytes_max: usize,
    /// What the guest may hand to the host at once, in bytes.
    pub(super) transfer_bytes_max: usize,
    /// What that limit is called in host.json.
    pub(super) transfer_limit: &'static str,
    /// Nesting of a payload.
    pub(super) json_depth_max: usize,
}

/// As whom a guest runs.
pub(super) enum Role {
    /// An HTTP function, activity or timer.
    Effects {
        /// The app's settings: its environment.
        settings: Arc<[(String, String)]>,
        /// Its durable client, where it has one.
        client: Option<ClientGrant>,
        /// The URLs of the running request.
        urls: Option<ManagementUrlsFor>,
        /// The trace of the running invocation.
        trace_context: Option<TraceContext>,
    },
    /// An orchestrator or entity.
    Deterministic(Replayable),
}

/// What the host knows of a guest: the store's data.
pub(super) struct GuestState {
    pub(super) wasi: Option<Box<WasiCtx>>,
    pub(super) table: ResourceTable,
    pub(super) http: WasiHttpCtx,
    pub(super) outgoing: Outgoing,
    pub(super) memory: MemoryLimit,
    pub(super) limits: GuestLimits,
    pub(super) meter: Arc<Meter>,
    pub(super) console: Arc<Console>,
    pub(super) role: Role,
    /// The last start that the guest asked for and got.
    pub(super) last_started: Option<(String, Creation)>,
    pub(super) shared: Arc<Shared>,
}

impl GuestState {
    /// The memory that the guest probably occupies, in bytes. Growth is taken as touched; of what a guest begins with (a
    /// stack of 1 MiB in Rust, a heap in JavaScript) a small part is.
    pub(super) fn resident_bytes(&self) -> usize {
        let grown = self.memory.total.saturating_sub(self.memory.initial);
        FIXED_BYTES + self.memory.initial / 32 + grown
    }
}

/// Counts and bounds linear memory and tables.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    bytes_max: usize,
    total: usize,
    initial: usize,
    denied: bool,
}

impl MemoryLimit {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, total: 0, initial: 0, denied: false }
    }

    /// True once the guest asked for more than it may have.
    pub(super) fn was_denied(&self) -> bool {
        self.denied
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.total.saturating_sub(current).saturating_add(desired);
        if total > self.bytes_max {
            self.denied = true;
            return Ok(false);
        }
        if current == 0 {
            self.initial += desired;
        }
        self.total = total;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= 60_000)
    }

    fn instances(&self) -> usize {
        256
    }

    fn tables(&self) -> usize {
        128
    }

    fn memories(&self) -> usize {
        8
    }
}

/// Makes the store of a guest.
pub(super) fn store(
    shared: &Arc<Shared>,
    console: Arc<Console>,
    role: Role,
    meter: Arc<Meter>,
    limits: GuestLimits,
) -> Store<GuestState> {
    let has_effects = matches!(role, Role::Effects { .. });
    let state = GuestState {
        wasi: None,
        table: ResourceTable::new(),
        http: WasiHttpCtx::new(),
        outgoing: Outgoing::new(Arc::clone(&shared.outbound), Arc::clone(&console), has_effects),
        memory: MemoryLimit::new(limits.memory_bytes_max),
        limits,
        meter,
        console,
        role,
        last_started: None,
        shared: Arc::clone(shared),
    };
    let mut store = Store::new(&shared.engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(limits.transfer_bytes_max.saturating_add(HEAD_BYTES));
    store.epoch_deadline_callback(|store| {
        if store.data().meter.is_exceeded() {
            return Err(OverBudget.into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    arm(&mut store);
    store
}

/// Gives the guest up to two ticks until it first yields. To be called before each call into it: an old deadline would
/// make it yield at once.
pub(super) fn arm(store: &mut Store<GuestState>) {
    store.set_epoch_deadline(2);
}

/// Logs what went wrong with a guest, once: everybody else passes the failure on.
pub(super) fn report(console: &Console, fault: Fault) -> Failure {
    console.flush();
    let failure = fault.into_failure();
    tracing::error!(
        function = console.function(),
        instance_id = console.instance_id(),
        kind = failure.kind,
        reason = failure.message,
        details = failure.details.as_deref().unwrap_or_default(),
        "a function failed"
    );
    failure
}
