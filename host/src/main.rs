//! The `soloist` binary.

fn main() -> std::process::ExitCode {
    soloist::cli::run()
}
