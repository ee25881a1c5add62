//! The live job in the demo: a `Runner.Worker` that runs its started-hook as the real one does, and then "builds":
//! it writes files into its own tree and reads every one of them back, round after round. One missing or changed file is
//! what a build dies of.

use crate::cli::DemoActorArgs;
use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// Object files that the job keeps using.
const OBJECTS: usize = 200;

/// Bytes of each.
const OBJECT_BYTES: usize = 48 * 1024;

/// Plays the part.
///
/// # Errors
/// When the stage is broken, not when the job is: that is its exit code and its last line.
pub(crate) fn play(part: &DemoActorArgs) -> io::Result<ExitCode> {
    // An actor never outlives the play.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let status = Command::new("bash")
        .arg("-e")
        .arg(&part.hook)
        .current_dir(&part.workspace)
        .stdin(Stdio::null())
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_REPOSITORY", &part.repository)
        .env("GITHUB_WORKSPACE", &part.workspace)
        .env("GITHUB_RUN_ID", "4711")
        .env("GITHUB_JOB", "build")
        .status()?;
    if !status.success() {
        return Ok(ExitCode::from(1));
    }
    if part.build { build(&part.workspace.join("target")) } else { Ok(ExitCode::SUCCESS) }
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
