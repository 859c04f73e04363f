//! What a benchmark found, and how it is shown: a row of a table on standard error for people, a line of JSON on standard
//! output for programs, and at the end, if that is wanted, a table in Markdown for `docs/benchmarks.md`.

use std::{cell::RefCell, time::Duration};

use serde_json::{Value, json};

/// How long each of many like things took.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    sorted: Vec<Duration>,
    elapsed: Duration,
}

impl Samples {
    /// All of them, taken within `elapsed`.
    pub fn new(mut taken: Vec<Duration>, elapsed: Duration) -> Self {
        taken.sort_unstable();
        Self { sorted: taken, elapsed }
    }

    /// The same samples, taken within another time.
    pub fn within(self, elapsed: Duration) -> Self {
        Self { elapsed, ..self }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// How long `percent` of 100 of them took at most; zero if there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let index = self.sorted.len() * percent / 100;
        self.sorted.get(index.min(self.sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// How many there were a second.
    pub fn per_second(&self) -> f64 {
        self.sorted.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// What one round of a measurement found.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// What was timed.
    pub samples: Samples,
    /// Things done in all, those of the warm-up too: what the costs below are divided by.
    pub operations: usize,
    /// Transactions that the host made durable, by its own count.
    pub commits: Option<u64>,
    /// Cache flushes that the disk completed, by the kernel's count; those of other programs are among them.
    pub flushes: Option<u64>,
    /// The host's CPU time.
    pub cpu: Option<Duration>,
    /// How many cores the load generator kept busy.
    pub client_cores: Option<f64>,
    /// The host's memory in RAM at the end, in bytes.
    pub memory: Option<u64>,
}

impl Round {
    /// Samples alone.
    pub fn of(samples: Samples) -> Self {
        Self { operations: samples.len(), samples, ..Self::default() }
    }

    fn each(&self, total: Option<f64>) -> Option<f64> {
        Some(total? / self.operations.max(1) as f64)
    }
}

/// A figure beside the raw limit of the same run that bounds it.
#[derive(Clone, Debug)]
pub struct Ratio {
    /// The figure's part of the limit.
    pub value: f64,
    /// The limit, in a few words.
    pub of: String,
}

/// One figure: the medians of its rounds.
#[derive(Clone, Debug)]
pub struct Figure {
    suite: &'static str,
    name: String,
    rounds: Vec<Round>,
    ratio: Option<Ratio>,
    note: String,
}

impl Figure {
    /// A figure of so many rounds.
    pub fn new(suite: &'static str, name: impl Into<String>, rounds: Vec<Round>) -> Self {
        Self { suite, name: name.into(), rounds, ratio: None, note: String::new() }
    }

    /// Says which part of a limit it is.
    pub fn ratio(mut self, ratio: Option<Ratio>) -> Self {
        self.ratio = ratio;
        self
    }

    /// Says something else.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// How many things were done a second, in the median round.
    pub fn per_second(&self) -> f64 {
        self.median(|round| Some(round.samples.per_second())).unwrap_or_default()
    }

    /// How long `percent` of 100 things took at most, in the median round.
    pub fn percentile(&self, percent: usize) -> Duration {
        let seconds = self.median(|round| Some(round.samples.percentile(percent).as_secs_f64()));
        Duration::from_secs_f64(seconds.unwrap_or_default())
    }

    /// The median over the rounds that have it.
    fn median(&self, value: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        let mut values: Vec<f64> = self.rounds.iter().filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn spread(&self) -> (f64, f64) {
        let rates = self.rounds.iter().map(|round| round.samples.per_second());
        rates.fold((f64::INFINITY, 0.0), |(low, high), rate| (low.min(rate), high.max(rate)))
    }

    fn cpu_us(&self) -> Option<f64> {
        self.median(|round| round.each(round.cpu.map(|cpu| cpu.as_secs_f64() * 1e6)))
    }

    fn commits(&self) -> Option<f64> {
        self.median(|round| round.each(round.commits.map(|commits| commits as f64)))
    }

    fn flushes(&self) -> Option<f64> {
        self.median(|round| round.each(round.flushes.map(|flushes| flushes as f64)))
    }

    fn memory_mb(&self) -> Option<f64> {
        self.median(|round| round.memory.map(|bytes| bytes as f64 / 1e6))
    }

    fn client_cores(&self) -> Option<f64> {
        self.median(|round| round.client_cores)
    }

    /// The cells of its row, after the suite and the name.
    fn cells(&self) -> [String; 9] {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        let (low, high) = self.spread();
        let spread = if self.rounds.len() > 1 { format!("{}-{}", number(low), number(high)) } else { "-".to_owned() };
        let millis = |percent| number(self.percentile(percent).as_secs_f64() * 1e3);
        let ratio = self.ratio.as_ref().map_or_else(String::new, |ratio| format!("{:.3} of {}", ratio.value, ratio.of));
        [
            number(self.per_second()),
            spread,
            millis(50),
            millis(99),
            shown(self.cpu_us()),
            format!("{} / {}", shown(self.commits()), shown(self.flushes())),
            shown(self.memory_mb()),
            shown(self.client_cores()),
            ratio,
        ]
    }

    fn json(&self) -> Value {
        let (low, high) = self.spread();
        json!({
            "suite": self.suite,
            "name": self.name,
            "rounds": self.rounds.len(),
            "n": self.rounds.iter().map(|round| round.samples.len()).sum::<usize>(),
            "per_second": self.per_second(),
            "per_second_min": low,
            "per_second_max": high,
            "p50_us": self.percentile(50).as_secs_f64() * 1e6,
            "p99_us": self.percentile(99).as_secs_f64() * 1e6,
            "cpu_us_each": self.cpu_us(),
            "commits_each": self.commits(),
            "disk_flushes_each": self.flushes(),
            "memory_mb": self.memory_mb(),
            "client_cores": self.client_cores(),
            "ratio": self.ratio.as_ref().map(|ratio| ratio.value),
            "ratio_of": self.ratio.as_ref().map(|ratio| ratio.of.as_str()),
            "note": self.note,
        })
    }
}

/// A number with three digits that count, without a needless fraction.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

const HEADS: [&str; 9] =
    ["per s", "(min-max)", "p50 ms", "p99 ms", "CPU us", "commits / flushes", "MB", "client cores", "ratio"];

/// In which form figures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Rows on standard error, lines of JSON on standard output.
    Both,
    /// Lines of JSON alone.
    Json,
    /// Rows on standard error, and at the end a Markdown table on standard output.
    Markdown,
}

/// Where figures go.
#[derive(Debug)]
pub struct Report {
    form: Form,
    shown: RefCell<Vec<Figure>>,
}

impl Report {
    /// Shows the table's head.
    pub fn new(form: Form) -> Self {
        if form != Form::Json {
            eprintln!("{}", row("", "each row: the median of its rounds", &HEADS.map(str::to_owned), ""));
        }
        Self { form, shown: RefCell::default() }
    }

    /// Shows a figure.
    pub fn show(&self, figure: Figure) {
        if self.form != Form::Json {
            eprintln!("{}", row(figure.suite, &figure.name, &figure.cells(), &figure.note));
        }
        if self.form != Form::Markdown {
            println!("{}", figure.json());
        }
        self.shown.borrow_mut().push(figure);
    }

    /// Says what is being done, on standard error.
    pub fn say(&self, what: &str) {
        if self.form != Form::Json {
            eprintln!("# {what}");
        }
    }

    /// Ends it: prints the Markdown, if that is wanted.
    pub fn finish(&self, machine: &str) {
        if self.form == Form::Markdown {
            print!("{}", markdown(machine, &self.shown.borrow()));
        }
    }
}

fn row(suite: &str, name: &str, cells: &[String; 9], note: &str) -> String {
    let [rate, spread, p50, p99, cpu, commits, memory, client, ratio] = cells;
    format!(
        "{suite:<7} {name:<46} {rate:>8} {spread:>15} {p50:>8} {p99:>8} {cpu:>8} {commits:>19} {memory:>6} {client:>12}  \
         {ratio:<28} {note}"
    )
}

fn markdown(machine: &str, figures: &[Figure]) -> String {
    let mut text = format!("Taken on {machine}.\n\n| | what | {} | note |\n", HEADS.join(" | "));
    text.push_str(&"|---".repeat(HEADS.len() + 3));
    text.push_str("|\n");
    for figure in figures {
        let cells = figure.cells().join(" | ");
        text.push_str(&format!("| {} | {} | {cells} | {} |\n", figure.suite, figure.name, figure.note));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn round(ms: u64, commits: u64) -> Round {
        let samples = Samples::new(vec![millis(ms); 10], millis(10 * ms));
        Round { operations: 20, commits: Some(commits), ..Round::of(samples) }
    }

    #[test]
    fn percentiles_are_of_the_sorted_samples() {
        let samples = Samples::new((0..200).rev().map(millis).collect(), Duration::from_secs(2));
        assert_eq!((samples.percentile(50), samples.percentile(99)), (millis(100), millis(198)));
        assert_eq!(samples.percentile(100), millis(199));
        assert!((samples.per_second() - 100.0).abs() < 1e-9);
        assert_eq!(Samples::default().percentile(50), Duration::ZERO);
    }

    #[test]
    fn a_figure_is_the_median_of_its_rounds_and_tells_their_spread() {
        let figure = Figure::new("W1", "chains", vec![round(1, 40), round(4, 100), round(2, 60)]);
        assert_eq!((figure.percentile(50), figure.per_second().round()), (millis(2), 500.0));
        let json = figure.json();
        assert_eq!((json["commits_each"].as_f64(), json["n"].as_u64()), (Some(3.0), Some(30)));
        assert_eq!((json["per_second_min"].as_f64(), json["per_second_max"].as_f64()), (Some(250.0), Some(1000.0)));
        assert!(json["disk_flushes_each"].is_null());
    }

    #[test]
    fn a_table_in_markdown_has_as_many_cells_in_each_line() {
        let figure = Figure::new("W1", "chains", vec![round(1, 40)]).note("a note");
        let text = markdown("a machine", &[figure]);
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines.len(), 3);
        let columns = |line: &str| line.matches('|').count();
        assert!(lines.iter().all(|line| columns(line) == HEADS.len() + 4), "{text}");
    }
}
