//! End to end: real hosts, real components, over HTTP only.
//!
//! With `SOLOIST_TEST_RESIDENT_BYTES=0` no host keeps a guest between turns: every test must pass all the same.

mod activities;
mod addresses;
mod backups;
mod bad_input;
mod checks;
mod children;
mod cli;
mod cli_durable;
mod cli_entities;
mod cli_exits;
mod cli_https;
mod cli_instances;
mod commands;
mod continue_as_new;
mod crashes;
mod determinism;
mod durable_http;
mod entities;
mod gate;
mod hostile;
mod hostile_http;
mod http_streams;
mod idle;
mod keys;
mod limits;
mod logs;
mod management;
mod new_apps;
mod operations;
mod orchestrations;
mod outbound;
mod parking;
mod races;
mod retention;
mod retries;
mod rewind;
mod samples;
mod scale;
mod scheduled;
mod starters;
mod timer_functions;
mod versions;
mod watching;
mod web;
