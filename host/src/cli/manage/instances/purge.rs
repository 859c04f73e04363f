//! `soloist instances purge`.

use std::ops::ControlFlow;

use http::Method;

use super::Filter;
use crate::cli::manage::{
    args::name,
    ask::confirm,
    client::Ask,
    failure::{Exit, Failure},
    model::Purged,
    session::{List, Session, instance},
};
use crate::durable::RuntimeStatus;

/// From when on, if the caller does not say: before there were instances.
const BEGINNING: &str = "0001-01-01T00:00:00Z";

/// `soloist instances purge`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["id", "status", "created_after", "created_before", "all"]))]
pub(in super::super) struct Purge {
    /// The instance's id; or leave it out and say which by the flags
    #[arg(value_parser = name, conflicts_with_all = ["status", "created_after", "created_before", "all"])]
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Every instance that has ended
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Purge {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if let Some(id) = &self.id {
            let answer = session.send(&instance(id), &Ask::new(Method::DELETE, &["instances", id])).await?;
            return session.output.done(&format!("deleted {id}"), &answer.body);
        }
        check_ended(&self.filter.status)?;
        let count = count_ended(session, &self.filter).await?;
        if count == 0 {
            return session.output.done("nothing to delete", "{\"instancesDeleted\":0}");
        }
        confirm(&format!("Delete {count} ended instances and their histories at {}?", session.url()), self.yes)?;
        let deleted = purge_by(session, &self.filter).await?;
        let json = serde_json::json!({ "instancesDeleted": deleted });
        session.output.done(&format!("deleted {deleted} instances"), &json.to_string())
    }
}

/// Only what has ended can be deleted.
///
/// # Errors
/// [`Exit::Usage`] for a status of live instances.
fn check_ended(statuses: &[RuntimeStatus]) -> Result<(), Failure> {
    match statuses.iter().find(|status| !status.is_terminal()) {
        None => Ok(()),
        Some(status) => Err(Failure::usage(format!(
            "instances that are {status} have not ended and cannot be deleted; terminate them first"
        ))),
    }
}

/// How many ended instances a filter matches now.
///
/// # Errors
/// As [`Session::send`].
pub(in super::super) async fn count_ended(session: &mut Session, filter: &Filter) -> Result<u64, Failure> {
    let mut filter = filter.clone();
    filter.status.retain(|status| status.is_terminal());
    if filter.status.is_empty() {
        filter.status = RuntimeStatus::ALL.into_iter().filter(|status| status.is_terminal()).collect();
    }
    let ask = filter.apply(Ask::new(Method::GET, &["instances"])).query("showInput", "false");
    let mut count = 0;
    session
        .pages(&ask, List::ALL, |_, page| {
            count += page.len() as u64;
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    Ok(count)
}

/// Deletes the ended instances that a filter matches; returns how many.
///
/// # Errors
/// As [`Session::send`].
pub(in super::super) async fn purge_by(session: &mut Session, filter: &Filter) -> Result<u64, Failure> {
    let mut ask = filter.apply(Ask::new(Method::DELETE, &["instances"]));
    if filter.created_after.is_none() {
        ask = ask.query("createdTimeFrom", BEGINNING);
    }
    match session.send("list of instances", &ask).await {
        Ok(answer) => Ok(session.read::<Purged>(&answer.body)?.instances_deleted),
        // So a host says that nothing matched.
        Err(Failure { exit: Exit::NotFound, .. }) => Ok(0),
        Err(failure) => Err(failure),
    }
}
