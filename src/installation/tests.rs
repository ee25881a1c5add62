//! Wiring a host of plain files and undoing it.

#![expect(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use super::*;
use crate::clock::now;
use crate::observe::snapshot::Snapshot;
use crate::plain_host::PlainHost;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

struct Scene {
    base: PathBuf,
    config: Config,
    proc: Proc,
    _files: PlainHost,
}

impl Scene {
    /// Two runners of ours, of which the first has a line in its `.env`. No program can be found, so systemd cannot be asked.
    fn new() -> Self {
        let files = PlainHost::new();
        let base = files.base.clone();
        for name in ["one", "two"] {
            files.runner(&format!("runners/{name}"), name);
        }
        fs::write(base.join("runners/one/.env"), "LANG=C\n").unwrap();
        fs::create_dir_all(base.join("hooks")).unwrap();
        for script in ["job-started.sh", "job-completed.sh"] {
            fs::write(base.join("hooks").join(script), "#!/bin/sh\n").unwrap();
            fs::set_permissions(base.join("hooks").join(script), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir(base.join("bin")).unwrap();
        let config = files.config("runners/*", &format!("programs = [\"{}/bin\"]\n", base.display()));
        Self { proc: Proc::new(&config.paths.proc), config, base, _files: files }
    }

    fn run(&self, verb: Verb, execution: Execution, reach: RunnerSelection) -> SetupReport {
        let look = |config: &Config| crate::overview::alive(&Snapshot::take(config, &self.proc, now()));
        let options =
            InstallOptions { verb, execution, reach, group: SetupPart::Left, restart_idle: SetupPart::Left };
        let scripts = Scripts::in_dir(&self.base.join("hooks"));
        let (report, unwritten) = run(&self.config, &self.proc, &look, &scripts, options);
        assert!(unwritten.is_none(), "{unwritten:?}");
        report
    }

    fn env(&self, runner: &str) -> String {
        fs::read_to_string(self.base.join("runners").join(runner).join(".env")).unwrap_or_default()
    }
}

fn outcomes(report: &SetupReport) -> Vec<(&str, &SetupOutcome)> {
    report.runners.iter().map(|runner| (runner.name.as_str(), &runner.outcome)).collect()
}

#[test]
fn a_dry_run_shows_what_installing_does_and_uninstalling_leaves_each_env_as_it_was() {
    let scene = Scene::new();
    let planned = scene.run(Verb::Install, Execution::DryRun, RunnerSelection::All);
    assert_eq!(outcomes(&planned), [("one", &SetupOutcome::Planned), ("two", &SetupOutcome::Planned)]);
    assert_eq!((scene.env("one").as_str(), scene.env("two").as_str()), ("LANG=C\n", ""));
    assert!(!scene.base.join("state").exists(), "a dry run leaves no record");

    let done = scene.run(Verb::Install, Execution::Apply, RunnerSelection::All);
    assert_eq!(outcomes(&done), [("one", &SetupOutcome::Changed), ("two", &SetupOutcome::Changed)]);
    assert!(done.notes.iter().any(|note| note.contains("no timer is armed")), "{:?}", done.notes);
    for runner in ["one", "two"] {
        let env = scene.env(runner);
        assert!(
            env.contains("ACTIONS_RUNNER_HOOK_JOB_STARTED=") && env.contains("job-completed.sh"),
            "{env}"
        );
    }
    assert!(scene.env("one").starts_with("LANG=C\n"));
    let again = scene.run(Verb::Install, Execution::Apply, RunnerSelection::All);
    assert_eq!(outcomes(&again), [("one", &SetupOutcome::Unchanged), ("two", &SetupOutcome::Unchanged)]);

    let undone = scene.run(Verb::Uninstall, Execution::Apply, RunnerSelection::All);
    assert_eq!(outcomes(&undone), [("one", &SetupOutcome::Changed), ("two", &SetupOutcome::Changed)]);
    assert_eq!((scene.env("one").as_str(), scene.env("two").as_str()), ("LANG=C\n", ""));
}

#[test]
fn recorded_changes_are_undone_outside_every_glob_and_others_are_left() {
    let mut scene = Scene::new();
    scene.run(Verb::Install, Execution::Apply, RunnerSelection::All);
    // `two` was wired by somebody else: there is no record of it. `one` is found by no glob any more.
    let wired = scene.env("two");
    let state = StateDir::at(&scene.config.paths.state_dir);
    state.forget(crate::setup::state::RecordKind::Wired, &scene.base.join("runners/two")).unwrap();
    scene.config.runners.roots = vec![crate::model::PathGlob::literal(&scene.base.join("runners/two"))];

    let undone = scene.run(Verb::Uninstall, Execution::Apply, RunnerSelection::Recorded);
    assert_eq!(outcomes(&undone), [("one", &SetupOutcome::Changed)]);
    assert_eq!(scene.env("one"), "LANG=C\n");
    assert_eq!(scene.env("two"), wired, "it is nobody's by the records");
    assert!(undone.is_last);
}

#[test]
fn a_runner_that_is_gone_is_forgotten_and_one_with_another_hook_gets_a_chain() {
    let scene = Scene::new();
    fs::write(scene.base.join("own.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(scene.base.join("own.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let line = format!("ACTIONS_RUNNER_HOOK_JOB_STARTED={}\n", scene.base.join("own.sh").display());
    fs::write(scene.base.join("runners/one/.env"), &line).unwrap();
    let done = scene.run(Verb::Install, Execution::Apply, RunnerSelection::All);
    assert_eq!(done.runners[0].chains.len(), 1, "{:?}", done.runners[0]);
    let chain = fs::read_to_string(&done.runners[0].chains[0]).unwrap();
    assert!(chain.contains("own.sh") && chain.contains("job-started.sh"), "{chain}");

    fs::remove_dir_all(scene.base.join("runners/two")).unwrap();
    let undone = scene.run(Verb::Uninstall, Execution::Apply, RunnerSelection::All);
    assert_eq!(scene.env("one"), line, "the hook of its own is back");
    assert!(!done.runners[0].chains[0].exists());
    let gone = undone.runners.iter().find(|runner| runner.root.ends_with("two")).unwrap();
    assert_eq!(gone.outcome, SetupOutcome::Unchanged, "{gone:?}");
    let state = StateDir::at(&scene.config.paths.state_dir);
    let left = state.load_each::<crate::setup::wiring::WiringRecord>(crate::setup::state::RecordKind::Wired);
    assert_eq!(left.unwrap().len(), 0, "nothing is recorded any more");
}
