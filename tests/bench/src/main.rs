//! Benchmarks: `cargo run --release -p soloist-bench -- commit`. Compare figures within one run only.

mod commit_path;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("commit") => commit_path::run().map(drop),
        other => anyhow::bail!("unknown benchmark {other:?}; there is: commit"),
    }
}
