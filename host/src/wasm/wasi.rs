//! WASI for guests: what a language's standard library needs, and outgoing HTTP requests. No files, no sockets.
//!
//! Two linkers. *Effects* (HTTP functions, activities, timers): real clocks and entropy, the app's settings as environment
//! (beside them, with a `durableClient` binding, the starter JSON), requests (`outbound`).
//! *Deterministic* (orchestrators, entities): the clock is the turn's time, entropy derives from the execution id, the
//! environment is empty, and sleeping traps: whatever the code sees, it sees again when it is replayed.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::{
    Engine,
    component::{HasSelf, Linker, Resource},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxView, WasiView,
    p2::{
        DynPollable,
        bindings::{clocks, random},
    },
};

use wasmtime_wasi_http::{WasiHttp, WasiHttpCtxView, WasiHttpView, p2::bindings::http};

use super::{
    DURABLE_CLIENT_VARIABLE,
    console::{ConsoleStream, Stream},
    contract::imports,
    fault::NotGranted,
    guest::{GuestState, Role},
};

/// The most entropy that a guest gets in one call.
const ENTROPY_BYTES_MAX: u64 = 1 << 20;

/// The interface for outgoing requests, as this host implements it: any 0.2 that a component imports is served by it.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// What functions with effects may call.
pub(super) fn effects_linker(engine: &Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = common_linker(engine)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Ok(linker)
}

/// What any function may call, or finds replaced by its own world.
fn common_linker(engine: &Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    link_contract(&mut linker)?;
    Ok(linker)
}

/// What deterministic functions may call. The same names, so that one component may hold functions of both kinds.
pub(super) fn deterministic_linker(engine: &Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = common_linker(engine)?;
    http::types::add_to_linker::<_, WasiHttp>(&mut linker, &http::types::LinkOptions::default(), GuestState::http)?;
    linker.instance(OUTGOING_HANDLER)?.func_new("handle", |store, _type, _arguments, _results| {
        Err(NotGranted(format!(
            "{} called wasi:http/outgoing-handler#handle: orchestrators and entities decide and never act; call an activity \
             that sends the request",
            store.data().console.function(),
        ))
        .into())
    })?;
    linker.allow_shadowing(true);
    clocks::wall_clock::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
    clocks::monotonic_clock::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
    random::random::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
    random::insecure::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
    random::insecure_seed::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
    Ok(linker)
}

fn link_contract(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    imports::log::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
    imports::types::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
    imports::durable_client::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
}

impl imports::types::Host for GuestState {}

impl imports::log::Host for GuestState {
    fn write(&mut self, level: imports::log::Level, message: String) -> wasmtime::Result<()> {
        self.console.line(level, &message);
        Ok(())
    }
}

impl WasiView for GuestState {
    /// Made when first asked for: most guests never do, and making it costs more than starting them.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self { wasi, table, console, role, shared, .. } = self;
        let ctx = wasi.get_or_insert_with(|| {
            let mut builder = WasiCtx::builder();
            builder
                .stdout(ConsoleStream(Arc::clone(console), Stream::Out))
                .stderr(ConsoleStream(Arc::clone(console), Stream::Err))
                .allow_tcp(false)
                .allow_udp(false)
                .allow_ip_name_lookup(false)
                .max_random_size(ENTROPY_BYTES_MAX);
            match role {
                Role::Effects { settings, client, .. } => {
                    if let (Some(_), Some(starter)) = (client, &shared.durable_client) {
                        builder.env(DURABLE_CLIENT_VARIABLE, starter());
                    }
                    builder.envs(settings)
                }
                Role::Deterministic(_) => &mut builder,
            };
            Box::new(builder.build())
        });
        WasiCtxView { ctx, table }
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let Self { http, table, outgoing, .. } = self;
        WasiHttpCtxView { ctx: http, table, hooks: outgoing }
    }
}

/// The world as a deterministic guest sees it.
#[derive(Debug)]
pub(super) struct Replayable {
    /// The turn's time, in microseconds since the Unix epoch.
    pub(super) now_micros: u64,
    /// True once the code asked for the time.
    pub(super) clock_was_read: bool,
    seed: [u8; 32],
    drawn: u64,
}

impl Replayable {
    /// The world of an execution.
    pub(super) fn new(execution_id: &str) -> Self {
        Self { now_micros: 0, clock_was_read: false, seed: Sha256::digest(execution_id.as_bytes()).into(), drawn: 0 }
    }

    fn now_micros(&mut self) -> u64 {
        self.clock_was_read = true;
        self.now_micros
    }

    fn block(&mut self) -> [u8; 32] {
        self.drawn += 1;
        Sha256::new().chain_update(self.seed).chain_update(self.drawn.to_le_bytes()).finalize().into()
    }

    fn u64(&mut self) -> u64 {
        let block = self.block();
        u64::from_le_bytes(block[..8].try_into().expect("a block has more than 8 bytes"))
    }

    fn bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        if count > ENTROPY_BYTES_MAX {
            wasmtime::bail!("{count} random bytes are more than the limit of {ENTROPY_BYTES_MAX}");
        }
        let count = usize::try_from(count)?;
        let mut bytes = Vec::with_capacity(count + 32);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.block());
        }
        bytes.truncate(count);
        Ok(bytes)
    }
}

impl GuestState {
    fn replayable(&mut self) -> wasmtime::Result<&mut Replayable> {
        match &mut self.role {
            Role::Deterministic(world) => Ok(world),
            Role::Effects { .. } => wasmtime::bail!("a function with effects was linked as a deterministic one"),
        }
    }
}

impl clocks::wall_clock::Host for GuestState {
    fn now(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        let micros = self.replayable()?.now_micros();
        let nanoseconds = u32::try_from(micros % 1_000_000).unwrap_or(0) * 1_000;
        Ok(clocks::wall_clock::Datetime { seconds: micros / 1_000_000, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        Ok(clocks::wall_clock::Datetime { seconds: 0, nanoseconds: 1_000 })
    }
}

/// Sleeping would wait in real time, holding a guest's stack, and be forgotten by a crash.
const SLEEP: &str = "an orchestrator or entity function cannot sleep (wasi:clocks/monotonic-clock subscribe): await a \
                     durable timer";

impl clocks::monotonic_clock::Host for GuestState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.replayable()?.now_micros().saturating_mul(1_000))
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1_000)
    }

    fn subscribe_instant(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime::bail!("{SLEEP}")
    }

    fn subscribe_duration(&mut self, _duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime::bail!("{SLEEP}")
    }
}

impl random::random::Host for GuestState {
    fn get_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.replayable()?.bytes(count)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.replayable()?.u64())
    }
}

impl random::insecure::Host for GuestState {
    fn get_insecure_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.replayable()?.bytes(count)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.replayable()?.u64())
    }
}

impl random::insecure_seed::Host for GuestState {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        let seed = self.replayable()?.seed;
        let half = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes were taken"));
        Ok((half(&seed[..8]), half(&seed[8..16])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_repeats_within_an_execution_and_differs_between_executions() {
        let draw = |execution: &str| {
            let mut world = Replayable::new(execution);
            (world.u64(), world.bytes(40).unwrap(), world.u64())
        };
        assert_eq!(draw("a"), draw("a"));
        assert_ne!(draw("a"), draw("b"));
        assert_eq!(draw("a").1.len(), 40);
        assert!(Replayable::new("a").bytes(u64::MAX).is_err());
    }
}
