//! Data folders with many instances, written through storage itself: as a host leaves them, in a tenth of the time.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use sha2::{Digest as _, Sha256};
use soloist::{
    durable::{
        Digest, ExecutionId, ExecutionStarted, GenerationKey, HistoryEvent, InstanceId, InstanceKey, Json,
        OverridableStates, RuntimeStatus, Summary, Timestamp, TurnNumber, TurnRecord,
    },
    host::{DATABASE, DataFolder},
    storage::{Committed, Fence, Start, Started, Storage, TurnCommit, sqlite::Sqlite},
};

use crate::bench::Bench;

/// Commits that share a transaction.
const TOGETHER: usize = 4_000;

/// When all of it happened: in 2023, long before any clock here.
const TIME: Timestamp = Timestamp(1_700_000_000_000_000);

/// How prepared instances stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `WaitForApproval` after its first turn.
    Waiting,
    /// `Chain` of five steps, completed.
    Ended,
}

/// A new data folder, in folder `data` of the one returned, with instances `stored-0` to the last.
///
/// # Errors
/// If it cannot be written.
pub fn data_folder(bench: &Bench, count: usize, state: State) -> Result<Arc<tempfile::TempDir>> {
    let folder = Arc::new(crate::scratch()?);
    let data = folder.path().join("data");
    DataFolder::make(&data)?;
    if count > 0 {
        bench.report.say(&format!("storing {count} instances"));
        let component = std::fs::read(&bench.component).context("reading the test app's component")?;
        bench.crowd.run(write(&data.join(DATABASE), component, count, state))?;
    }
    Ok(folder)
}

async fn write(file: &Path, component: Vec<u8>, count: usize, state: State) -> Result<()> {
    let storage = Sqlite::open(file)?;
    let digest = Digest(Sha256::digest(&component).into());
    storage.put_component(digest, component.into()).await?;
    let record = Arc::new(first_turn(state));
    for first in (0..count).step_by(TOGETHER) {
        let numbers = first..count.min(first + TOGETHER);
        let started = try_join_all(numbers.map(|number| storage.start(start(number, digest, state)))).await?;
        let turns = started.into_iter().map(|started| match started {
            Started::Started { instance, generation, .. } => {
                Ok(storage.commit_turn(turn(instance, generation, &record)))
            }
            Started::Exists { .. } | Started::Changed => bail!("a fresh folder has an instance"),
        });
        let committed = try_join_all(turns.collect::<Result<Vec<_>>>()?).await?;
        ensure!(committed.iter().all(|turn| matches!(turn, Committed::Committed(_))), "a turn was refused");
    }
    storage.close().await?;
    Ok(())
}

fn start(number: usize, component: Digest, state: State) -> Start {
    let (name, input) = match state {
        State::Waiting => ("WaitForApproval", Json::null()),
        State::Ended => ("Chain", Json::parse(r#"{"token":1,"steps":5}"#).expect("valid JSON")),
    };
    Start {
        fence: Fence::default(),
        id: InstanceId::from_stored(&format!("stored-{number}")),
        policy: OverridableStates::NonRunningStates,
        time: TIME,
        started: Arc::new(ExecutionStarted {
            name: name.to_owned(),
            handler: name.to_owned(),
            version: None,
            execution_id: ExecutionId(format!("{number:032x}").into()),
            component,
            contract: "1.0.0".to_owned(),
            input,
            parent: None,
            tags: Vec::new(),
            trace_context: None,
            scheduled_start: None,
        }),
    }
}

/// The turn after the start. It ends an ended instance, of which a host would store six.
fn first_turn(state: State) -> TurnRecord {
    let (events, status) = match state {
        State::Waiting => (Vec::new(), RuntimeStatus::Running),
        State::Ended => {
            let output = Json::parse(r#"{"token":1,"trace":[0,1,2,3,4]}"#).expect("valid JSON");
            (vec![HistoryEvent::ExecutionCompleted { output }], RuntimeStatus::Completed)
        }
    };
    let summary = Summary { status, custom_status: None, next_due: None, outstanding: 0 };
    TurnRecord { time: TIME, events, summary }
}

fn turn(instance: InstanceKey, generation: GenerationKey, record: &Arc<TurnRecord>) -> TurnCommit {
    TurnCommit {
        fence: Fence::default(),
        instance,
        generation,
        number: TurnNumber(1),
        record: Arc::clone(record),
        took: Vec::new(),
        children: Vec::new(),
        messages: Vec::new(),
        notify: None,
        next: None,
        previous_due: None,
    }
}
