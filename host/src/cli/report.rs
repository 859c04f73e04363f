//! Findings for people, with an excerpt of the file, and for programs.

use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Origin as Place, Renderer, Snippet};

use super::manage::{is_unsafe, printable};
use crate::app::{Diagnostic, Origin, Position, Report, Severity, Span};

/// A longer line is not shown: an excerpt must be readable.
const LINE_MAX: usize = 400;

/// A larger file is not read again for an excerpt.
const EXCERPT_FILE_BYTES_MAX: u64 = 4 << 20;

/// All findings as text. Paths are relative to `root`. Nothing in it is obeyed by a terminal, but colours where they are asked
/// for.
pub(super) fn text(report: &Report, root: &Path, is_coloured: bool) -> String {
    let renderer = if is_coloured { Renderer::styled() } else { Renderer::plain() };
    let one = |diagnostic: &Diagnostic| finding(&renderer, diagnostic, root) + "\n\n";
    report.diagnostics().iter().map(one).collect()
}

fn finding(renderer: &Renderer, diagnostic: &Diagnostic, root: &Path) -> String {
    let level = match diagnostic.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = printable(&diagnostic.message);
    let mut group = Group::with_title(level.primary_title(&title).id(diagnostic.code.as_str()));
    let place = PlaceText::of(&diagnostic.origin, root);
    group = match (&place.path, &place.excerpt) {
        (Some(path), Some(excerpt)) => group.element(
            Snippet::source(&excerpt.line)
                .path(path)
                .line_start(excerpt.number)
                .annotation(AnnotationKind::Primary.span(excerpt.range.clone())),
        ),
        (Some(path), None) => match place.position {
            Some(at) => group.element(Place::path(path).line(at.line).char_column(at.column)),
            None => group.element(Place::path(path)),
        },
        (None, _) => group,
    };
    let setting = match &diagnostic.origin {
        Origin::Setting(name) => Some(format!("in the setting {}", printable(name))),
        Origin::File { .. } => None,
    };
    let function = diagnostic.function.as_ref().map(|name| format!("in the function {}", printable(name)));
    let meant = diagnostic.did_you_mean.as_ref().map(|meant| format!("did you mean '{}'?", printable(meant)));
    let help = diagnostic.help.as_ref().map(|help| printable(help));
    let notes = [(Level::NOTE, &setting), (Level::NOTE, &function), (Level::HELP, &meant), (Level::HELP, &help)];
    for (level, text) in notes {
        if let Some(text) = text {
            group = group.element(level.message(text));
        }
    }
    renderer.render(&[group])
}

/// A place, as it is shown.
struct PlaceText {
    path: Option<String>,
    position: Option<Position>,
    excerpt: Option<Excerpt>,
}

/// One line of a file, and what to point at in it.
struct Excerpt {
    line: String,
    number: usize,
    range: std::ops::Range<usize>,
}

impl PlaceText {
    fn of(origin: &Origin, root: &Path) -> Self {
        match origin {
            Origin::Setting(_) => PlaceText { path: None, position: None, excerpt: None },
            Origin::File { file, span } => PlaceText {
                path: Some(printable(&relative(file, root))),
                position: origin.position(),
                excerpt: span.and_then(|span| excerpt(file, span)),
            },
        }
    }
}

fn relative(file: &Path, root: &Path) -> String {
    let inner = file.strip_prefix(root).ok().filter(|inner| !inner.as_os_str().is_empty());
    inner.unwrap_or(file).to_string_lossy().into_owned()
}

/// The line in which a span begins. None if the file has changed so that there is none, or the line is too long to show.
fn excerpt(file: &Path, span: Span) -> Option<Excerpt> {
    let metadata = std::fs::metadata(file).ok()?;
    if !metadata.is_file() || metadata.len() > EXCERPT_FILE_BYTES_MAX {
        return None;
    }
    let bytes = std::fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let line = text.split('\n').nth(span.start.line - 1)?.trim_end_matches('\r');
    if line.chars().count() > LINE_MAX {
        return None;
    }
    // Character by character, so that columns stay what they are.
    let line: String = line.chars().map(|c| if is_unsafe(c) && c != '\t' { '\u{fffd}' } else { c }).collect();
    let offset = |column: usize| line.char_indices().nth(column - 1).map_or(line.len(), |(at, _)| at);
    let start = offset(span.start.column);
    let end = if span.end.line == span.start.line { offset(span.end.column) } else { line.len() };
    Some(Excerpt { number: span.start.line, range: start..end.max(start), line })
}

/// One finding on one line.
pub(super) fn short(diagnostic: &Diagnostic, root: &Path) -> String {
    let place = match &diagnostic.origin {
        Origin::Setting(name) => format!("setting {name}"),
        Origin::File { file, .. } => match diagnostic.origin.position() {
            Some(position) => format!("{}:{position}", relative(file, root)),
            None => relative(file, root),
        },
    };
    let meant = diagnostic.did_you_mean.as_ref().map(|meant| format!(": did you mean '{meant}'?")).unwrap_or_default();
    printable(&format!("{} {}{meant} ({place})", diagnostic.code, diagnostic.message))
}

/// A finding for programs. Members that it has nothing for are null.
pub(super) fn json(diagnostic: &Diagnostic, root: &Path) -> serde_json::Value {
    let (file, span, setting) = match &diagnostic.origin {
        Origin::File { file, span } => (Some(relative(file, root)), *span, None),
        Origin::Setting(name) => (None, None, Some(name)),
    };
    serde_json::json!({
        "code": diagnostic.code.as_str(),
        "severity": diagnostic.severity().as_str(),
        "message": diagnostic.message,
        "function": diagnostic.function,
        "file": file,
        "line": span.map(|span| span.start.line),
        "column": span.map(|span| span.start.column),
        "endLine": span.map(|span| span.end.line),
        "endColumn": span.map(|span| span.end.column),
        "setting": setting,
        "didYouMean": diagnostic.did_you_mean,
        "help": diagnostic.help,
    })
}

/// How many of each, for people: `2 errors, 1 warning`.
pub(super) fn counts(report: &Report) -> String {
    let count = |severity: Severity| match report.count(severity) {
        0 => None,
        1 => Some(format!("1 {}", severity.as_str())),
        many => Some(format!("{many} {}s", severity.as_str())),
    };
    let counts: Vec<String> =
        [Severity::Error, Severity::Warning, Severity::Note].into_iter().filter_map(count).collect();
    if counts.is_empty() { "nothing to report".to_owned() } else { counts.join(", ") }
}
