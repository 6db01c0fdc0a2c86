//! `bklog`, the command: see the library for everything else.

fn main() -> std::process::ExitCode {
    bklog::cli::run()
}
