//! The live job of the demo: a `Runner.Worker` that runs its started-hook as the real one does and then simulates a build. It writes
//! files into its own tree and reads all of them again and again. It fails if one is missing or changed, as a build would.

use crate::cli::DemoActorArgs;
use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// Object files that the job keeps using.
const OBJECTS: usize = 200;

/// Bytes of each.
const OBJECT_BYTES: usize = 48 * 1024;

/// Runs the job.
///
/// # Errors
/// When the demo itself fails. A job that fails shows in the exit code and the last line.
pub(crate) fn run(arguments: &DemoActorArgs) -> io::Result<ExitCode> {
    // It ends with the demo.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let status = Command::new("bash")
        .arg("-e")
        .arg(&arguments.hook)
        .current_dir(&arguments.workspace)
        .stdin(Stdio::null())
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_REPOSITORY", &arguments.repository)
        .env("GITHUB_WORKSPACE", &arguments.workspace)
        .env("GITHUB_RUN_ID", "4711")
        .env("GITHUB_JOB", "build")
        .status()?;
    if !status.success() {
        return Ok(ExitCode::from(1));
    }
    if arguments.build { build(&arguments.workspace.join("target")) } else { Ok(ExitCode::SUCCESS) }
}

fn build(target: &Path) -> io::Result<ExitCode> {
    let deps = &target.join("debug/deps");
    std::fs::create_dir_all(deps)?;
    std::fs::write(target.join("CACHEDIR.TAG"), super::host::TAG)?;
    for object in 0..OBJECTS {
        std::fs::write(file(deps, object), content(object))?;
    }
    say("building")?;
    let ended = std::thread::spawn(|| io::stdin().lock().read_line(&mut String::new()));
    let mut rounds = 0;
    while !ended.is_finished() {
        for object in 0..OBJECTS {
            match std::fs::read(file(deps, object)) {
                Ok(found) if found == content(object) => {}
                Ok(_) => return lost(&format!("{} has changed", file(deps, object).display())),
                Err(error) => return lost(&format!("failed to open object file: {error}")),
            }
        }
        std::fs::write(file(deps, rounds % OBJECTS), content(rounds % OBJECTS))?;
        rounds += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    say(&format!("built: {rounds} rounds over {OBJECTS} object files, none lost"))?;
    Ok(ExitCode::SUCCESS)
}

fn lost(what: &str) -> io::Result<ExitCode> {
    say(&format!("build failed: {what}"))?;
    Ok(ExitCode::from(1))
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn file(deps: &Path, object: usize) -> PathBuf {
    deps.join(format!("object-{object}.o"))
}

fn content(object: usize) -> Vec<u8> {
    vec![object as u8; OBJECT_BYTES]
}
