//! Results on standard output: aligned text for people, the host's own JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};

use super::args::Format;
use super::failure::Failure;
use super::text;

/// Where results go.
#[derive(Debug)]
pub(in crate::cli) struct Output {
    format: Format,
    is_coloured: bool,
}

/// How a text is shown where colours are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Style {
    Plain,
    Dim,
    Good,
    Bad,
    Busy,
}

/// What a status is shown as.
pub(super) fn style_of(status: &str) -> Style {
    match status {
        "Completed" => Style::Good,
        "Failed" | "Terminated" | "Canceled" => Style::Bad,
        "Running" | "Pending" | "Suspended" | "ContinuedAsNew" => Style::Busy,
        _ => Style::Plain,
    }
}

impl Output {
    /// Colours only on a terminal, and not where `NO_COLOR` is set or the terminal is a dumb one.
    pub(in crate::cli) fn new(format: Format) -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { format, is_coloured: io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb }
    }

    /// Whether results are coloured.
    pub(in crate::cli) fn is_coloured(&self) -> bool {
        self.is_coloured
    }

    /// Whether results are for programs.
    pub(in crate::cli) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes text as it is.
    ///
    /// # Errors
    /// If standard output cannot be written. Where nobody reads any more the process ends at once, with code 0, as other
    /// tools do in a pipe.
    pub(in crate::cli) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => Err(Failure::failed(format!("cannot write the result: {error}"))),
        }
    }

    /// Writes a line that a stranger's text may be part of.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(in crate::cli) fn line(&self, line: &str) -> Result<(), Failure> {
        self.write(&format!("{}\n", text::printable(line)))
    }

    /// Writes one JSON value for programs.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(in crate::cli) fn json(&self, json: &str) -> Result<(), Failure> {
        self.write(&format!("{}\n", text::inert_json(json)))
    }

    /// Writes a line for people, or a JSON value for programs.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(super) fn done(&self, line: &str, json: &str) -> Result<(), Failure> {
        if self.is_json() { self.json(json) } else { self.line(line) }
    }

    /// A text in its colour, if there are colours.
    pub(in crate::cli) fn styled(&self, text: &str, style: Style) -> String {
        let code = match style {
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Busy => "33",
            Style::Plain => "",
        };
        if code.is_empty() || !self.is_coloured { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
    }
}

/// A cell of a table.
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Whether nothing is shown.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// A cell with a stranger's text.
pub(super) fn cell(text: &str) -> Cell {
    styled_cell(text, Style::Plain)
}

/// A cell in a colour.
pub(super) fn styled_cell(text: &str, style: Style) -> Cell {
    Cell { text: text::printable(text), style }
}

/// A table whose columns only ever become wider, page by page.
#[derive(Debug)]
pub(super) struct Table {
    widths: Vec<usize>,
}

/// The widest that a column is made for the sake of alignment.
const COLUMN: usize = 60;

impl Table {
    /// A table of so many columns.
    pub(super) fn new(columns: usize) -> Self {
        Self { widths: vec![0; columns] }
    }

    /// Rows as lines, aligned among each other and with those before.
    pub(super) fn rows(&mut self, rows: &[Vec<Cell>], output: &Output) -> String {
        for row in rows {
            for (cell, width) in row.iter().zip(&mut self.widths) {
                *width = (*width).max(text::width(&cell.text).min(COLUMN));
            }
        }
        let mut lines = String::new();
        for row in rows {
            let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
            for (index, (cell, width)) in row.iter().zip(&self.widths).enumerate().take(last + 1) {
                if index > 0 {
                    lines.push_str("  ");
                }
                lines.push_str(&output.styled(&cell.text, cell.style));
                if index < last {
                    lines.push_str(&text::padded("", width.saturating_sub(text::width(&cell.text))));
                }
            }
            lines.push('\n');
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(is_coloured: bool) -> Output {
        Output { format: Format::Text, is_coloured }
    }

    #[test]
    fn columns_align_whatever_the_texts_are() {
        let mut table = Table::new(3);
        let row = |id: &str, status: &str| vec![cell(id), styled_cell(status, style_of(status)), cell("")];
        let text = table.rows(&[row("漢字", "Failed"), row("a\u{1b}[31m", "Completed")], &output(false));
        assert_eq!(text, "漢字         Failed\na\\u001b[31m  Completed\n");
        let next = table.rows(&[row("b", "Running")], &output(false));
        assert_eq!(next, "b            Running\n", "the next page is aligned with this one");
    }

    #[test]
    fn colours_are_of_the_status_only_and_may_be_off() {
        assert_eq!(output(true).styled("Failed", style_of("Failed")), "\x1b[31mFailed\x1b[0m");
        assert_eq!(output(true).styled("x", style_of("x")), "x");
        assert_eq!(output(false).styled("Failed", style_of("Failed")), "Failed");
    }
}
