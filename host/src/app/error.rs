//! What can be wrong with an app: what stops the host, and what takes one function out of service.

use std::fmt;
use std::path::PathBuf;

/// A place in a text file, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, the first one is 1.
    pub line: usize,
    /// Column in characters, the first one is 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Where a problem was found: a place in a file, a whole file or folder, or an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file or folder, with the place in it where one is to blame.
    File {
        /// The file or folder.
        file: PathBuf,
        /// The place in it, if the whole is not meant.
        position: Option<Position>,
    },
    /// A value that an environment variable or app setting put in place of the file's.
    Setting(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { file, position: Some(position) } => write!(f, "{}:{position}", file.display()),
            Origin::File { file, position: None } => write!(f, "{}", file.display()),
            Origin::Setting(name) => write!(f, "setting {name}"),
        }
    }
}

/// What makes an app impossible to load: the host does not start with it.
///
/// The texts are those of Azure Functions where it has one; the place follows in brackets.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no folder at the given path.
    #[error("app folder {} not found: give the folder that holds host.json", .0.display())]
    NotFound(PathBuf),
    /// The path leads to something that is not a folder.
    #[error("{} is not a folder: give the folder that holds host.json", .0.display())]
    NotAFolder(PathBuf),
    /// A file or folder of the app cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// `host.json` is not JSON (comments and trailing commas are accepted).
    #[error("Unable to parse host configuration file '{}'. ({origin}: {detail})", path.display())]
    HostJsonSyntax {
        /// The file.
        path: PathBuf,
        /// The place of the first mistake.
        origin: Origin,
        /// What is wrong there.
        detail: String,
    },
    /// `host.json`, or a setting that overrides a value in it, holds a value that is not allowed.
    #[error("{message} ({origin})")]
    HostJsonValue {
        /// What is wrong, naming the property.
        message: String,
        /// Where the value comes from.
        origin: Origin,
    },
    /// `local.settings.json` cannot be used.
    #[error("{message} ({origin})")]
    LocalSettings {
        /// What is wrong and what helps.
        message: String,
        /// Where.
        origin: Origin,
    },
}

/// A function that is not served, and why. The other functions of the app are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excluded {
    /// The function's name: its folder's.
    pub function: String,
    /// What is wrong; Azure's text where it has one.
    pub reason: String,
    /// The file or folder to look at, mostly the function's `function.json`.
    pub file: PathBuf,
    /// The place in the file, if not the whole is to blame.
    pub position: Option<Position>,
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The '{}' function is in error: {} ({}", self.function, self.reason, self.file.display())?;
        if let Some(position) = self.position {
            write!(f, ":{position}")?;
        }
        f.write_str(")")
    }
}

/// Something wrong with a value that was read, before it is known what that means for the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub message: String,
    pub origin: Origin,
}

impl Problem {
    pub fn new(message: impl Into<String>, origin: Origin) -> Self {
        Problem { message: message.into(), origin }
    }

    /// Takes the function out of service. A setting has no file: then `file` is named.
    pub fn exclude(self, function: &str, file: &std::path::Path) -> Excluded {
        match self.origin {
            Origin::File { file, position } => {
                Excluded { function: function.to_owned(), reason: self.message, file, position }
            }
            Origin::Setting(name) => Excluded {
                function: function.to_owned(),
                reason: format!("{} (setting {name})", self.message),
                file: file.to_owned(),
                position: None,
            },
        }
    }
}
