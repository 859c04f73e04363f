//! Which operation a method and a path ask for.

use http::Method;
use percent_encoding::percent_decode_str;

use super::super::keys::Verb;
use super::entities::EntityPath;

/// An operation of the management API, with what its path names. Instance ids are as they were sent: not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Start an orchestration.
    Start {
        /// The orchestrator function.
        name: String,
        /// The id, if one is given.
        id: Option<String>,
    },
    /// Read one instance.
    Status(String),
    /// List instances.
    List,
    /// Delete one instance.
    Purge(String),
    /// Deliver an external event.
    RaiseEvent {
        /// The instance.
        id: String,
        /// The event's name.
        name: String,
    },
    /// Delete the ended instances that a filter matches.
    PurgeBy,
    /// End an instance.
    Terminate(String),
    /// Hold an instance.
    Suspend(String),
    /// Let a suspended instance go on.
    Resume(String),
    /// Run the failed steps of a failed instance again.
    Rewind(String),
    /// Start an instance again with its input.
    Restart(String),
    /// Read one entity.
    ReadEntity(EntityPath),
    /// List entities, all or of one name.
    ListEntities(Option<String>),
    /// Send an entity an operation.
    SignalEntity(EntityPath),
    /// Send an entity the operation `delete`.
    DeleteEntity(EntityPath),
    /// Become the one that runs timers and orchestrations: this host is, always.
    MakePrimary,
    /// A start whose path is not UTF-8.
    NotUtf8,
}

impl Operation {
    /// Reads a method and the path below the API's base, still percent-encoded. Literals compare without regard to case; one
    /// slash at the end means nothing. None if nothing is served there.
    pub(super) fn parse(method: &Method, tail: &str) -> Option<Self> {
        let tail = tail.strip_prefix('/').unwrap_or(tail);
        let tail = tail.strip_suffix('/').unwrap_or(tail);
        // Split first, then decode: a `%2F` belongs to its segment.
        let segments: Result<Vec<String>, _> = tail
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8().map(|text| text.into_owned()))
            .collect();
        let Ok(segments) = segments else {
            let is_start = method == Method::POST && tail.to_ascii_lowercase().starts_with("orchestrators/");
            return is_start.then_some(Self::NotUtf8);
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (collection, rest) = segments.split_first()?;
        match collection.to_ascii_lowercase().as_str() {
            "orchestrators" if method == Method::POST => Self::start(rest),
            "instances" => Self::instances(method, rest),
            "entities" => Self::entities(method, rest),
            "makeprimary" if method == Method::POST && rest.is_empty() => Some(Self::MakePrimary),
            _ => None,
        }
    }

    /// The instance and what a link to it must be for, if links lead to this.
    pub(super) fn linked(&self) -> Option<(&str, Verb)> {
        let (id, verb) = match self {
            Self::Status(id) => (id, Verb::Status),
            Self::Purge(id) => (id, Verb::Purge),
            Self::RaiseEvent { id, .. } => (id, Verb::RaiseEvent),
            Self::Terminate(id) => (id, Verb::Terminate),
            Self::Suspend(id) => (id, Verb::Suspend),
            Self::Resume(id) => (id, Verb::Resume),
            Self::Rewind(id) => (id, Verb::Rewind),
            Self::Restart(id) => (id, Verb::Restart),
            Self::Start { .. }
            | Self::List
            | Self::PurgeBy
            | Self::ReadEntity(_)
            | Self::ListEntities(_)
            | Self::SignalEntity(_)
            | Self::DeleteEntity(_)
            | Self::MakePrimary
            | Self::NotUtf8 => return None,
        };
        Some((id, verb))
    }

    fn start(rest: &[&str]) -> Option<Self> {
        match *rest {
            [name] if !name.is_empty() => Some(Self::Start { name: name.to_owned(), id: None }),
            [name, id] if !name.is_empty() && !id.is_empty() => {
                Some(Self::Start { name: name.to_owned(), id: Some(id.to_owned()) })
            }
            _ => None,
        }
    }

    fn instances(method: &Method, rest: &[&str]) -> Option<Self> {
        if rest.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        match (method, rest) {
            (&Method::GET, []) => Some(Self::List),
            (&Method::GET, [id]) => Some(Self::Status((*id).to_owned())),
            (&Method::DELETE, []) => Some(Self::PurgeBy),
            (&Method::DELETE, [id]) => Some(Self::Purge((*id).to_owned())),
            (&Method::POST, [id, operation]) => Self::instance_operation(id, operation),
            (&Method::POST, [id, operation, name]) if operation.eq_ignore_ascii_case("raiseEvent") => {
                Some(Self::RaiseEvent { id: (*id).to_owned(), name: (*name).to_owned() })
            }
            _ => None,
        }
    }

    fn instance_operation(id: &str, operation: &str) -> Option<Self> {
        let id = id.to_owned();
        match operation.to_ascii_lowercase().as_str() {
            "terminate" => Some(Self::Terminate(id)),
            "suspend" => Some(Self::Suspend(id)),
            "resume" => Some(Self::Resume(id)),
            "rewind" => Some(Self::Rewind(id)),
            "restart" => Some(Self::Restart(id)),
            _ => None,
        }
    }

    fn entities(method: &Method, rest: &[&str]) -> Option<Self> {
        if rest.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let path = |name: &str, key: &str| EntityPath { name: name.to_owned(), key: key.to_owned() };
        match (method, rest) {
            (&Method::GET, []) => Some(Self::ListEntities(None)),
            (&Method::GET, [name]) => Some(Self::ListEntities(Some((*name).to_owned()))),
            (&Method::GET, [name, key]) => Some(Self::ReadEntity(path(name, key))),
            (&Method::POST, [name, key]) => Some(Self::SignalEntity(path(name, key))),
            (&Method::DELETE, [name, key]) => Some(Self::DeleteEntity(path(name, key))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(name: &str, key: &str) -> EntityPath {
        EntityPath { name: name.into(), key: key.into() }
    }

    fn parse(request: &str) -> Option<Operation> {
        let (method, tail) = request.split_once(' ').unwrap();
        Operation::parse(&method.parse().unwrap(), tail)
    }

    #[test]
    fn every_documented_path_is_an_operation() {
        let start = |id: Option<&str>| Operation::Start { name: "E1".into(), id: id.map(str::to_owned) };
        let raise = Operation::RaiseEvent { id: "a".into(), name: "Go".into() };
        for (request, operation) in [
            ("POST /orchestrators/E1", start(None)),
            ("POST /Orchestrators/E1/", start(None)),
            ("POST /orchestrators/E1/a%20b", start(Some("a b"))),
            ("POST /orchestrators/E1/a%2Fb", start(Some("a/b"))),
            ("POST /orchestrators/E1/%ff", Operation::NotUtf8),
            ("GET /instances", Operation::List),
            ("GET /instances/", Operation::List),
            ("GET /INSTANCES/a%2fb/", Operation::Status("a/b".into())),
            ("GET /instances/terminate", Operation::Status("terminate".into())),
            ("DELETE /instances/a", Operation::Purge("a".into())),
            ("DELETE /instances/", Operation::PurgeBy),
            ("POST /instances/a/RaiseEvent/Go", raise),
            ("POST /instances/a/terminate", Operation::Terminate("a".into())),
            ("POST /instances/a/TERMINATE/", Operation::Terminate("a".into())),
            ("POST /instances/a/suspend", Operation::Suspend("a".into())),
            ("POST /instances/a/Resume", Operation::Resume("a".into())),
            ("POST /instances/a/rewind", Operation::Rewind("a".into())),
            ("POST /instances/a/restart", Operation::Restart("a".into())),
            ("GET /entities", Operation::ListEntities(None)),
            ("GET /entities/Counter/", Operation::ListEntities(Some("Counter".into()))),
            ("GET /entities/counter/k%20@x", Operation::ReadEntity(entity("counter", "k @x"))),
            ("POST /entities/counter/$", Operation::SignalEntity(entity("counter", "$"))),
            ("DELETE /Entities/counter/k", Operation::DeleteEntity(entity("counter", "k"))),
            ("POST /makeprimary/", Operation::MakePrimary),
        ] {
            assert_eq!(parse(request), Some(operation), "{request}");
        }
    }

    /// The tail of a link below the API's base, without its query.
    fn tail_of(link: &str) -> &str {
        let path = link.split('?').next().unwrap();
        path.split_once(crate::server::MANAGEMENT_PATH).unwrap().1
    }

    proptest::proptest! {
        #[test]
        fn every_id_comes_back_from_its_links(id in "\\PC{1,40}|[a-z%+&;=@:$ .é\\-]{1,20}") {
            let origin = crate::server::Origin::of_address("127.0.0.1:7071".parse().unwrap());
            let links = crate::server::ManagementUrls::new(&origin, "Hub", None).for_instance(&id, None);
            let asked = |method: Method, link: &str| Operation::parse(&method, tail_of(link));
            // What no caller can choose can be linked to all the same: old hosts or others may have stored it.
            proptest::prop_assert_eq!(asked(Method::GET, &links.status_query_get_uri), Some(Operation::Status(id.clone())));
            proptest::prop_assert_eq!(asked(Method::DELETE, &links.purge_history_delete_uri), Some(Operation::Purge(id.clone())));
            proptest::prop_assert_eq!(asked(Method::POST, &links.terminate_post_uri), Some(Operation::Terminate(id.clone())));
            let event = links.send_event_post_uri.replace("{eventName}", "Go");
            let raise = Operation::RaiseEvent { id: id.clone(), name: "Go".to_owned() };
            proptest::prop_assert_eq!(asked(Method::POST, &event), Some(raise));
            // And what may be chosen is stored as it is.
            if let Ok(parsed) = crate::durable::InstanceId::parse(&id) {
                proptest::prop_assert_eq!(parsed.as_str(), &id);
                proptest::prop_assert_eq!(crate::durable::InstanceId::from_stored(parsed.as_str()), parsed);
            }
        }

        #[test]
        fn no_path_makes_it_panic(method in "GET|POST|DELETE|PUT", tail in "(/?(instances|entities|orchestrators|[a-z@%./]{0,6})){0,5}") {
            let _ = Operation::parse(&method.parse().unwrap(), &tail);
            let _ = crate::server::admin::page::Page::parse(&method.parse().unwrap(), &tail);
        }
    }

    #[test]
    fn everything_else_is_nothing() {
        for request in [
            "GET /",
            "GET ",
            "GET /orchestrators/E1",
            "POST /orchestrators",
            "POST /orchestrators//a",
            "POST /orchestrators/E1//",
            "POST /orchestrators/E1/a/b",
            "POST /instances/a",
            "PUT /instances/a",
            "HEAD /instances/a",
            "POST /instances/a/raiseEvent",
            "POST /instances/a/raiseEvent//",
            "POST /instances//raiseEvent/x",
            "POST /instances//terminate",
            "GET /instances/a/terminate",
            "GET /instances/a//",
            "GET /instances/%ff",
            "POST /instances/a/terminate/x",
            "GET /other",
            "POST /entities/counter",
            "GET /makeprimary",
        ] {
            assert_eq!(parse(request), None, "{request}");
        }
    }
}
