//! `soloist explain`: what the code of a finding means.

use std::process::ExitCode;

use super::manage::{Exit, Failure, Format, Output, printable};
use crate::app::{Code, explanation};

/// `soloist explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The code, such as S0101; without, all codes are listed
    code: Option<String>,
}

impl Explain {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let output = Output::new(Format::Text);
        let Some(text) = self.code else {
            let line = |code: &Code| format!("{code}  {:7}  {}\n", code.severity().as_str(), code.title());
            output.write(&Code::ALL.iter().map(line).collect::<String>())?;
            return Ok(ExitCode::SUCCESS);
        };
        let Some(code) = Code::parse(&text) else {
            let message = format!("there is no code '{}': `soloist explain` lists them", printable(&text));
            return Ok(Failure::new(Exit::Usage, message).report(Format::Text));
        };
        output.write(&format!("{}\n", explanation(code)))?;
        Ok(ExitCode::SUCCESS)
    }
}
