//! The `disk-guard` command: parses the command line, runs one verb, exits with its code.

use disk_guard::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    disk_guard::commands::run(&Cli::of_process())
}
