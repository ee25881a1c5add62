//! Runner by runner: found, wired, in force, and whether its user can take part.

use super::DoctorInput;
use crate::actions_runner::layout;
use crate::model::{Check, Guarded, ListenerSeen, PathGlob, RESTART_BY_HAND, Runner};
use crate::observe::dotenv;
use crate::observe::hook_script;
use crate::observe::processes::{HookVariable, environ_names_hook};
use crate::observe::root_globs::Expander;
use crate::observe::runners;
use crate::setup::env_file::EnvFile;
use crate::setup::group::{self, Membership};
use crate::setup::place;
use crate::setup::state::{RecordKind, StateDir};
use crate::setup::units::Systemd;
use crate::sys::dir::Dir;
use crate::sys::program::Programs;
use crate::sys::reach;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Globs that match nothing. The built-in ones name every customary place, so of those only all together count.
pub(super) fn globs(input: &DoctorInput<'_>) -> Vec<Check> {
    let found = input.facts.runners.len();
    let closed = input.facts.remarks.iter().find(|remark| remark.id == runners::ROOTS_CLOSED);
    if let (0, Some(closed)) = (found, closed) {
        let seen = format!("this user sees no runner: {}", closed.said);
        return vec![Check::fail("runners", seen, closed.fix.clone())];
    }
    if found == 0 {
        return vec![Check::fail(
            "runners",
            "no runner was found: nothing is guarded",
            "add the runners' directories to runners.roots in the configuration",
        )];
    }
    let mut checks = vec![Check::ok("runners", format!("{found} found"))];
    let notes = input.facts.notes.iter();
    checks.extend(notes.map(|note| Check::warn("look", note.clone(), "correct the reported problem")));
    let empty = input.root_matches.iter().filter(|(_, matches)| *matches == 0);
    if !input.config.runners.are_built_in {
        checks.extend(empty.map(|(glob, _)| {
            Check::warn(
                format!("glob:{glob}"),
                "it matches no runner",
                "correct it in runners.roots, or remove it",
            )
        }));
    }
    checks.extend(input.config.runners.programs.iter().filter(|glob| !holds_programs(glob)).map(|glob| {
        Check::warn(
            format!("programs:{}", glob.text()),
            "no directory that it matches contains Runner.Listener",
            "correct it in runners.programs, or remove it",
        )
    }));
    checks
}

fn holds_programs(glob: &PathGlob) -> bool {
    let places = Expander::new().expand(glob, &mut Vec::new());
    places.iter().any(|place| place.join(layout::LISTENER).is_file())
}

pub(super) fn all(input: &DoctorInput<'_>) -> Vec<Check> {
    let systemd = Systemd::find(Programs(&input.config.paths.programs)).ok();
    let state = StateDir::at(&input.config.paths.state_dir);
    let mut checks = Vec::new();
    for (index, facts) in input.facts.runners.iter().enumerate() {
        let runner = &facts.runner;
        let listener = input.facts.processes.listeners.iter().find(|seen| seen.runner == index);
        checks.push(hook(runner, &facts.guarded, listener, systemd.as_ref()));
        checks.push(completed(input, runner, listener));
        checks.push(membership(input, runner, listener));
        if state.holds(RecordKind::Drained, &runner.root) {
            checks.push(Check::warn(
                format!("drained:{}", runner.name),
                "it is out of service",
                format!("disk-guard resume {}", runner.name),
            ));
        }
        if let Some(reason) = &facts.other_hosts {
            checks.push(Check::warn(
                format!("shared:{}", runner.name),
                reason.clone(),
                "if no other host works there, add its directory to runners.local; otherwise install disk-guard on that host",
            ));
        }
        if let crate::model::Work::Unusable { reason, .. } = &runner.work {
            let is_configured =
                Dir::open(&runner.root).is_ok_and(|root| root.status_of(layout::SETTINGS).is_ok());
            let id = format!("work:{}", runner.name);
            checks.push(match is_configured {
                true => {
                    Check::fail(id, reason.clone(), "correct that, or workFolder in the runner's `.runner`")
                }
                false => Check::warn(id, reason.clone(), "configure it, or remove it from runners.roots"),
            });
        }
    }
    checks
}

fn hook(
    runner: &Runner,
    guarded: &Guarded,
    listener: Option<&ListenerSeen>,
    systemd: Option<&Systemd<'_>>,
) -> Check {
    let id = format!("hook:{}", runner.name);
    let named = named(runner, HookVariable::JobStarted);
    if let Some(why) = named.as_deref().and_then(fails_every_job) {
        return Check::fail(id, format!("every job fails: its `.env` names {why}"), SET_RIGHT);
    }
    match (guarded, named) {
        (Guarded::Yes, Some(script)) => match unreadable(&script) {
            Some(why) => Check::fail(id, why, "chmod a+rx the script and the directories above it"),
            None if listener.is_some() => {
                Check::ok(id, "its `.env` names our hook, and its Listener has read it")
            }
            None => Check::ok(id, "its `.env` names our hook; no Listener runs"),
        },
        (Guarded::Yes, None) => Check::ok(id, "its Listener was started with our hook"),
        (Guarded::No(why), Some(script))
            if hook_script::runs_us(&script).is_err()
                && hook_script::is_ours(HookVariable::JobStarted, &script) =>
        {
            Check::warn(id, why.clone(), "nothing: the first job that runs it resolves this")
        }
        (Guarded::No(why), Some(script)) if hook_script::runs_us(&script).is_ok() => {
            let restart = systemd.and_then(|systemd| systemd.unit_of(runner).ok());
            let fix =
                restart.map_or(RESTART_BY_HAND.to_owned(), |unit| format!("systemctl restart {}", unit.name));
            Check::fail(id, why.clone(), fix)
        }
        (Guarded::No(why), _) if is_packaged(runner) => Check::fail(id, why.clone(), PACKAGED),
        (Guarded::No(why), _) => Check::fail(id, why.clone(), "disk-guard install"),
    }
}

/// The fix for a runner whose program is in a package: the manager of its unit may create its state directory, and the `.env` there, anew.
const PACKAGED: &str = "name our hooks in its unit's environment: ACTIONS_RUNNER_HOOK_JOB_STARTED and _COMPLETED (on NixOS: \
     services.github-runners.NAME.extraEnvironment)";

fn is_packaged(runner: &Runner) -> bool {
    Dir::open(&runner.root).is_ok_and(|root| root.status_of("bin").is_err())
}

const SET_RIGHT: &str = "put the script there or correct the line in its `.env`, then disk-guard install; its Listener reads it when it starts";

/// The value in a `.env` at which every job fails, and why: by its text, or by the file at its path. Which runner it is of decides
/// nothing: a script that only its user can read is reported elsewhere.
fn fails_every_job(hook: &Path) -> Option<String> {
    let told = |why: &str| Some(format!("{:?}: {why}", hook.to_string_lossy()));
    if let Some(why) = dotenv::fails_every_job(hook.as_os_str().as_bytes()) {
        return told(why);
    }
    match reach::metadata(hook) {
        Ok(status) if status.is_dir() => told("it is a directory"),
        Ok(_) => None,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            told("there is no such file")
        }
        Err(_) => None,
    }
}

fn completed(input: &DoctorInput<'_>, runner: &Runner, listener: Option<&ListenerSeen>) -> Check {
    let id = format!("completed-hook:{}", runner.name);
    let started_with = listener.and_then(|listener| {
        environ_names_hook(input.proc, listener.process, HookVariable::JobCompleted).ok().flatten()
    });
    if started_with.is_some_and(|script| hook_script::is_ours(HookVariable::JobCompleted, Path::new(&script)))
    {
        return Check::ok(id, "its Listener was started with our completed-hook");
    }
    let named = named(runner, HookVariable::JobCompleted);
    if let Some(why) = named.as_deref().and_then(fails_every_job) {
        return Check::fail(id, format!("every job fails: its `.env` names {why}"), SET_RIGHT);
    }
    match named {
        Some(script) if hook_script::is_ours(HookVariable::JobCompleted, &script) => {
            Check::ok(id, "its `.env` names our completed-hook")
        }
        _ => Check::warn(
            id,
            "our completed-hook is not configured: leases still end with the Worker, but the runner does not clean up after itself",
            if is_packaged(runner) { PACKAGED } else { "disk-guard install" },
        ),
    }
}

fn named(runner: &Runner, variable: HookVariable) -> Option<PathBuf> {
    let env = place::read(&Dir::open(&runner.root).ok()?, layout::ENV).ok()??;
    EnvFile::parse(&env.bytes).value(variable).map(|value| PathBuf::from(OsStr::from_bytes(value)))
}

/// Bash reads the script as the runner's user: everybody has to be able to.
fn unreadable(script: &Path) -> Option<String> {
    for place in script.ancestors() {
        let wanted = if place == script { 0o004 } else { 0o001 };
        match reach::metadata(place) {
            Ok(status) if status.mode() & wanted != 0 => {}
            Ok(status) => {
                let mode = status.mode() & 0o7777;
                return Some(format!("{} (mode {mode:04o}) is closed to the runner's user", place.display()));
            }
            Err(error) => return Some(format!("{} cannot be examined: {error}", place.display())),
        }
    }
    None
}

fn membership(input: &DoctorInput<'_>, runner: &Runner, listener: Option<&ListenerSeen>) -> Check {
    let id = format!("member:{}", runner.name);
    match group::membership(runner.owner) {
        Membership::NotNeeded => Check::ok(id, "it runs as root"),
        Membership::Missing(user) => {
            Check::fail(id, format!("{user} is not in the group {}", group::NAME), "disk-guard install")
        }
        Membership::Unknown(why) => {
            Check::warn(id, why, "give the runner's user a name and the group disk-guard")
        }
        Membership::Member => match listener.map(|seen| group::is_in_force(input.proc, seen.process.pid)) {
            Some(Some(false)) => Check::fail(
                id,
                "its user is in the group, but its Listener was started before",
                RESTART_BY_HAND,
            ),
            _ => Check::ok(id, format!("its user is in the group {}", group::NAME)),
        },
    }
}
