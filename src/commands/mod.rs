//! One file per verb, with wiring only: it reads the clock, opens what is needed, calls other modules in order and prints the result.
//! Decisions are made elsewhere.

mod audit;
mod check;
mod check_config;
mod doctor;
mod drain;
mod entries;
mod forecast;
mod install;
mod ledger;
mod metrics;
mod names;
mod notify;
mod output;
mod postmortem;
mod reap;
mod remediate;
mod simulate;
mod status;
mod stores;
mod supervised;
mod sweep;
mod trim;
mod watch;

use crate::cli::{Cli, Command};
use crate::clock::now;
use crate::config::{Config, ConfigError};
use crate::installation::RunnerSelection;
use crate::model::Execution;
use crate::observe::declared;
use crate::observe::snapshot::Snapshot;
use crate::report::exit::Exit;
use crate::report::human::Screen;
use crate::report::journal;
use crate::report::stream::{self, complain, print, show};
use crate::runs::Host;
use crate::setup::install::Verb;
use crate::simulate::table::Sensitivity;
use crate::sys::deadline::unblock_signals;
use crate::sys::process::Proc;
use crate::sys::reach;
use crate::{demo, hook, overview, terminal};
use entries::SweepPart;
use output::{AnswerForm, Format, present};
use std::process::ExitCode;

/// What every command uses.
#[derive(Clone)]
struct Context {
    config: Config,
    proc: Proc,
    screen: Screen,
}

impl Context {
    /// The runners and the mounts as they are now.
    fn snapshot(&self) -> Snapshot<'_> {
        self.host().snapshot()
    }

    /// What a run needs.
    fn host(&self) -> Host<'_> {
        Host { config: &self.config, proc: &self.proc, complain }
    }
}

/// Runs one command.
pub fn run(cli: &Cli) -> ExitCode {
    match &cli.command {
        // It handles signals itself.
        Command::Hook(hook) => return hook::guarded(cli, hook).into(),
        Command::Demo => return demo_exit(demo::run(cli.color.as_str())),
        Command::DemoActor(arguments) => return demo_exit(demo::actor::run(arguments)),
        _ => {}
    }
    unblock_signals();
    let screen = Screen::of_stdout(cli.color.into());
    supervised::run(cli, || verb(cli, screen))
}

/// Whether a verb changes runners' directories, previews that, or examines whether it would work: a frozen disk would block it.
fn is_about_changes(command: &Command) -> bool {
    matches!(
        command,
        Command::Sweep { .. }
            | Command::Plan { .. }
            | Command::Stores { .. }
            | Command::Trim { .. }
            | Command::Doctor { .. }
            | Command::Remediate(_)
            | Command::Install(_)
            | Command::Uninstall(_)
    )
}

fn verb(cli: &Cli, screen: Screen) -> Exit {
    journal::init(cli.log_level.into(), journal::Sink::Journal);
    // The configuration, too, may be on a mount that does not answer.
    reach::watch();
    if is_about_changes(&cli.command) {
        reach::expect_changes();
    }
    if let Command::CheckConfig { path } = &cli.command {
        return stream::ended(check_config::run(path.as_deref().or(cli.config.as_deref())));
    }
    let config = match declared::load_for_verbs(cli.config.as_deref()) {
        Ok(config) => config,
        Err(error) if matches!(cli.command, Command::Doctor { .. }) => {
            return stream::ended(doctor::without_config(&error, &screen, &cli.command));
        }
        Err(error) => {
            if let Command::Notify { test: false, dry_run, json } = &cli.command {
                notify::without_config(cli, &error, Execution::of(*dry_run), Format::of(*json));
            }
            return config_failed(&error);
        }
    };
    let context = Context { proc: Proc::new(&config.paths.proc), config, screen };
    let exit = match &cli.command {
        Command::Sweep { dry_run, no_reap, no_stores, json } => {
            let parts = sweep::Parts { reap: SweepPart::of(*no_reap), stores: SweepPart::of(*no_stores) };
            match Execution::of(*dry_run) {
                Execution::Apply => sweep::run(&context, parts, Format::of(*json)),
                Execution::DryRun => sweep::preview(&context, parts, Format::of(*json)),
            }
        }
        Command::Plan { json } => {
            let parts = sweep::Parts { reap: SweepPart::Left, stores: SweepPart::Done };
            sweep::preview(&context, parts, Format::of(*json))
        }
        Command::Stores { dry_run, store, json } => {
            stores::run(&context, Execution::of(*dry_run), store, Format::of(*json))
        }
        Command::Reap { dry_run, source, json } => {
            reap::run(&context, Execution::of(*dry_run), source, Format::of(*json))
        }
        Command::Status { html: Some(file), .. } => status::page(&context, file),
        Command::Status { json: false, watch: true, .. } if terminal::is_for_a_person() => {
            watch::run(&context)
        }
        Command::Status { json, watch: true, html: None } => status::repeat(&context, Format::of(*json)),
        Command::Status { json, watch: false, html: None } => status::run(&context, Format::of(*json)),
        Command::Trim { path, free, json } => trim::run(&context, path, *free, Format::of(*json)),
        Command::Simulate { history: true, size, against, json, html, .. } => {
            let options = simulate::HistoryOptions { size: *size, against: against.as_deref() };
            simulate::history(&context, &options, AnswerForm::of(Format::of(*json), html.as_deref()))
        }
        Command::Simulate { hosts, seeds, days, sensitivity, json, html, .. } => {
            let sensitivity = if *sensitivity { Sensitivity::Shown } else { Sensitivity::Left };
            let options = simulate::SimulateOptions { hosts, seeds: *seeds, days: *days, sensitivity };
            simulate::run(&context, &options, AnswerForm::of(Format::of(*json), html.as_deref()))
        }
        Command::Forecast { json } => forecast::run(&context, Format::of(*json)),
        Command::Check(question) => check::run(&context, question),
        Command::Doctor { json } => doctor::run(&context, cli.config.as_deref(), Format::of(*json)),
        Command::Audit { json } => audit::run(&context, Format::of(*json)),
        Command::Remediate(args) => remediate::run(&context, args),
        Command::Drain { runner } => drain::drain(&context, runner),
        Command::Resume { runner } => drain::resume(&context, runner),
        Command::Install(args) => install::run(&context, Verb::Install, args, RunnerSelection::All),
        Command::Uninstall(args) => {
            install::run(&context, Verb::Uninstall, &args.setup, reach(args.recorded))
        }
        Command::Why { path, since, json } => {
            ledger::why(&context, path, since.as_deref(), Format::of(*json))
        }
        Command::History { since, json } => ledger::history(&context, since, Format::of(*json)),
        Command::Blame { at, window, json } => ledger::blame(&context, at, window, Format::of(*json)),
        Command::Metrics => metrics::run(&context),
        Command::Notify { test: true, json, .. } => notify::test(&context, Format::of(*json)),
        Command::Notify { test: false, dry_run, json } => {
            notify::run(&context, Execution::of(*dry_run), Format::of(*json))
        }
        Command::Names => names::run(&context),
        Command::Postmortem { runner, since, json } => {
            postmortem::run(&context, runner.as_deref(), since, Format::of(*json))
        }
        Command::Hook(_) | Command::CheckConfig { .. } | Command::Demo | Command::DemoActor(_) => Exit::Done,
    };
    stream::ended(exit)
}

fn reach(recorded: bool) -> RunnerSelection {
    if recorded { RunnerSelection::Recorded } else { RunnerSelection::All }
}

/// Says what is wrong with the configuration.
fn config_failed(error: &ConfigError) -> Exit {
    complain(error);
    match error {
        ConfigError::Read { .. } => Exit::Error,
        ConfigError::Invalid { .. } | ConfigError::Untrusted { .. } => Exit::ConfigInvalid,
    }
}

fn demo_exit(result: std::io::Result<ExitCode>) -> ExitCode {
    if stream::is_over() {
        return stream::ended(Exit::Done).into();
    }
    result.unwrap_or_else(|error| {
        complain(&format_args!("the demo's throw-away host cannot be made: {error}"));
        Exit::Error.into()
    })
}
