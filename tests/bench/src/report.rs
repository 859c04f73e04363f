//! What a benchmark found, and how it is shown: a row of a table on standard error for people, a line of JSON on standard
//! output for programs.

use std::time::Duration;

use serde_json::json;

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

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// The benchmark.
    pub suite: &'static str,
    /// What was measured.
    pub name: String,
    /// The samples.
    pub samples: Samples,
    /// The transactions that were made durable meanwhile, where that is known.
    pub commits: Option<u64>,
    /// What else is to be said, in a few words.
    pub note: String,
}

impl Row {
    /// A figure without commits or note.
    pub fn new(suite: &'static str, name: impl Into<String>, samples: Samples) -> Self {
        Self { suite, name: name.into(), samples, commits: None, note: String::new() }
    }

    /// Says how many transactions were made durable.
    pub fn commits(mut self, commits: Option<u64>) -> Self {
        self.commits = commits;
        self
    }

    /// Says something else.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Shows it.
    pub fn print(&self) {
        let Self { suite, name, samples, commits, note } = self;
        let micros = |percent| samples.percentile(percent).as_secs_f64() * 1e6;
        let shown = commits.map_or("-".to_owned(), |commits| commits.to_string());
        eprintln!(
            "{suite:<7} {name:<42} {:>11.1} {:>11.1} {:>9.0} {shown:>8}  {note}",
            micros(50),
            micros(99),
            samples.per_second(),
        );
        let line = json!({
            "suite": suite, "name": name, "n": samples.len(), "p50_us": micros(50), "p99_us": micros(99),
            "per_second": samples.per_second(), "commits": commits, "note": note,
        });
        println!("{line}");
    }
}

/// Shows the table's head.
pub fn print_head() {
    eprintln!("{:<7} {:<42} {:>11} {:>11} {:>9} {:>8}", "suite", "what", "median us", "p99 us", "per s", "commits");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_samples() {
        let millis = |ms| Duration::from_millis(ms);
        let samples = Samples::new((0..200).rev().map(millis).collect(), Duration::from_secs(2));
        assert_eq!((samples.percentile(50), samples.percentile(99)), (millis(100), millis(198)));
        assert_eq!(samples.percentile(100), millis(199));
        assert!((samples.per_second() - 100.0).abs() < 1e-9);
        assert_eq!(Samples::default().percentile(50), Duration::ZERO);
    }
}
