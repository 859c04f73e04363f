//! `soloist reset`: deletes an app's data, after asking.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use crate::host::DataFolder;

/// `soloist reset`.
#[derive(Debug, clap::Args)]
pub(super) struct Reset {
    /// The app's folder
    #[arg(default_value = ".")]
    app: PathBuf,
    /// The data folder, if it is not APP/.soloist
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Reset {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let folder = super::data_folder(&self.app, self.data);
        if !folder.exists() {
            println!("nothing to delete: {} does not exist", folder.display());
            return Ok(ExitCode::SUCCESS);
        }
        if !folder.join(crate::host::DATABASE).exists() {
            println!("nothing to delete: {} holds no task hub", folder.display());
            return Ok(ExitCode::SUCCESS);
        }
        // Before asking: a running host would write on.
        let data = DataFolder::take(&folder)?;
        if !self.yes && !confirmed(&folder)? {
            println!("nothing was deleted");
            return Ok(ExitCode::FAILURE);
        }
        data.clear()?;
        println!("deleted the data in {}", folder.display());
        Ok(ExitCode::SUCCESS)
    }
}

fn confirmed(folder: &std::path::Path) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        anyhow::bail!("this deletes every instance in {}; say --yes where nobody can be asked", folder.display());
    }
    print!("Delete every instance and its history in {}? [y/N] ", folder.display());
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
