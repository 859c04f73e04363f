//! `soloist instances`.

mod list;
mod operate;
mod purge;
mod show;

use std::{process::ExitCode, time::Duration};

use jiff::Timestamp as Moment;

use super::args::{Remote, name};
use super::failure::Failure;
use super::session::Session;
use super::{client::Ask, when};
use crate::durable::RuntimeStatus;

pub(super) use list::json_array;
pub(super) use operate::{StartNew, raise};
pub(super) use purge::{count_ended, purge_by};
pub(super) use show::history_json;

use purge::Purge;

/// `soloist instances`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in super::super) struct Instances {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  soloist instances list --status failed --created-after 1d
  soloist instances start E1_HelloSequence --id hello --wait
  soloist instances show hello
  soloist instances raise trip ApprovalEvent --data true
  soloist instances purge --status completed --created-before 7d

Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 unreachable, 6 not authorised, 8 timed out.
Ids that begin with a dash go after --.";

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List instances, the oldest id first
    List(list::ListInstances),
    /// Show one instance: status, payloads, what it did and how long that took
    Show(show::Show),
    /// Show the history of one instance, event by event
    History(show::History),
    /// Start an orchestration
    Start(operate::Start),
    /// Raise an event that an instance waits for, or will
    Raise(operate::Raise),
    /// End an instance now
    Terminate(operate::WithReason),
    /// Hold an instance until it is resumed
    Suspend(operate::WithReason),
    /// Let a suspended instance go on, or one that could not
    Resume(operate::WithReason),
    /// Let a failed instance run again what failed
    Rewind(operate::WithReason),
    /// Run an instance again, with the same input
    Restart(operate::Restart),
    /// Delete one ended instance, or every one of a filter
    Purge(Purge),
    /// Wait until an instance has ended; exit code 0 if it completed, 1 if not, 8 if it was not in time
    Wait(operate::Wait),
}

impl Instances {
    pub(in super::super) fn run(self) -> ExitCode {
        let Self { remote, verb } = self;
        super::run(&remote, |session| verb.run(session))
    }
}

impl Verb {
    async fn run(self, mut session: Session) -> Result<ExitCode, Failure> {
        let session = &mut session;
        match self {
            Self::List(list) => list.run(session).await?,
            Self::Show(show) => show.run(session).await?,
            Self::History(history) => history.run(session).await?,
            Self::Start(start) => return start.run(session).await,
            Self::Raise(raise) => raise.run(session).await?,
            Self::Terminate(with) => with.run(session, "terminate", "terminated").await?,
            Self::Suspend(with) => with.run(session, "suspend", "suspended").await?,
            Self::Resume(with) => with.run(session, "resume", "resumed").await?,
            Self::Rewind(with) => with.run(session, "rewind", "rewound").await?,
            Self::Restart(restart) => restart.run(session).await?,
            Self::Purge(purge) => purge.run(session).await?,
            Self::Wait(wait) => return wait.run(session).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One instance.
#[derive(Debug, clap::Args)]
struct One {
    /// The instance's id
    #[arg(value_parser = name)]
    id: String,
}

/// Which instances.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Filter {
    /// With one of these statuses: pending, running, suspended, completed, failed, terminated, canceled
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    pub status: Vec<RuntimeStatus>,
    /// Created at or after this time (2026-01-31T12:00:00Z), or at most so long ago (2h)
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    pub created_after: Option<Moment>,
    /// Created at or before this time, or at least so long ago
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    pub created_before: Option<Moment>,
}

impl Filter {
    /// Adds what it says to a request.
    pub(super) fn apply(&self, ask: Ask) -> Ask {
        let time = |moment: &Option<Moment>| moment.map(|moment| moment.to_string());
        let statuses = self.status.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(",");
        ask.maybe("createdTimeFrom", time(&self.created_after).as_deref())
            .maybe("createdTimeTo", time(&self.created_before).as_deref())
            .maybe("runtimeStatus", (!statuses.is_empty()).then_some(statuses.as_str()))
    }
}

/// A status that instances show.
pub(super) fn status(text: &str) -> Result<RuntimeStatus, String> {
    let known = text.trim().parse().ok().filter(|status| *status != RuntimeStatus::ContinuedAsNew);
    known.ok_or_else(|| {
        "one of pending, running, suspended, completed, failed, terminated, canceled is wanted".to_owned()
    })
}

/// How long to wait.
#[derive(Debug, clap::Args)]
struct Patience {
    /// Give up after this time, such as 30s, 5m or 2h [default: never]
    #[arg(long, value_name = "TIME", value_parser = when::span)]
    timeout: Option<Duration>,
}
