//! `notify`: looks for incidents, decides which are told now, and hands them to the administrator's program.

use super::{Context, complain, now, overview, print};
use crate::cli::Cli;
use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::counters::believed::{counted, epoch};
use crate::model::Execution;
use crate::model::incident::{IncidentLook, Memory, Telling};
use crate::model::metrics::Counter;
use crate::notify::decision::{self, Decision, NotifyInput, RepeatIntervals, Sweeps};
use crate::notify::{memory, messenger};
use crate::observe::inventory::host_name;
use crate::overview::status::judged;
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::human::Screen;
use crate::report::{escape, json};
use crate::run_dir::RunDir;
use crate::setup::state::StateDir;
use crate::sys::process::Proc;
use std::path::Path;
use std::time::SystemTime;

/// Looks, decides and tells.
pub(super) fn run(context: &Context, execution: Execution, as_json: bool) -> Exit {
    if context.config.notify.command.is_empty() && execution == Execution::Apply {
        if as_json {
            print(&json::message(&host_name(), now(), &[], false, json::Layout::Pretty));
        }
        return Exit::Done;
    }
    tell(context, incidents(context), execution, as_json)
}

/// The configuration is wrong: no sweep runs, and that is what somebody is told, where the file still says who.
pub(super) fn without_config(cli: &Cli, error: &ConfigError, execution: Execution, as_json: bool) {
    let path = cli.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
    let Some(config) = Config::salvaged_for_notify(path) else { return };
    let screen = Screen::of_stdout(cli.color.into());
    let context = Context { proc: Proc::new(&config.paths.proc), config, screen };
    let mut look = incidents(&context);
    let dead = decision::unusable_configuration(&error.in_one_line());
    // What a sweep has left says nothing of this.
    look.incidents.retain(|incident| incident.kind != dead.kind);
    look.incidents.push(dead);
    let _ = tell(&context, look, execution, as_json);
}

/// Sends a message that says that it is a test.
pub(super) fn test(context: &Context, as_json: bool) -> Exit {
    if context.config.notify.command.is_empty() {
        complain(
            &"nobody is told: `command` of [notify] is not set; set it to a program and its arguments, such as [\"/usr/local/sbin/tell-us\"]",
        );
        return Exit::Error;
    }
    let message = json::message(&host_name(), now(), &[], true, json::Layout::Line);
    if as_json {
        print(&json::message(&host_name(), now(), &[], true, json::Layout::Pretty));
    }
    match send(context, &message) {
        Ok(()) => {
            if !as_json {
                print("told: a test message\n");
            }
            Exit::Done
        }
        Err(exit) => exit,
    }
}

fn tell(context: &Context, mut look: IncidentLook, execution: Execution, as_json: bool) -> Exit {
    let Config { notify, paths, .. } = &context.config;
    let is_told = |kind| notify.on.contains(&kind);
    look.incidents.retain(|incident| is_told(incident.kind));
    look.jobs_refused =
        look.jobs_refused.filter(|_| is_told(crate::model::incident::IncidentKind::RefusedJob));
    let state = StateDir::at(&paths.state_dir);
    let before = memory::read(&state, &paths.run_dir);
    let intervals = RepeatIntervals { repeat: notify.repeat.as_secs(), interval: notify.interval.as_secs() };
    let Decision { tellings, told, untold } = decision::decide(&before, &look, epoch(now()), intervals);
    show(&tellings, execution, as_json);
    if execution.is_dry_run() {
        return Exit::Done;
    }
    if tellings.is_empty() {
        return remember(&state, &paths.run_dir, &untold, Exit::Done);
    }
    let message = json::message(&host_name(), now(), &tellings, false, json::Layout::Line);
    match send(context, &message) {
        Ok(()) => remember(&state, &paths.run_dir, &told, Exit::Done),
        // Tried again, but not at once: the next one is as far away as if it had been told.
        Err(exit) => remember(&state, &paths.run_dir, &Memory { called: told.called, ..untold }, exit),
    }
}

fn show(tellings: &[Telling], execution: Execution, as_json: bool) {
    if as_json {
        print(&json::message(&host_name(), now(), tellings, false, json::Layout::Pretty));
        return;
    }
    for telling in tellings {
        let line = format!("{} {}: {}", telling.news.as_str(), telling.kind.as_str(), telling.text);
        print(&format!("{}\n", escape::log_line(&line)));
    }
    if tellings.is_empty() && execution.is_dry_run() {
        print("nothing to tell\n");
    }
}

fn send(context: &Context, message: &str) -> Result<(), Exit> {
    messenger::send(&context.config.notify, &context.config.paths.programs, message).map_err(|error| {
        let text = format!("incidents could not be told: {error}");
        complain(&text);
        Event::new(EventKind::Error, escape::text(&text)).emit();
        Exit::Error
    })
}

fn remember(state: &StateDir, run: &Path, memory: &Memory, exit: Exit) -> Exit {
    match memory::write(state, run, memory) {
        Ok(()) => exit,
        Err(why) => {
            complain(&format_args!("what was told cannot be remembered, and is told once more: {why}"));
            Exit::Error
        }
    }
}

/// What is the matter on this host. No cache is looked at.
fn incidents(context: &Context) -> IncidentLook {
    let snapshot = context.snapshot();
    let alive = overview::alive(&snapshot);
    let filesystems = judged(&context.config, &alive.facts.filesystems);
    let run = RunDir::open_existing(&context.config.paths.run_dir).ok().flatten();
    let counted = counted(&snapshot, run.as_ref(), now()).map(|told| told.totals);
    if let Err(error) = &counted {
        complain(error);
    }
    let reaper = overview::status::last_reaping(&context.config);
    decision::look(&NotifyInput {
        now: epoch(now()),
        booted: epoch(context.proc.boot_time().unwrap_or(SystemTime::UNIX_EPOCH)),
        filesystems: Some(&filesystems),
        sweeps: counted.ok().map(|totals| Sweeps {
            last: totals.last_sweep,
            jobs_refused: totals.counts.get(&(Counter::JobsRefused, Vec::new())).copied().unwrap_or(0),
        }),
        reaper: reaper.as_ref(),
    })
}
