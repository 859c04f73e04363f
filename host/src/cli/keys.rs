//! `soloist keys`: the keys that callers need. It changes the file of keys in the data folder: whoever may write that may do
//! everything anyway. A running host takes note at once.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::{
    host::DataFolder,
    server::keys::{KEYS, KeyId, Keys, Made, Scope},
};

/// `soloist keys`.
#[derive(Debug, Args)]
pub(super) struct KeysCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the keys by name; their values cannot be read back
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Make a key and show it, once
    Create {
        #[command(flatten)]
        key: Named,
        #[command(flatten)]
        data: Data,
    },
    /// Give a key another value and show it, once; the old value opens nothing any more
    Rotate {
        #[command(flatten)]
        key: Rotated,
        #[command(flatten)]
        data: Data,
    },
    /// Delete a key: it opens nothing any more
    Revoke {
        #[command(flatten)]
        key: Named,
        #[command(flatten)]
        data: Data,
    },
}

/// Whose keys.
#[derive(Debug, Args)]
struct Data {
    /// The app's folder
    #[arg(long, default_value = ".", value_name = "APP")]
    app: PathBuf,
    /// The data folder, if it is not APP/.soloist
    #[arg(long, value_name = "DIR", conflicts_with = "app")]
    data: Option<PathBuf>,
}

/// A key by its name.
#[derive(Debug, Args)]
struct Named {
    /// The key's name, for example `default`
    name: String,
    #[command(flatten)]
    scope: Whose,
}

/// A key by its name, the master key, or the secret of links.
#[derive(Debug, Args)]
struct Rotated {
    /// The key's name, for example `default`; the master key is `_master`
    #[arg(required_unless_present = "links")]
    name: Option<String>,
    #[command(flatten)]
    scope: Whose,
    /// Not a key but the secret that links are signed with: every link given out so far opens nothing any more
    #[arg(long, conflicts_with_all = ["name", "function", "system"])]
    links: bool,
}

/// What a key opens: without a flag, every function of level `function`.
#[derive(Debug, Args)]
struct Whose {
    /// A key of this function alone
    #[arg(long, value_name = "FUNCTION")]
    function: Option<String>,
    /// A system key: `durabletask_extension` opens the management API
    #[arg(long, conflicts_with = "function")]
    system: bool,
}

impl KeysCommand {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List { data } => {
                for id in data.open()?.list() {
                    println!("{}", title(&id));
                }
            }
            Command::Create { key, data } => show(&data.make()?.create(&key.id()?).context(key.name.clone())?),
            Command::Rotate { key, data } => match key.name {
                Some(name) => {
                    let key = Named { name, scope: key.scope };
                    show(&data.open()?.rotate(&key.id()?).context(key.name)?);
                }
                None => {
                    data.open()?.rotate_links()?;
                    println!("links that were given out before open nothing any more");
                }
            },
            Command::Revoke { key, data } => {
                let id = key.id()?;
                anyhow::ensure!(
                    !id.is_built_in(),
                    "the host needs the key {}; give it another value with `soloist keys rotate`",
                    key.name
                );
                data.open()?.revoke(&id).context(key.name)?;
                println!("revoked {}", title(&id));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Data {
    fn folder(&self) -> PathBuf {
        super::data_folder(&self.app, self.data.clone())
    }

    /// The keys that are there.
    fn open(&self) -> anyhow::Result<Keys> {
        let folder = self.folder();
        anyhow::ensure!(
            folder.join(KEYS).exists(),
            "there are no keys in {}: `soloist start` without --dev makes them; name the app's folder with --app APP, or its \
             data folder with --data DIR",
            folder.display()
        );
        Ok(Keys::open(&folder)?)
    }

    /// The keys, also of a host that has never run. A mistyped app makes no folder.
    fn make(&self) -> anyhow::Result<Keys> {
        let folder = self.folder();
        if self.data.is_none() {
            super::check_app_folder(&self.app)?;
        }
        DataFolder::make(&folder)?;
        Ok(Keys::open(&folder)?)
    }
}

impl Named {
    fn id(&self) -> anyhow::Result<KeyId> {
        let scope = match &self.scope {
            Whose { function: Some(function), .. } => Scope::function(function),
            Whose { system: true, .. } => Scope::System,
            Whose { .. } => Scope::Host,
        };
        KeyId::parse(scope, &self.name).with_context(|| {
            format!(
                "{:?} is no name of a key; use letters, digits, hyphens, underscores and dots, a letter or digit first",
                self.name
            )
        })
    }
}

/// A key as it is shown.
pub(super) fn title(id: &KeyId) -> String {
    match &id.scope {
        Scope::Master => format!("master {}", id.name),
        Scope::Host => format!("host {}", id.name),
        Scope::System => format!("system {}", id.name),
        Scope::Function(function) => format!("function {function} {}", id.name),
    }
}

/// The value alone on its line, so that a script can take it.
fn show(made: &Made) {
    eprintln!("{}: shown once, only its digest is kept", title(&made.id));
    println!("{}", made.value.reveal());
}
