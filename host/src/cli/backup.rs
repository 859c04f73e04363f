//! `soloist backup` and `soloist restore`: an app's data as one file, and back.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{
    host::{DATABASE, DataFolder},
    storage::sqlite::{self, Copied, CopyError, Existing},
};

/// `soloist backup`.
#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// The file to make
    file: PathBuf,
    #[command(flatten)]
    data: Data,
    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,
}

/// `soloist restore`.
#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    data: Data,
    /// Replace the data that is there
    #[arg(long)]
    force: bool,
}

/// Whose data.
#[derive(Debug, clap::Args)]
struct Data {
    /// The app's folder
    #[arg(long, default_value = ".", value_name = "APP")]
    app: PathBuf,
    /// The data folder, if it is not APP/.soloist
    #[arg(long, value_name = "DIR", conflicts_with = "app")]
    data: Option<PathBuf>,
}

impl Data {
    fn folder(self) -> PathBuf {
        super::data_folder(&self.app, self.data)
    }
}

impl Backup {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let folder = self.data.folder();
        // The folder is not taken: whoever has it goes on.
        let database = folder.join(DATABASE);
        anyhow::ensure!(
            database.exists(),
            "there is no data in {}; name the app's folder with --app APP, or its data folder with --data DIR",
            folder.display()
        );
        let copied = sqlite::backup(&database, &self.file, existing(self.force))?;
        println!("backed up {} to {}", shown(copied), self.file.display());
        Ok(ExitCode::SUCCESS)
    }
}

impl Restore {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let folder = self.data.folder();
        anyhow::ensure!(self.file.exists(), "there is no file {}", self.file.display());
        let data = DataFolder::take(&folder)?;
        let copied = sqlite::restore(&self.file, &data.database(), existing(self.force)).map_err(|error| {
            if matches!(error, CopyError::Exists { .. }) { has_data(&folder) } else { error.into() }
        })?;
        println!("restored {} to {}", shown(copied), folder.display());
        Ok(ExitCode::SUCCESS)
    }
}

fn has_data(folder: &Path) -> anyhow::Error {
    anyhow::anyhow!("{} holds data already; say --force to replace every instance in it", folder.display())
}

fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}

fn shown(Copied { instances, bytes }: Copied) -> String {
    let noun = if instances == 1 { "instance" } else { "instances" };
    format!("{instances} {noun} ({bytes} bytes)")
}
