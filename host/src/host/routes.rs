//! Which function serves a request, as the server asks it.

use std::sync::Arc;

use super::deploy::Live;
use crate::{
    app::{App, AuthLevel, Excluded, Function, HttpTrigger, RouteTable},
    server::{FunctionErrors, FunctionInError, FunctionMatch, FunctionRoutes},
};

/// Finds these functions by their routes. Of those between whose routes only the order of names decides, the app's report tells.
pub(super) fn find_route(app: &App, live: &[Live]) -> FunctionRoutes {
    let functions: Vec<Function> = live.iter().map(|live| live.function.clone()).collect();
    let table = RouteTable::new(&app.host_json.http.route_prefix, &functions);
    let of = |live: &Live| {
        let level = live.function.http().map(|http| http.auth_level).unwrap_or_default();
        (live.function.name.as_str().into(), level, live.speaks_http)
    };
    let served: Vec<(Arc<str>, AuthLevel, bool)> = live.iter().map(of).collect();
    Arc::new(move |method, path| {
        let found = table.find(method.as_str(), path)?;
        let (function, auth_level, is_streamed) = served[found.function].clone();
        Some(FunctionMatch { function, params: found.params, auth_level, is_streamed })
    })
}

/// Finds the functions that are in error, by the routes that they would have.
pub(super) fn find_error(app: &App, excluded: &[Excluded]) -> FunctionErrors {
    let in_error: Vec<(HttpTrigger, FunctionInError)> = excluded
        .iter()
        .filter_map(|excluded| {
            let trigger = app.http_trigger_in_error(excluded)?;
            let reason = excluded.reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            Some((trigger, FunctionInError { function: excluded.function.clone(), reason }))
        })
        .collect();
    let triggers = in_error.iter().enumerate().map(|(index, (trigger, _))| (index, trigger));
    let table = RouteTable::of(&app.host_json.http.route_prefix, triggers);
    Arc::new(move |method, path| Some(in_error[table.find(method.as_str(), path)?.function].1.clone()))
}
