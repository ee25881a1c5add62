//! A stand-in for the GitHub Actions runner: one program that plays a part according to its own file name.
//!
//! `Runner.Listener` waits for a job and starts the Worker; `Runner.Worker` goes through a job, step by step, as the test
//! commands it over a socket; under any other name it holds something (a directory, a file, a lock), repeats a hostile
//! action until its standard input ends, or runs a program that is refused some system calls. What the real runner does, and in which order, was read from its source (actions/runner v2.336.0).
//!
//! Whoever loses its test (the socket ends) kills what it started and exits, so that a failed test leaves nothing behind.
#![allow(clippy::disallowed_methods, reason = "it plays the runner, which removes its own files by path")]

mod attack;
mod control;
mod hold;
mod listener;
mod log;
mod refuse;
mod script;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Resolved: after a self-update `<root>/bin` is a link, and the runner knows its real directory.
    let exe = std::env::current_exe().expect("/proc/self/exe can be read");
    let name = exe.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bin = exe.parent().map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let root = bin.parent().map_or_else(|| PathBuf::from("/"), PathBuf::from);
    match name.as_str() {
        "Runner.Listener" => listener::run(&root, &bin),
        "Runner.Worker" => worker::run(&root),
        _ => {
            let mut arguments = std::env::args_os().skip(1).peekable();
            if arguments.next_if(|verb| verb == "attack").is_some() {
                return attack::run(arguments.collect());
            }
            if arguments.next_if(|verb| verb == "refuse").is_some() {
                return refuse::run(arguments.collect());
            }
            hold::run(arguments.collect())
        }
    }
}
