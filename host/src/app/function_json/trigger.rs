//! What makes a function run: the trigger's binding, read.

use super::bindings::Binding;
use super::value::{boolean, invalid, one_of, string, value};
use crate::app::diagnostic::{Code, Problem, Report};
use crate::app::error::Origin;
use crate::app::function::{AuthLevel, HttpTrigger, TimerTrigger, Trigger};
use crate::app::json::{Node, Value};
use crate::app::route::RouteTemplate;
use crate::app::schedule::{self, Schedule};
use crate::app::settings::Settings;

/// The trigger of a function. None if the report has got an error.
pub(super) fn read(binding: &Binding<'_>, function: &str, settings: &Settings, report: &mut Report) -> Option<Trigger> {
    let node = binding.node;
    let mut name = |key: &str| {
        let name = report.keep(string(node, key))?;
        Some(name.filter(|name| !name.is_empty()).unwrap_or(function).to_owned())
    };
    match binding.kind.as_str() {
        "httptrigger" => http_trigger(node, function, report).map(Trigger::Http),
        "orchestrationtrigger" => {
            let name = name("orchestration")?;
            if name.starts_with('@') {
                let message = "Orchestration names must not start with @.";
                report.note(Problem::new(Code::DurableName, message, origin(binding)));
                return None;
            }
            Some(Trigger::Orchestration { name })
        }
        "activitytrigger" => Some(Trigger::Activity { name: name("activity")? }),
        "entitytrigger" => {
            let name = name("entityName")?;
            if name.contains('@') {
                let message = format!("the entity name '{name}' must not contain '@': entity ids are '@name@key'");
                report.note(Problem::new(Code::DurableName, message, origin(binding)));
                return None;
            }
            Some(Trigger::Entity { name })
        }
        "timertrigger" => timer_trigger(node, settings, report).map(Trigger::Timer),
        // Reported as a type that is not served.
        _ => None,
    }
}

/// Where the trigger's route or durable name is written.
pub(super) fn origin(binding: &Binding<'_>) -> Origin {
    ["route", "orchestration", "activity", "entityName"]
        .iter()
        .find_map(|key| value(binding.node, key))
        .unwrap_or(binding.node)
        .origin()
}

fn http_trigger(node: &Node, function: &str, report: &mut Report) -> Option<HttpTrigger> {
    let levels = ["anonymous", "user", "function", "system", "admin"];
    let level = report.keep_or(None, one_of(node, "authLevel", "AuthorizationLevel", &levels));
    let auth_level = match level {
        None => AuthLevel::default(),
        Some("anonymous") => AuthLevel::Anonymous,
        Some("user") => AuthLevel::User,
        Some("system") => AuthLevel::System,
        Some("admin") => AuthLevel::Admin,
        Some(_) => AuthLevel::Function,
    };
    let methods = report.keep(methods(node));
    let text = report.keep(string(node, "route"))?.filter(|route| !route.is_empty()).unwrap_or(function);
    let origin = node.get("route").unwrap_or(node).origin();
    let route = report.keep(
        RouteTemplate::parse(text)
            .map_err(|error| Problem::new(Code::RouteTemplate, error.to_string(), origin.clone())),
    )?;
    if route.first_literal().is_some_and(|first| first == "admin" || first == "runtime") {
        let message = "The specified route conflicts with one or more built in routes.";
        report.note(Problem::new(Code::RouteReserved, message, origin).help("begin it with another word"));
    }
    Some(HttpTrigger { auth_level, methods: methods?, route })
}

fn methods(node: &Node) -> Result<Vec<String>, Problem> {
    let Some(list) = value(node, "methods") else {
        return Ok(Vec::new());
    };
    let invalid = |node: &Node| {
        invalid(node, "methods", "type String[]").help("write a list of methods, such as [\"get\", \"post\"]")
    };
    let Value::Array(elements) = list.value() else {
        return Err(invalid(list));
    };
    let mut methods = Vec::new();
    for element in elements {
        let method = element.as_str().ok_or_else(|| invalid(element))?.to_ascii_uppercase();
        if http::Method::from_bytes(method.as_bytes()).is_err() {
            return Err(invalid(element));
        }
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    Ok(methods)
}

fn timer_trigger(node: &Node, settings: &Settings, report: &mut Report) -> Option<TimerTrigger> {
    let run_on_startup = report.keep(boolean(node, "runOnStartup"));
    let use_monitor = report.keep(boolean(node, "useMonitor"));
    let text = report.keep(string(node, "schedule"))?.unwrap_or_default();
    let zone = schedule::time_zone(settings).map_err(|message| {
        Problem::new(Code::TimeZone, message, Origin::Setting(schedule::TIME_ZONE_SETTING.to_owned()))
    });
    let zone = report.keep(zone)?;
    let origin = node.get("schedule").unwrap_or(node).origin();
    let schedule = Schedule::parse(text, &zone).ok_or_else(|| {
        let message = format!(
            "The schedule expression '{text}' was not recognized as a valid cron expression or timespan string."
        );
        Problem::new(Code::Schedule, message, origin.clone()).help(
            "write {second} {minute} {hour} {day} {month} {weekday}, such as 0 */5 * * * *, or a period as hh:mm:ss",
        )
    });
    let schedule = report.keep(schedule)?;
    if schedule.next(NO_TIME, NO_TIME).is_none() {
        let message = format!("the schedule '{text}' never occurs");
        report.note(Problem::new(Code::ScheduleNever, message, origin).help("no month has such a day: correct it"));
    }
    Some(TimerTrigger {
        schedule,
        run_on_startup: run_on_startup?.unwrap_or(false),
        use_monitor: use_monitor?.unwrap_or(true),
    })
}

/// Any time will do to see whether a schedule ever occurs: this one is a constant, so that reading an app needs no clock.
const NO_TIME: crate::durable::Timestamp = crate::durable::Timestamp(0);
