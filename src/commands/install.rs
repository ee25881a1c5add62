//! `install` and `uninstall`.

use super::{Context, Format, complain, now, overview, present};
use crate::cli::SetupArgs;
use crate::installation::{self, InstallOptions, RunnerSelection, SetupPart};
use crate::model::Execution;
use crate::observe::snapshot::Snapshot;
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::setup::install::Verb;
use crate::setup::state::StateDir;
use crate::setup::wiring::Scripts;

/// Does it, or shows what it would do.
pub(super) fn run(context: &Context, verb: Verb, args: &SetupArgs, reach: RunnerSelection) -> Exit {
    let ours = Scripts::in_dir(&args.hooks_dir);
    let missing = [&ours.started, &ours.completed].into_iter().find(|script| !script.is_file());
    if let (Verb::Install, Some(script)) = (verb, missing) {
        complain(&format_args!(
            "{} does not exist: install the hook scripts, or pass their directory with --hooks-dir",
            script.display()
        ));
        return Exit::Error;
    }
    let execution = Execution::of(args.dry_run);
    if execution == Execution::Apply
        && let Err(error) = StateDir::at(&context.config.paths.state_dir).check_writable()
    {
        complain(&error);
        return Exit::Error;
    }
    let part = |is_done| if is_done { SetupPart::Done } else { SetupPart::Left };
    let options = InstallOptions {
        verb,
        execution,
        reach,
        group: part(!args.no_group),
        restart_idle: part(args.restart_idle),
    };
    let look = |config: &_| overview::alive(&Snapshot::take(config, &context.proc, now()));
    let (report, unwritten) = installation::run(&context.config, &context.proc, &look, &ours, options);
    if let Some(error) = unwritten {
        complain(&error);
    }
    present(
        &context.screen,
        Format::of(args.json),
        || json::setup(&report, json::Layout::Pretty),
        || human::setup(&report, &context.screen),
    );
    let is_about_somebody = reach == RunnerSelection::Recorded || !report.runners.is_empty();
    if report.is_whole() && is_about_somebody { Exit::Done } else { Exit::Error }
}
