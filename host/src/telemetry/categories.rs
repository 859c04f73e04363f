//! What is logged by the categories of Azure Functions: `Host`, `Host.Triggers.DurableTask`, `Function.NAME`,
//! `Function.NAME.User`. A category without a level has that of the part before its last dot; in the end the default's.

use std::{collections::BTreeMap, fmt};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::layer::{Context, Layer};

/// The target of what functions print and log themselves.
const GUEST: &str = "soloist::guest";
/// The field that names the function that a line is about.
const FUNCTION: &str = "function";
/// The modules whose lines are about orchestrations, entities, activities and their storage.
const DURABLE: &[&str] = &["hub", "durable", "storage", "divergence", "flight"];

/// From which level on each category is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Categories {
    default: LevelFilter,
    /// By category, in lower case.
    levels: BTreeMap<String, LevelFilter>,
    /// The most that any function logs; none if all functions are alike.
    of_some_function: Option<LevelFilter>,
}

impl Categories {
    /// The level of each category, in any case; `default` is that of all others, information if it is missing. What libraries
    /// say is logged from warnings on at most, unless a category names them.
    pub fn new(levels: impl IntoIterator<Item = (String, LevelFilter)>) -> Self {
        let mut levels: BTreeMap<String, LevelFilter> =
            levels.into_iter().map(|(category, level)| (category.to_ascii_lowercase(), level)).collect();
        let default = levels.remove("default").unwrap_or(LevelFilter::INFO);
        let of_functions = levels.iter().filter(|(category, _)| category.starts_with("function."));
        let most = of_functions.map(|(_, level)| *level).max();
        let mut categories = Self { default, levels, of_some_function: None };
        categories.of_some_function = most.map(|most| most.max(categories.level("function")));
        categories
    }

    /// The level of a category, in lower case.
    fn level(&self, category: &str) -> LevelFilter {
        self.named(category).unwrap_or(self.default)
    }

    fn named(&self, category: &str) -> Option<LevelFilter> {
        let mut rest = category;
        loop {
            if let Some(level) = self.levels.get(rest) {
                return Some(*level);
            }
            rest = rest.rsplit_once('.')?.0;
        }
    }

    /// The most that a line of this kind may need, whatever function it is about.
    fn most(&self, line: &Metadata<'_>) -> LevelFilter {
        let Some(module) = own_module(line.target()) else {
            let category = line.target().replace("::", ".").to_ascii_lowercase();
            // The watcher of folders warns of each one that is deleted.
            let most =
                if category.split('.').next() == Some("notify") { LevelFilter::ERROR } else { LevelFilter::WARN };
            return self.named(&category).unwrap_or(self.default.min(most));
        };
        if line.fields().field(FUNCTION).is_some() {
            return self.of_some_function.unwrap_or_else(|| self.level("function"));
        }
        self.level(if DURABLE.contains(&module) { "host.triggers.durabletask" } else { "host" })
    }
}

/// The module of ours that a target names.
fn own_module(target: &str) -> Option<&str> {
    match target.strip_prefix("soloist")? {
        "" => Some(""),
        rest => rest.strip_prefix("::").map(|rest| rest.split("::").next().unwrap_or(rest)),
    }
}

impl<S: Subscriber> Layer<S> for Categories {
    fn register_callsite(&self, line: &'static Metadata<'static>) -> Interest {
        if self.most(line) >= *line.level() { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, line: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.most(line) >= *line.level()
    }

    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let line = event.metadata();
        let is_of_function = line.fields().field(FUNCTION).is_some() && own_module(line.target()).is_some();
        if self.of_some_function.is_none() || !is_of_function {
            return true;
        }
        let mut function = FunctionOf::default();
        event.record(&mut function);
        let user = if line.target() == GUEST { ".user" } else { "" };
        self.level(&format!("function.{}{user}", function.0.to_ascii_lowercase())) >= *line.level()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.levels.values().copied().chain([self.default]).max()
    }
}

/// The function that a line names.
#[derive(Default)]
struct FunctionOf(String);

impl Visit for FunctionOf {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == FUNCTION {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == FUNCTION {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn categories(levels: &[(&str, LevelFilter)]) -> Categories {
        Categories::new(levels.iter().map(|(category, level)| ((*category).to_owned(), *level)))
    }

    /// The lines that are logged, of one line of each kind and level.
    fn logged(levels: &[(&str, LevelFilter)]) -> String {
        use crate::telemetry::{LogFormat, tests::logged_by};
        logged_by(LogFormat::Text, Box::new(categories(levels)), || {
            tracing::debug!(target: "soloist::hub::worker", "durable-debug");
            tracing::info!(target: "soloist::storage", "durable-info");
            tracing::info!(target: "soloist::server", "host-info");
            tracing::error!(target: "soloist::wasm", "host-error");
            for function in ["Charge", "Other"] {
                tracing::error!(target: "soloist::wasm", function, "failed-{function}");
                tracing::warn!(target: "soloist::hub", function = %function, "late-{function}");
                tracing::trace!(target: "soloist::guest", function, "trace-{function}");
                tracing::info!(target: "soloist::guest", function, "said-{function}");
            }
            tracing::info!(target: "wasmtime::runtime", function = "Charge", "chatter");
            tracing::warn!(target: "wasmtime::runtime", "library");
        })
    }

    fn check(levels: &[(&str, LevelFilter)], wanted: &[&str]) {
        let all = [
            "durable-debug",
            "durable-info",
            "host-info",
            "host-error",
            "failed-Charge",
            "late-Charge",
            "trace-Charge",
            "said-Charge",
            "failed-Other",
            "late-Other",
            "trace-Other",
            "said-Other",
            "chatter",
            "library",
        ];
        let text = logged(levels);
        let found: Vec<&str> = all.into_iter().filter(|word| text.contains(word)).collect();
        assert_eq!(found, wanted, "{levels:?}");
    }

    #[test]
    fn a_line_is_judged_by_the_closest_category_that_has_a_level() {
        let rest =
            ["host-info", "host-error", "failed-Charge", "late-Charge", "said-Charge", "failed-Other", "late-Other"];
        let as_ever = [&["durable-info"][..], &rest, &["said-Other", "library"]].concat();
        check(&[], &as_ever);
        check(&[("DEFAULT", LevelFilter::ERROR)], &["host-error", "failed-Charge", "failed-Other"]);
        check(
            &[("default", LevelFilter::OFF), ("host", LevelFilter::INFO)],
            &["durable-info", "host-info", "host-error"],
        );
        check(
            &[("default", LevelFilter::OFF), ("Host.Triggers.DurableTask", LevelFilter::DEBUG)],
            &["durable-debug", "durable-info"],
        );
        check(
            &[("default", LevelFilter::OFF), ("Function", LevelFilter::ERROR), ("Function.Charge", LevelFilter::WARN)],
            &["failed-Charge", "late-Charge", "failed-Other"],
        );
        check(
            &[("default", LevelFilter::OFF), ("function.charge.user", LevelFilter::TRACE)],
            &["trace-Charge", "said-Charge"],
        );
        check(
            &[("Function.Charge.User", LevelFilter::OFF), ("Host", LevelFilter::OFF)],
            &["failed-Charge", "late-Charge", "failed-Other", "late-Other", "said-Other", "library"],
        );
        check(&[("default", LevelFilter::OFF), ("wasmtime", LevelFilter::INFO)], &["chatter", "library"]);
    }
}
