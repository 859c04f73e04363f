//! The commands that manage instances and entities of a running host, over its management API: `soloist instances`,
//! `soloist entities` and `soloist durable`.
//!
//! They know of the host what any client knows. None of them opens a data folder or asks the hub.
//! Start reading at [`Session`]; what a verb does is in `instances.rs`, `entities.rs` and `core_tools.rs`.

mod args;
mod ask;
mod client;
mod core_tools;
mod entities;
mod failure;
mod instances;
mod model;
mod output;
mod payload;
mod pretty;
mod session;
mod text;
mod timeline;
mod when;

use std::{future::Future, process::ExitCode};

pub(super) use args::Format;
pub(super) use core_tools::Durable;
pub(super) use entities::Entities;
pub(super) use failure::{Exit, Failure};
pub(super) use instances::Instances;
pub(super) use output::Output;
pub(super) use text::{is_unsafe, printable, printable_lines};

use args::Remote;
use session::Session;

/// Runs one verb against the host that `remote` names; says what went wrong, if something did.
fn run<'a, F>(remote: &Remote, verb: impl FnOnce(Session) -> F) -> ExitCode
where
    F: Future<Output = Result<ExitCode, Failure>> + 'a,
{
    let format = remote.format;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => Session::open(remote).and_then(|session| runtime.block_on(verb(session))),
        Err(error) => Err(Failure::failed(format!("cannot start the async runtime: {error}"))),
    };
    outcome.unwrap_or_else(|failure| failure.report(format))
}
