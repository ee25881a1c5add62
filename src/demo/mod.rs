//! `disk-guard demo`: pressure, claim and report on a throw-away host, with the real commands.
//!
//! Three runners share one small disk. A live job builds on runner 1; runners 2 and 3 hold the caches of earlier jobs.
//! The disk fills; a job starts on runner 2, and its hook makes room. Then the demo checks that the live job has lost nothing. Every
//! command that is shown is this program, run as a user would run it.

pub(crate) mod actor;
mod disk;
mod host;

use crate::report::stream::{is_over, print};
use disk::{DemoDisk, DiskKind};
use host::{DemoHost, Leave, MIB};
use std::io;
use std::process::{ExitCode, Stdio};

/// Runs the demo.
///
/// # Errors
/// When the throw-away host cannot be made.
pub(crate) fn run(colour: &str) -> io::Result<ExitCode> {
    let program = std::env::current_exe()?;
    let disk = DemoDisk::make(std::fs::metadata(&program)?.len())?;
    let host = DemoHost::build(&disk, colour)?;
    let mut transcript = Transcript { host: &host, step: 0 };

    transcript.say(&match disk.kind() {
        DiskKind::OwnDisk => format!(
            "A host with three runners on one small disk ({}), visible to no other process.",
            disk.root().display()
        ),
        DiskKind::Budget => format!(
            "A host with three runners in {}; no namespaces here, so a budget stands in for the disk.",
            disk.root().display()
        ),
    })?;
    let mut live = host.start_job(1, "acme/app", Leave::AtTheEnd)?;
    transcript.say(
        "A job starts on runner 1. Its hook finds a healthy disk and leaves a lease, and the job builds.",
    )?;
    live.wait_until_building()?;

    let filled = host.fill(&disk)?;
    transcript.say(&format!(
        "The build writes {} MiB of data. The disk is past its high watermark.",
        filled / MIB
    ))?;
    transcript.run(&["status"])?;

    transcript.say("Now a job starts on runner 2. This is its hook, and what its log shows:")?;
    let mut second = host.start_job(2, "acme/lib", Leave::AfterTheHook)?;
    second.show_log()?;

    transcript.say("The host afterwards:")?;
    transcript.run(&["status"])?;

    transcript.say("And the live job on runner 1?")?;
    let verdict = live.finish()?;
    print(&format!("    {}\n\n", verdict.line));
    if !crate::sys::process::is_root() {
        print("As root the guard sees every process, and removes an idle sibling's cache as well.\n");
    }
    if verdict.ok {
        print(
            "Space was freed while a job was running, and it lost nothing. The throw-away host is removed.\n",
        );
        Ok(ExitCode::SUCCESS)
    } else {
        print("The live job was harmed. That must never happen: please report it.\n");
        Ok(ExitCode::FAILURE)
    }
}

/// The output of the demo, step by step.
struct Transcript<'a> {
    host: &'a DemoHost,
    step: u32,
}

impl Transcript<'_> {
    fn say(&mut self, text: &str) -> io::Result<()> {
        self.step += 1;
        print(&format!("{}. {text}\n\n", self.step));
        // Without a reader the demo ends here.
        if is_over() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Runs this program as a user would, and shows its output indented.
    fn run(&self, arguments: &[&str]) -> io::Result<()> {
        print(&format!("    $ disk-guard {}\n", arguments.join(" ")));
        let output = self.host.command().args(arguments).stdin(Stdio::null()).output()?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            print(&format!("    {line}\n"));
        }
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            print(&format!("    {line}\n"));
        }
        print("\n");
        Ok(())
    }
}
