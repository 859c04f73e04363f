//! `soloist durable delete-task-hub`: empties a live host. (`soloist reset` deletes the data of one that does not run.)

use std::{ops::ControlFlow, time::Duration};

use http::Method;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::super::ask::confirm;
use super::super::client::Ask;
use super::super::entities;
use super::super::failure::{Exit, Failure};
use super::super::instances::{Filter, purge_by};
use super::super::model::{Entity, EntityId, Status};
use super::super::session::{List, Session};

/// How often instances that came meanwhile are ended as well.
const ROUNDS: u32 = 10;
/// How long entities may take to be gone.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(super) struct DeleteTaskHub {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl DeleteTaskHub {
    pub(super) async fn run(self, session: &mut Session, name: Option<&str>) -> Result<(), Failure> {
        let (live, ended) = instances(session).await?;
        let entities = entities_of(session).await?;
        let url = session.url();
        let question = format!(
            "Terminate {} live instances and delete {} instances and {} entities at {url}? (It is the host's only task hub, \
             whatever its name.)",
            live.len(),
            live.len() as u64 + ended,
            entities.len()
        );
        confirm(&question, self.yes)?;
        let instances_deleted = delete_instances(session, live).await?;
        delete_entities(session, &entities).await?;
        let json = serde_json::json!({ "instancesDeleted": instances_deleted, "entitiesDeleted": entities.len() });
        let name = name.map_or(String::new(), |name| format!("'{name}' "));
        session.output.done(&format!("Task hub {name}successfully deleted."), &json.to_string())
    }
}

/// The ids of live instances, and how many have ended.
async fn instances(session: &mut Session) -> Result<(Vec<String>, u64), Failure> {
    let ask = Ask::new(Method::GET, &["instances"]).query("showInput", "false");
    let (mut live, mut ended) = (Vec::new(), 0);
    session
        .pages(&ask, List::ALL, |session, page| {
            for raw in page {
                let status: Status = session.read(raw.get())?;
                if status.has_ended() { ended += 1 } else { live.push(status.instance_id) }
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    Ok((live, ended))
}

async fn entities_of(session: &mut Session) -> Result<Vec<EntityId>, Failure> {
    let mut found = Vec::new();
    session
        .pages(&Ask::new(Method::GET, &["entities"]), List::ALL, |session, page: Vec<Box<RawValue>>| {
            for raw in page {
                found.push(session.read::<Entity>(raw.get())?.entity_id);
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    Ok(found)
}

/// Ends what lives, and what it starts meanwhile; then deletes all.
async fn delete_instances(session: &mut Session, mut live: Vec<String>) -> Result<u64, Failure> {
    let mut deleted = 0;
    for _ in 0..ROUNDS {
        for id in &live {
            match session.operate(id, "terminate", Some("The task hub is deleted.")).await {
                // It has ended by itself, or is gone.
                Ok(()) | Err(Failure { exit: Exit::Conflict | Exit::NotFound, .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
        deleted += purge_by(session, &Filter::default()).await?;
        let (left, ended) = instances(session).await?;
        if left.is_empty() && ended == 0 {
            return Ok(deleted);
        }
        live = left;
    }
    Err(Failure::failed(format!(
        "{deleted} instances were deleted, but others are started all the time; stop what starts them, or stop the host \
         and say `soloist reset`"
    )))
}

/// Sends every entity its deletion and waits until they are gone.
async fn delete_entities(session: &mut Session, ids: &[EntityId]) -> Result<(), Failure> {
    for EntityId { name, key } in ids {
        entities::delete(session, name, key).await?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = entities_of(session).await?.len();
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::failed(format!(
                "the instances were deleted, but {left} entities are still there: their functions know no operation delete, \
                 or have other work; stop the host and say `soloist reset`"
            )));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
