//! `soloist instances list`.

use std::ops::ControlFlow;

use http::Method;
use serde_json::value::RawValue;

use super::Filter;
use crate::cli::manage::{
    client::Ask,
    failure::Failure,
    model::Status,
    output::{Style, Table, cell, style_of, styled_cell},
    session::{List, Session},
    text, when,
};

/// `soloist instances list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListInstances {
    #[command(flatten)]
    filter: Filter,
    /// Whose ids begin so
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// At most so many, over as many pages as it takes
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    top: u64,
    /// All of them
    #[arg(long, conflicts_with = "top")]
    all: bool,
    /// With inputs, in JSON
    #[arg(long)]
    show_input: bool,
}

const HEADINGS: [&str; 6] = ["ID", "FUNCTION", "STATUS", "CREATED (UTC)", "UPDATED (UTC)", "CUSTOM STATUS"];

impl ListInstances {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let ask = Ask::new(Method::GET, &["instances"]);
        let ask = self.filter.apply(ask).maybe("instanceIdPrefix", self.prefix.as_deref());
        let ask = ask.query("showInput", if self.show_input { "true" } else { "false" });
        let top = if self.all { u64::MAX } else { self.top };
        let list = List { top, token: "" };
        if session.output.is_json() {
            return json_array(session, &ask, list).await;
        }
        let mut table = Table::new(HEADINGS.len());
        let mut is_first = true;
        let token = session
            .pages(&ask, list, |session, page| {
                let mut rows: Vec<_> = page.iter().map(|raw| row(session, raw)).collect::<Result<_, _>>()?;
                if is_first && !rows.is_empty() {
                    rows.insert(0, HEADINGS.map(|heading| styled_cell(heading, Style::Dim)).into());
                    is_first = false;
                }
                session.output.write(&table.rows(&rows, &session.output))?;
                Ok(ControlFlow::Continue(()))
            })
            .await?;
        if is_first {
            eprintln!("no instances");
        } else if !token.is_empty() {
            eprintln!("there may be more: say --top N or --all");
        }
        Ok(())
    }
}

fn row(session: &Session, raw: &RawValue) -> Result<Vec<crate::cli::manage::output::Cell>, Failure> {
    let status: Status = session.read(raw.get())?;
    let custom = status.custom_status.as_ref().map_or(String::new(), |custom| text::short(custom.get()));
    let times = [&status.created_time, &status.last_updated_time].map(|time| cell(&when::for_people(time)));
    let [created, updated] = times;
    let runtime_status = styled_cell(&status.runtime_status, style_of(&status.runtime_status));
    Ok(vec![cell(&status.instance_id), cell(&status.name), runtime_status, created, updated, cell(&custom)])
}

/// A list as one JSON array, each element as the host sent it, page by page.
pub(in super::super) async fn json_array(session: &mut Session, ask: &Ask, list: List<'_>) -> Result<(), Failure> {
    let mut before = "[";
    session
        .pages(ask, list, |session, page| {
            for element in page {
                session.output.write(&format!("{before}{}", text::inert_json(element.get())))?;
                before = ",\n";
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    session.output.write(if before == "[" { "[]\n" } else { "]\n" })
}
