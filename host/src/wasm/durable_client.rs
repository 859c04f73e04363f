//! The durable client, as guests call it: a translation to the hub's, within what the function's binding grants.

use std::sync::Arc;

use super::{
    HistoryJson, ManagementUrls,
    contract::{self, imports::durable_client as client, imports::types},
    fault::NotGranted,
    guest::{GuestState, Role},
};
use crate::{
    durable::{EntityId, FunctionName, Json, OverridableStates, RuntimeStatus, Timestamp, TraceContext},
    hub::{self, HistoryDetail, Hub, StartNew, StatusWant},
};

type Answer<T> = wasmtime::Result<Result<T, client::ClientError>>;

/// What a guest's binding gives it.
struct Granted {
    json_depth_max: usize,
    hub: Option<Arc<Hub>>,
    policy: Option<OverridableStates>,
    trace_context: Option<TraceContext>,
}

impl Granted {
    fn hub(&self) -> Result<&Hub, client::ClientError> {
        self.hub
            .as_deref()
            .ok_or_else(|| client::ClientError::Unavailable("the task hub is not running yet".to_owned()))
    }
}

impl GuestState {
    /// # Errors
    /// A trap: the function has no `durableClient` binding. Another function of the same component has, so that the import
    /// was linked.
    fn granted(&self, function: &str) -> wasmtime::Result<Granted> {
        match &self.role {
            Role::Effects { client: Some(grant), trace_context, .. } => Ok(Granted {
                hub: self.shared.hub.get().cloned(),
                policy: grant.overridable_states,
                json_depth_max: self.limits.json_depth_max,
                trace_context: trace_context.clone(),
            }),
            Role::Effects { client: None, .. } => Err(NotGranted(format!(
                "{} called {}/durable-client#{function}, which its bindings do not grant: add a durableClient binding to \
                 its function.json",
                self.console.function(),
                contract::PACKAGE
            ))
            .into()),
            Role::Deterministic(_) => Err(NotGranted(format!(
                "{} called {}/durable-client#{function}: orchestrators and entities decide and never act; call an activity \
                 that has a durableClient binding",
                self.console.function(),
                contract::PACKAGE
            ))
            .into()),
        }
    }

    fn unsupported<T>(&self, function: &str) -> Answer<T> {
        self.granted(function)?;
        Ok(Err(client::ClientError::NotSupported(format!("this host does not support {function} yet"))))
    }
}

impl client::Host for GuestState {
    async fn start_new(&mut self, request: client::StartRequest) -> Answer<client::StartOutcome> {
        let granted = self.granted("start-new")?;
        Ok(match start_new(&granted, request).await {
            Ok(outcome) => {
                if let hub::StartOutcome::Started { instance_id, creation, .. } = &outcome {
                    self.last_started = Some((instance_id.as_str().to_owned(), *creation));
                }
                Ok(outcome_to_guest(outcome))
            }
            Err(error) => Err(error),
        })
    }

    async fn get_status(
        &mut self,
        instance_id: String,
        options: client::StatusOptions,
    ) -> Answer<Option<client::OrchestrationStatus>> {
        let granted = self.granted("get-status")?;
        let history_json = match self.shared.history_json {
            None if options.show_history => return self.unsupported("get-status with show-history"),
            history_json => history_json,
        };
        Ok(get_status(&granted, &instance_id, options, history_json).await)
    }

    async fn list_instances(&mut self, query: client::StatusQuery) -> Answer<client::StatusPage> {
        let granted = self.granted("list-instances")?;
        Ok(list(&granted, query).await)
    }

    async fn raise_event(&mut self, instance_id: String, name: String, input: String) -> Answer<()> {
        let granted = self.granted("raise-event")?;
        Ok(async {
            let input = argument(granted.json_depth_max, "input", input)?;
            Ok(granted.hub()?.raise_event(&instance_id, &name, input).await?)
        }
        .await)
    }

    async fn terminate(&mut self, instance_id: String, reason: String, recursive: bool) -> Answer<()> {
        let granted = self.granted("terminate")?;
        Ok(async {
            let hub = granted.hub()?;
            if recursive {
                return Ok(hub.terminate_with_children(&instance_id, &reason).await?);
            }
            Ok(hub.terminate(&instance_id, &reason).await?)
        }
        .await)
    }

    async fn suspend(&mut self, instance_id: String, reason: String) -> Answer<()> {
        let granted = self.granted("suspend")?;
        Ok(async { Ok(granted.hub()?.suspend(&instance_id, &reason).await?) }.await)
    }

    async fn resume(&mut self, instance_id: String, reason: String) -> Answer<()> {
        let granted = self.granted("resume")?;
        Ok(async { Ok(granted.hub()?.resume(&instance_id, &reason).await?) }.await)
    }

    async fn rewind(&mut self, instance_id: String, reason: String) -> Answer<()> {
        let granted = self.granted("rewind")?;
        Ok(async { Ok(granted.hub()?.rewind(&instance_id, &reason).await?) }.await)
    }

    async fn restart(&mut self, instance_id: String, with_new_instance_id: bool) -> Answer<String> {
        let granted = self.granted("restart")?;
        Ok(async {
            let restarted = granted.hub()?.restart(&instance_id, with_new_instance_id).await?;
            Ok(restarted.instance_id.as_str().to_owned())
        }
        .await)
    }

    async fn purge(&mut self, instance_id: String) -> Answer<u32> {
        let granted = self.granted("purge")?;
        Ok(async {
            match granted.hub()?.purge(&instance_id).await {
                Ok(()) => Ok(1),
                Err(hub::ClientError::NotFound(_)) => Ok(0),
                Err(error) => Err(error.into()),
            }
        }
        .await)
    }

    async fn purge_by(&mut self, filter: client::PurgeFilter) -> Answer<u32> {
        let granted = self.granted("purge-by")?;
        let filter = hub::PurgeFilter {
            created_from: filter.created_from.map(Timestamp::from_millis_f64),
            created_to: filter.created_to.map(Timestamp::from_millis_f64),
            statuses: filter.statuses.into_iter().map(status_from_guest).collect(),
        };
        Ok(async { Ok(u32::try_from(granted.hub()?.purge_by(filter).await?).unwrap_or(u32::MAX)) }.await)
    }

    async fn signal_entity(
        &mut self,
        entity: types::EntityId,
        operation: String,
        input: String,
        scheduled: Option<f64>,
    ) -> Answer<()> {
        let granted = self.granted("signal-entity")?;
        Ok(async {
            let signal = hub::SignalEntity {
                entity: entity_id(&entity)?,
                operation,
                input: argument(granted.json_depth_max, "input", input)?,
                scheduled: time("the signal", scheduled)?,
                trace_context: granted.trace_context.clone(),
            };
            Ok(granted.hub()?.signal_entity(signal).await?)
        }
        .await)
    }

    async fn read_entity(&mut self, entity: types::EntityId) -> Answer<Option<client::EntityState>> {
        let granted = self.granted("read-entity")?;
        Ok(async {
            let read = granted.hub()?.read_entity(&entity_id(&entity)?).await?;
            Ok(read.and_then(|entity| {
                let last_operation_time = entity.last_operation.as_millis_f64();
                Some(client::EntityState { state: entity.state?.as_str().to_owned(), last_operation_time })
            }))
        }
        .await)
    }

    async fn management_urls(&mut self, instance_id: String) -> Answer<client::InstanceUrls> {
        let granted = self.granted("management-urls")?;
        let Role::Effects { urls: Some(urls), .. } = &self.role else {
            return Ok(Err(client::ClientError::Unavailable(
                "management URLs are those of a running request: only an HTTP function has one".to_owned(),
            )));
        };
        // What this very call has started: another start of the id may have taken its place by now.
        let own = self.last_started.as_ref().filter(|(id, _)| *id == instance_id).map(|(_, creation)| *creation);
        let creation = match own {
            Some(creation) => Some(creation),
            None => match stored_creation(&granted, &instance_id).await {
                Ok(creation) => creation,
                Err(error) => return Ok(Err(error)),
            },
        };
        Ok(Ok(urls_to_guest(urls(&instance_id, creation))))
    }
}

async fn stored_creation(granted: &Granted, id: &str) -> Result<Option<hub::Creation>, client::ClientError> {
    let status = granted.hub()?.status(id, StatusWant::default()).await?;
    Ok(status.map(|status| status.creation()))
}

fn entity_id(entity: &types::EntityId) -> Result<EntityId, client::ClientError> {
    EntityId::parse(&entity.name, &entity.key).map_err(|error| client::ClientError::InvalidArgument(error.to_string()))
}

fn time(what: &str, millis: Option<f64>) -> Result<Option<Timestamp>, client::ClientError> {
    let not_a_number = || client::ClientError::InvalidArgument(format!("the time of {what} is not a number"));
    millis.map(|millis| contract::time_from_guest(millis).ok_or_else(not_a_number)).transpose()
}

fn argument(depth_max: usize, what: &str, text: String) -> Result<Json, client::ClientError> {
    Json::parse_within(depth_max, text)
        .map_err(|error| client::ClientError::InvalidArgument(format!("{what} is not JSON: {error}")))
}

async fn start_new(granted: &Granted, request: client::StartRequest) -> Result<hub::StartOutcome, client::ClientError> {
    let start = StartNew {
        input: argument(granted.json_depth_max, "input", request.input)?,
        name: FunctionName::new(&request.name),
        instance_id: request.instance_id,
        policy: request.overridable_states.map(contract::policy_from_guest).or(granted.policy),
        version: request.version,
        scheduled_start: time("the start", request.scheduled_start)?,
        tags: contract::tags_from_guest(request.tags),
        trace_context: request.trace_context.map(contract::trace_from_guest).or(granted.trace_context.clone()),
    };
    Ok(granted.hub()?.start_new(start).await?)
}

fn outcome_to_guest(outcome: hub::StartOutcome) -> client::StartOutcome {
    match outcome {
        hub::StartOutcome::Started { instance_id, execution_id, creation: _ } => {
            client::StartOutcome::Started(client::Started {
                instance_id: instance_id.as_str().to_owned(),
                execution_id: execution_id.as_str().to_owned(),
            })
        }
        hub::StartOutcome::AlreadyExists { instance_id, status } => {
            client::StartOutcome::AlreadyExists(client::Existing {
                instance_id: instance_id.as_str().to_owned(),
                status: status_to_guest(status),
            })
        }
    }
}

async fn get_status(
    granted: &Granted,
    instance_id: &str,
    options: client::StatusOptions,
    history_json: Option<HistoryJson>,
) -> Result<Option<client::OrchestrationStatus>, client::ClientError> {
    let want = StatusWant { input: options.show_input, history: options.show_history };
    let detail = HistoryDetail { input: options.show_input, output: options.show_history_output };
    let status = granted.hub()?.status(instance_id, want).await?;
    Ok(status.map(|status| client::OrchestrationStatus {
        history: history_json.zip(status.history.as_deref()).map(|(write, records)| write(records, detail)),
        ..instance_to_guest(&status)
    }))
}

async fn list(granted: &Granted, query: client::StatusQuery) -> Result<client::StatusPage, client::ClientError> {
    let query = hub::StatusQuery {
        created_from: query.created_from.map(Timestamp::from_millis_f64),
        created_to: query.created_to.map(Timestamp::from_millis_f64),
        statuses: query.statuses.into_iter().map(status_from_guest).collect(),
        prefix: query.instance_id_prefix,
        top: query.top.map(|top| usize::try_from(top).unwrap_or(usize::MAX)),
        continuation: query.continuation,
        input: query.show_input,
    };
    let page = granted.hub()?.list(query).await?;
    Ok(client::StatusPage {
        instances: page.instances.iter().map(instance_to_guest).collect(),
        continuation: page.continuation,
    })
}

fn instance_to_guest(status: &hub::OrchestrationStatus) -> client::OrchestrationStatus {
    let text = |json: &Json| json.as_str().to_owned();
    client::OrchestrationStatus {
        name: status.name.clone(),
        instance_id: status.instance_id.as_str().to_owned(),
        execution_id: status.execution_id.as_str().to_owned(),
        runtime_status: status_to_guest(status.runtime_status),
        input: status.input.as_ref().map(text),
        output: status.output_json().as_ref().map(text),
        custom_status: status.custom_status.as_ref().map(text),
        created_time: status.created.as_millis_f64(),
        last_updated_time: status.updated.as_millis_f64(),
        history: None,
        tags: contract::tags_to_guest(&status.tags),
    }
}

impl From<hub::ClientError> for client::ClientError {
    fn from(error: hub::ClientError) -> Self {
        use hub::ClientError as From;
        match error {
            From::InvalidArgument(text) => Self::InvalidArgument(text),
            From::UnknownFunction(text) => Self::UnknownFunction(text),
            From::NotFound(id) => Self::NotFound(id),
            From::Gone(status) => Self::Gone(status_to_guest(status)),
            From::Conflict(text) => Self::Conflict(text),
            From::NotSupported(text) => Self::NotSupported(text),
            From::Unavailable(text) => Self::Unavailable(text),
            From::Storage(error) => Self::Unavailable(error.to_string()),
        }
    }
}

fn status_to_guest(status: RuntimeStatus) -> client::RuntimeStatus {
    match status {
        RuntimeStatus::Running => client::RuntimeStatus::Running,
        RuntimeStatus::Completed => client::RuntimeStatus::Completed,
        RuntimeStatus::ContinuedAsNew => client::RuntimeStatus::ContinuedAsNew,
        RuntimeStatus::Failed => client::RuntimeStatus::Failed,
        RuntimeStatus::Canceled => client::RuntimeStatus::Canceled,
        RuntimeStatus::Terminated => client::RuntimeStatus::Terminated,
        RuntimeStatus::Pending => client::RuntimeStatus::Pending,
        RuntimeStatus::Suspended => client::RuntimeStatus::Suspended,
    }
}

fn status_from_guest(status: client::RuntimeStatus) -> RuntimeStatus {
    match status {
        client::RuntimeStatus::Running => RuntimeStatus::Running,
        client::RuntimeStatus::Completed => RuntimeStatus::Completed,
        client::RuntimeStatus::ContinuedAsNew => RuntimeStatus::ContinuedAsNew,
        client::RuntimeStatus::Failed => RuntimeStatus::Failed,
        client::RuntimeStatus::Canceled => RuntimeStatus::Canceled,
        client::RuntimeStatus::Terminated => RuntimeStatus::Terminated,
        client::RuntimeStatus::Pending => RuntimeStatus::Pending,
        client::RuntimeStatus::Suspended => RuntimeStatus::Suspended,
    }
}

fn urls_to_guest(urls: ManagementUrls) -> client::InstanceUrls {
    client::InstanceUrls {
        id: urls.id,
        status_query_get_uri: urls.status_query_get_uri,
        send_event_post_uri: urls.send_event_post_uri,
        terminate_post_uri: urls.terminate_post_uri,
        rewind_post_uri: urls.rewind_post_uri,
        purge_history_delete_uri: urls.purge_history_delete_uri,
        restart_post_uri: urls.restart_post_uri,
        suspend_post_uri: urls.suspend_post_uri,
        resume_post_uri: urls.resume_post_uri,
    }
}
