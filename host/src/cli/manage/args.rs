//! What all of these commands take: where the host is, the key, the format.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr, time::Duration};

use super::when;

/// Which host, and how to speak with it and with the caller.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Host and format")]
pub(in super::super) struct Remote {
    /// The host's URL, as `soloist start` prints it
    #[arg(long, env = "SOLOIST_URL", default_value = "http://127.0.0.1:7071", global = true)]
    pub url: String,
    /// The key to send; other users of this machine can see arguments, so prefer --key-file or the variable
    #[arg(long, env = "SOLOIST_KEY", hide_env_values = true, global = true)]
    pub key: Option<Secret>,
    /// A file that holds the key; wins over --key
    #[arg(long, env = "SOLOIST_KEY_FILE", value_name = "FILE", global = true)]
    pub key_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities to trust with https, in place of the public ones
    #[arg(long, env = "SOLOIST_CA_FILE", value_name = "FILE", global = true)]
    pub ca_file: Option<PathBuf>,
    /// For people (text) or for programs (json; errors too, on standard error)
    #[arg(long, value_enum, default_value_t, global = true)]
    pub format: Format,
    /// How long one request may take, such as 30s or 2m
    #[arg(long, value_name = "TIME", default_value = "100s", value_parser = when::span, global = true)]
    pub request_timeout: Duration,
}

/// How results and errors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in super::super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: what the host answered, verbatim, one JSON value.
    Json,
}

/// A text that no log or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// An id, a name: any text but the empty one, which would name something else in a path.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}
