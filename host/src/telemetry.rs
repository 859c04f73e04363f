//! The log: what is written, in which form, and that nobody can forge or garble it.
//!
//! Messages are constant, data is in fields. Guests and requests choose some of that data, so every control character in a
//! line is escaped: nobody outside writes a second line, moves a cursor or colours a terminal. Lines go to standard error.
//!
//! The host itself logs no secret. But functions are handed some, and may print what they have: those are [concealed](conceal).

mod categories;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::{OnceLock, PoisonError, RwLock};

use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

pub use categories::Categories;

/// A replay that differs from its history, as one line: written as JSON only.
pub const DIVERGENCE_ENTRY: &str = "soloist::divergence::entry";

/// The same in two columns over several lines: written as text only.
pub const DIVERGENCE_COLUMNS: &str = "soloist::divergence::columns";

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line: `timestamp`, `level`, `fields`, `target`, and the spans around it.
    Json,
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [("text", Self::Text), ("json", Self::Json)]
            .into_iter()
            .find_map(|(name, format)| name.eq_ignore_ascii_case(text).then_some(format))
            .ok_or_else(|| TelemetryError::Format(text.to_owned()))
    }
}

/// What is logged: a level for the host's own messages (others then log warnings), or tracing's directives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

impl FromStr for LogLevel {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let level = Self(text.trim().to_owned());
        level.filter().map(|_| level)
    }
}

impl LogLevel {
    fn filter(&self) -> Result<EnvFilter, TelemetryError> {
        let Self(text) = self;
        let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let directives: Cow<'_, str> = match text.parse::<LevelFilter>() {
            Ok(LevelFilter::OFF) => "off".into(),
            // The libraries' own chatter helps nobody who did not ask for it by name.
            // To the one that watches folders, each that is deleted is a warning.
            Ok(level) if is_word => format!("warn,notify=error,soloist={level}").into(),
            // One word that is no level would be taken for a module's name, and silently log nothing.
            Ok(_) | Err(_) if is_word || text.is_empty() => return Err(TelemetryError::Level(text.clone())),
            Ok(_) | Err(_) => text.into(),
        };
        EnvFilter::try_new(directives).map_err(|_| TelemetryError::Level(text.clone()))
    }
}

/// Why the log cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// No such level.
    #[error(
        "{0:?} is no log level; use off, error, warn, info, debug or trace, or directives such as warn,soloist::server=debug"
    )]
    Level(String),
    /// No such format.
    #[error("{0:?} is no log format; use text or json")]
    Format(String),
    /// It is set up already.
    #[error("the log is set up already")]
    Twice,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    /// As a level or directives say.
    Level(LogLevel),
    /// By categories.
    Categories(Categories),
}

impl Logged {
    fn layer<S: tracing::Subscriber>(&self) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError> {
        Ok(match self {
            Self::Level(level) => Box::new(level.filter()?),
            Self::Categories(categories) => Box::new(categories.clone()),
        })
    }
}

/// Sets up the log of this process, once.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(logged: &Logged, format: LogFormat) -> Result<(), TelemetryError> {
    tracing_subscriber::registry()
        .with(lines(format, StandardError))
        .with(logged.layer()?)
        .try_init()
        .map_err(|_| TelemetryError::Twice)
}

/// The layer that writes lines.
fn lines<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let writer = CleanWriter(writer);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    // What is told in both forms, once for programs and once for people, is written in the log's own.
    match format {
        LogFormat::Text => layer.with_filter(filter_fn(|line| line.target() != DIVERGENCE_ENTRY)).boxed(),
        LogFormat::Json => layer.json().with_filter(filter_fn(|line| line.target() != DIVERGENCE_COLUMNS)).boxed(),
    }
}

/// What stands in the log for a concealed text.
pub const CONCEALED: &str = "(concealed)";

/// Texts that no line shows.
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());
/// How many of them are remembered: the youngest.
const SECRETS_MAX: usize = 64;
/// The shortest text that is concealed: shorter ones occur by chance.
const SECRET_BYTES_MIN: usize = 16;

/// From now on no line of this process's log shows this text, whoever writes it: [`CONCEALED`] stands in its place. Of a text
/// in pieces, or written in another way, the log cannot know.
pub fn conceal(secret: &str) {
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    if secret.len() < SECRET_BYTES_MIN || secrets.iter().any(|known| known == secret) {
        return;
    }
    if secrets.len() == SECRETS_MAX {
        secrets.remove(0);
    }
    secrets.push(secret.to_owned());
}

/// What signatures begin with.
static SIGNED: OnceLock<&'static str> = OnceLock::new();

/// From now on no line shows hexadecimal digits, if they are many, after this prefix: there are too many signatures to name each.
pub fn conceal_digits_after(prefix: &'static str) {
    // The first one stays: there is one kind.
    let _ = SIGNED.set(prefix);
}

/// A line without the secrets in it.
fn concealed(line: &str) -> Cow<'_, str> {
    let mut line = without_signatures(line);
    for secret in &*SECRETS.read().unwrap_or_else(PoisonError::into_inner) {
        if line.contains(secret.as_str()) {
            line = line.replace(secret.as_str(), CONCEALED).into();
        }
    }
    line
}

fn without_signatures(line: &str) -> Cow<'_, str> {
    let Some(prefix) = SIGNED.get() else { return Cow::Borrowed(line) };
    let mut rest = line;
    let mut clean = String::new();
    while let Some(at) = rest.find(prefix) {
        let signature = &rest[at + prefix.len()..];
        let digits = signature.bytes().take_while(u8::is_ascii_hexdigit).count();
        let keep = if digits >= SECRET_BYTES_MIN { at } else { at + prefix.len() + digits };
        clean.push_str(&rest[..keep]);
        if digits >= SECRET_BYTES_MIN {
            clean.push_str(CONCEALED);
        }
        rest = &signature[digits..];
    }
    if clean.is_empty() && rest.len() == line.len() {
        return Cow::Borrowed(line);
    }
    clean.push_str(rest);
    clean.into()
}

/// Standard error, line by line.
#[derive(Clone, Copy, Debug)]
struct StandardError;

impl<'writer> MakeWriter<'writer> for StandardError {
    type Writer = io::Stderr;

    fn make_writer(&'writer self) -> Self::Writer {
        io::stderr()
    }
}

/// Escapes what must not reach a terminal or begin a new line.
struct CleanWriter<W>(W);

impl<'writer, W: MakeWriter<'writer>> MakeWriter<'writer> for CleanWriter<W> {
    type Writer = CleanLine<W::Writer>;

    fn make_writer(&'writer self) -> Self::Writer {
        CleanLine(self.0.make_writer())
    }
}

/// Takes whole lines: the formatting layer writes each event at once, with a line feed at its end.
struct CleanLine<W>(W);

impl<W: Write> Write for CleanLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(bytes);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let shown = concealed(line);
        if !shown.contains(is_unsafe) && matches!(shown, Cow::Borrowed(_)) {
            return self.0.write_all(bytes);
        }
        let mut clean = escaped(&shown);
        clean.push('\n');
        self.0.write_all(clean.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Control characters, and those that break or reorder a line when it is shown.
fn is_unsafe(char: char) -> bool {
    char.is_control() || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON's escapes, so that a line of JSON stays one.
fn escaped(line: &str) -> String {
    let mut clean = String::with_capacity(line.len() + 16);
    for char in line.chars() {
        match char {
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            _ if is_unsafe(char) => {
                write!(clean, "\\u{:04x}", u32::from(char)).expect("writing to a string cannot fail");
            }
            _ => clean.push(char),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Registry;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Lines = tracing_subscriber::layer::Layered<Box<dyn Layer<Registry> + Send + Sync>, Registry>;

    fn logged(format: LogFormat, level: &str, log: impl FnOnce()) -> String {
        logged_by(format, Logged::Level(level.parse().unwrap()).layer().unwrap(), log)
    }

    pub(super) fn logged_by(
        format: LogFormat,
        filter: Box<dyn Layer<Lines> + Send + Sync>,
        log: impl FnOnce(),
    ) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = tracing_subscriber::registry().with(lines(format, move || writer.clone())).with(filter);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const EVIL: &str = "a\nERROR forged\r\t\u{1b}[31m\u{7f}\u{85}\u{202e}\u{2028}z";
    const CLEAN: &str = r"a\nERROR forged\r\t\u001b[31m\u007f\u0085\u202e\u2028z";

    #[test]
    fn nobody_outside_writes_a_second_line_or_moves_a_cursor() {
        let text = logged(LogFormat::Text, "info", || tracing::info!(text = %EVIL, debug = ?"\u{9b}\n", "guest says"));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end_matches('\n').contains(is_unsafe), "{text:?}");
        assert!(text.contains("guest says") && text.contains("forged") && text.ends_with('\n'));
        assert_eq!(escaped(EVIL), CLEAN);
    }

    #[test]
    fn a_secret_is_not_shown_whoever_writes_it() {
        let (secret, gone) = ("0123456789abcdef-a-secret", "another-secret-0123456789");
        conceal_digits_after("s1-");
        conceal(secret);
        conceal(secret);
        conceal(gone);
        conceal("short");
        let signature = format!("s1-{}", "0a".repeat(48));
        let line = format!("a {secret}{secret} short {signature}&b=1 s1-xyz s1-0a {gone} {}", signature.to_uppercase());
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, "info", || tracing::info!(text = %line, "guest says"));
            let hidden = format!("a {CONCEALED}{CONCEALED} short {CONCEALED}&b=1 s1-xyz s1-0a {CONCEALED} S1-0A");
            assert!(text.contains(&hidden), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
            let span = logged(format, "info", || {
                let _span = tracing::info_span!("call", secret).entered();
                tracing::info!("in a span");
            });
            assert!(span.contains(CONCEALED) && !span.contains(secret), "{span}");
        }
        for number in 0..SECRETS_MAX {
            conceal(&format!("0123456789abcdef-{number}"));
        }
        assert_eq!(SECRETS.read().unwrap().len(), SECRETS_MAX, "they are bounded");
    }

    #[test]
    fn a_line_of_json_stays_one() {
        let text = logged(LogFormat::Json, "info", || tracing::info!(text = %EVIL, "guest says"));
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["fields"]["text"], EVIL);
        assert_eq!(line["fields"]["message"], "guest says");
    }

    #[test]
    fn what_is_told_in_both_forms_is_written_in_one() {
        let both = || {
            tracing::error!(target: DIVERGENCE_ENTRY, history = "[]", "differs");
            tracing::error!(target: DIVERGENCE_COLUMNS, "a | b");
        };
        let text = logged(LogFormat::Text, "info", both);
        assert!(text.contains("a | b") && !text.contains("history"), "{text}");
        let json = logged(LogFormat::Json, "info", both);
        assert!(!json.contains("a | b") && json.contains("history"), "{json}");
    }

    #[test]
    fn a_level_is_the_hosts_and_others_only_warn() {
        let text = logged(LogFormat::Text, "DEBUG", || {
            tracing::debug!("ours");
            tracing::info!(target: "wasmtime", "chatter");
            tracing::warn!(target: "wasmtime", "warning");
        });
        assert!(text.contains("ours") && text.contains("warning") && !text.contains("chatter"), "{text}");
        assert!(logged(LogFormat::Text, "off", || tracing::error!("x")).is_empty());
        assert!(logged(LogFormat::Text, "error,soloist=trace", || tracing::trace!("x")).contains('x'));
    }

    #[test]
    fn a_level_or_format_that_is_none_is_refused_with_the_choices() {
        for bad in ["", "verbose", "inof", "soloist=loud"] {
            let error = bad.parse::<LogLevel>().unwrap_err().to_string();
            assert!(error.contains("use off, error, warn, info, debug or trace"), "{bad}: {error}");
        }
        assert_eq!("JSON".parse(), Ok(LogFormat::Json));
        assert!("xml".parse::<LogFormat>().unwrap_err().to_string().contains("use text or json"));
    }
}
