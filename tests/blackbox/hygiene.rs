//! `audit`, `remediate` and the sweep's safe repairs, on real trees with real users, real git, and hostile links.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

mod hostile;

use crate::kit::{self, Fs, Host, Report, Runner, Systemd, grow_old, needs_root};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const USER: (u32, u32) = (12_001, 12_001);
const OTHER: u32 = 12_002;
const HOUR: Duration = Duration::from_secs(3600);

/// A quiet host whose runner belongs to an ordinary user.
fn scene() -> (Host, Runner) {
    let mut host = Host::new();
    host.configure(|settings| {
        (settings.high, settings.low, settings.critical) = (100, 99, 100);
        settings.extra = format!("programs = [{}]\n", programs());
    });
    let runner = host.runner("actions-runner-1").user(USER.0, USER.1).build();
    (host, runner)
}

/// Where git may be.
fn programs() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let directories = path.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| format!("{directory:?}")).collect::<Vec<_>>().join(", ")
}

fn git(dir: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=x", "-c", "user.email=x@example.invalid", "-c", "init.defaultBranch=main"])
        .args(["-c", "safe.directory=*"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        .current_dir(dir)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A real checkout of one commit, the runner's own.
fn checkout(runner: &Runner, repository: &str) -> PathBuf {
    let name = repository.rsplit('/').next().expect("never empty");
    let checkout = runner.work.join(name).join(name);
    std::fs::create_dir_all(&checkout).expect("a checkout");
    std::fs::write(checkout.join("lib.rs"), "//! Widgets.\n").expect("a file");
    git(&checkout, &["init", "-q"]);
    git(&checkout, &["add", "."]);
    git(&checkout, &["commit", "-q", "-m", "one"]);
    let mapping = runner.work.join("_PipelineMapping").join(repository);
    std::fs::create_dir_all(&mapping).expect("a mapping");
    std::fs::write(mapping.join("PipelineFolder.json"), format!("{{\"pipelineDirectory\":\"{name}\"}}"))
        .expect("a mapping");
    runner.own(&runner.work);
    checkout
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file of the test");
}

fn owner(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).uid()
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("root may");
}

#[track_caller]
fn audit(host: &Host, code: i32) -> Value {
    host.guard(&["audit", "--json"]).expect_code(&[code]).report().0
}

fn repository<'a>(audit: &'a Value, name: &str) -> &'a Value {
    let all = audit["runners"][0]["repositories"].as_array().expect("repositories");
    all.iter().find(|area| area["directory"] == name).unwrap_or_else(|| panic!("{name} in {audit:#}"))
}

fn kinds(area: &Value) -> Vec<&str> {
    area["findings"].as_array().expect("findings").iter().filter_map(|f| f["kind"].as_str()).collect()
}

#[track_caller]
fn remediate(host: &Host, repository: &str, mode: &str, code: i32) -> Report {
    host.guard(&["remediate", "actions-runner-1", repository, "--mode", mode, "--apply", "--json"])
        .expect_code(&[code])
        .report()
}

/// The same where more than one repository is contaminated: neither of two is a checkout that git knows.
#[track_caller]
fn remediate_one_of_many(host: &Host, repository: &str, mode: &str, code: i32) -> Report {
    let call = [
        "remediate",
        "actions-runner-1",
        repository,
        "--mode",
        mode,
        "--apply",
        "--even-if-widespread",
        "--json",
    ];
    host.guard(&call).expect_code(&[code]).report()
}

fn outcome(report: &Report, below: &str) -> String {
    let changes = report.0["changes"].as_array().expect("changes");
    let found: Vec<&Value> = changes.iter().filter(|change| change["path"] == below).collect();
    assert_eq!(found.len(), 1, "one change of {below} in {:#}", report.0);
    found[0]["outcome"].as_str().expect("text").to_owned()
}

#[test]
fn files_left_by_a_container_job_are_found_and_returned_to_the_user() {
    if !needs_root("leaves root's files in a runner's tree") {
        return;
    }
    let (host, runner) = scene();
    let app = checkout(&runner, "acme/app");
    assert_eq!(kinds(repository(&audit(&host, 0), "app")), [""; 0], "a fresh checkout is clean");
    std::fs::create_dir_all(app.join("dist/deep")).unwrap();
    write(&app.join("dist/deep/out"), "built as root");
    set_mode(&app.join("dist/deep/out"), 0o600);
    symlink("/etc/passwd", app.join("dist/link")).unwrap();
    write(&app.join("of-another"), "x");
    chown(app.join("of-another"), Some(OTHER), Some(OTHER)).unwrap();
    write(&runner.work.join("_actions/leftover"), "root's, in the runner's own");
    let found = audit(&host, 12);
    let area = repository(&found, "app");
    assert_eq!((area["verdict"].as_str(), area["mode"].as_str()), (Some("repairable"), Some("chown")));
    assert_eq!((kinds(area), &area["findings"][0]["count"]), (vec!["foreign-owner"], &Value::from(5)));
    assert_eq!(found["wider_incident"], false, "one repository is its own business");

    let preview = host.guard(&["remediate", "actions-runner-1", "acme/app"]).expect_code(&[0]);
    assert!(
        preview.stdout().contains("Dry run of chown") && preview.stdout().contains("--apply"),
        "{}",
        preview.stdout()
    );
    assert_eq!(owner(&app.join("dist")), 0, "a preview touches nothing");

    let report = remediate(&host, "acme/app", "chown", 0);
    assert_eq!(
        (&report.0["done"], &report.0["undone"]),
        (&Value::from(5), &Value::from(0)),
        "{:#}",
        report.0
    );
    for entry in ["dist", "dist/deep", "dist/deep/out", "dist/link", "of-another"] {
        assert_eq!(owner(&app.join(entry)), USER.0, "{entry}");
    }
    assert_eq!(std::fs::read(app.join("dist/deep/out")).unwrap(), b"built as root");
    assert_eq!(owner(Path::new("/etc/passwd")), 0, "a link is given back, not what it points to");
    assert_eq!(
        std::fs::read_dir(runner.work.join(".disk-guard/trash")).unwrap().count(),
        0,
        "nothing stays in trash"
    );
    // The runner's own directories are put right, too.
    assert_eq!(outcome(&remediate(&host, "_actions", "chown", 0), "_actions/leftover"), "done");
    assert_eq!(kinds(repository(&audit(&host, 0), "app")), [""; 0]);

    let told = host.guard(&["history", "--json"]).stdout();
    assert!(told.contains("\"repaired\"") && told.contains("remediate"), "{told}");
    let why = host.guard(&["why", app.join("dist").to_str().unwrap()]).stdout();
    assert!(why.contains("changed owner or mode"), "{why}");
}

/// A reset has looked, and waits for the host lock; a job begins. What then speaks against it is in the record as every refusal is.
#[test]
fn a_reset_that_is_refused_under_the_lock_is_reported() {
    if !kit::sees_everything() {
        return;
    }
    let (host, runner) = scene();
    let app = checkout(&runner, "acme/app");
    let lock = host.host_lock();
    let call = ["remediate", "actions-runner-1", "app", "--mode", "reset", "--apply", "--json"];
    let stopped = kit::Stopped::at(&host.call(&call), move |call| {
        let is_exclusive = call.arguments[1] & nix::libc::LOCK_EX as u64 != 0;
        call.number == nix::libc::SYS_flock && call.file(0) == lock && is_exclusive
    });
    let mut listener = runner.listen();
    let job = listener.begin_job("acme/app");
    let refused = stopped.release().expect_code(&[10, 11]);
    assert!(app.join("lib.rs").exists());
    let told = refused.stderr();
    let kept =
        told.lines().find(|line| line.starts_with("disk-guard: kept ")).unwrap_or_else(|| panic!("{told}"));
    assert!(kept.contains("/_work/app") && kept.contains("worker-process"), "{kept}");
    job.finish(&mut listener);
    remediate(&host, "app", "reset", 0);
    assert!(!app.exists(), "the control");
}

/// Nothing is renamed out of a btrfs subvolume, so it cannot be shown that a file in one has no other name.
#[test]
fn files_in_a_subvolume_are_reported_and_left_and_deleted_by_a_reset() {
    if !needs_root("mounts a btrfs") {
        return;
    }
    let mut host = Host::on(Fs::Btrfs { mib: 256 });
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let runner = host.runner("actions-runner-1").user(USER.0, USER.1).build();
    let app = runner.work.join("app/app");
    std::fs::create_dir_all(runner.work.join("app")).unwrap();
    let made = Command::new("btrfs").args(["subvolume", "create"]).arg(&app).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    runner.own(&runner.work);
    write(&app.join("inside"), "root's");
    write(&runner.work.join("app/outside"), "root's");
    let report = remediate(&host, "app", "chown", 1);
    assert_eq!(outcome(&report, "app/app/inside"), "refused", "{:#}", report.0);
    assert!(report.0["changes"].to_string().contains("subvolume"), "{:#}", report.0);
    assert_eq!(owner(&app.join("inside")), 0);
    assert_eq!(owner(&runner.work.join("app/outside")), USER.0, "the control");
    let said =
        host.guard(&["remediate", "actions-runner-1", "app", "--mode", "chown", "--apply"]).expect_code(&[1]);
    assert!(said.stdout().contains("subvolume") && said.stdout().contains("reset"), "{}", said.stdout());
    remediate(&host, "app", "reset", 0);
    assert!(!runner.work.join("app").exists());
}

#[test]
fn locked_directories_are_opened_only_if_the_runners_own() {
    if !needs_root("takes permissions from other users") {
        return;
    }
    let (host, runner) = scene();
    let app = checkout(&runner, "acme/app");
    std::fs::create_dir_all(app.join("mod/inner")).unwrap();
    write(&app.join("mod/inner/file"), "x");
    write(&app.join("linked"), "x");
    runner.own(&app);
    set_mode(&app.join("mod/inner/file"), 0o444);
    set_mode(&app.join("linked"), 0o444);
    std::fs::hard_link(app.join("linked"), host.base.join("elsewhere")).unwrap();
    set_mode(&app.join("mod/inner"), 0o000);
    set_mode(&app.join("mod"), 0o555);
    std::fs::create_dir(app.join("roots")).unwrap();
    set_mode(&app.join("roots"), 0o500);
    std::fs::create_dir(app.join("roots-closed")).unwrap();
    set_mode(&app.join("roots-closed"), 0o050);
    let objects = app.join(".git/objects");
    let before = mode(&first_file(&objects));
    assert_eq!(before & 0o200, 0, "git's objects are read-only by nature");

    let found = audit(&host, 12);
    assert!(kinds(repository(&found, "app")).contains(&"locked-directory"), "{found:#}");
    let report = remediate(&host, "app", "unlock", 1);
    for (entry, expected, bits) in [
        ("mod", "done", 0o755),
        ("mod/inner", "done", 0o700),
        ("mod/inner/file", "done", 0o644),
        ("linked", "refused", 0o444),
        ("roots", "refused", 0o500),
    ] {
        assert_eq!(outcome(&report, &format!("app/app/{entry}")), expected, "{entry}: {:#}", report.0);
        assert_eq!(mode(&app.join(entry)), bits, "{entry}");
    }
    assert_eq!(mode(&first_file(&objects)), before, "git's objects stay as they are");
    // Once it is given back, it is opened.
    assert_eq!(remediate(&host, "app", "chown", 0).0["undone"], 0);
    let report = remediate(&host, "app", "unlock", 1);
    assert_eq!(outcome(&report, "app/app/roots"), "done", "{:#}", report.0);
    assert_eq!(mode(&app.join("roots-closed")), 0o750);
}

fn first_file(directory: &Path) -> PathBuf {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
        .into_iter()
        .find_map(|path| {
            if path.is_dir() {
                std::fs::read_dir(&path).unwrap().next().map(|e| e.unwrap().path())
            } else {
                Some(path)
            }
        })
        .expect("an object")
}

#[test]
fn a_runner_that_may_be_at_work_is_left_alone() {
    if !needs_root("proves a runner idle") {
        return;
    }
    let (host, runner) = scene();
    let app = checkout(&runner, "acme/app");
    write(&app.join("roots"), "x");
    write(&app.join(".git/index.lock"), "");
    runner.own(&app.join(".git/index.lock"));
    grow_old(&app.join(".git/index.lock"), HOUR);
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    for mode in ["chown", "unlock", "reset"] {
        let report = remediate(&host, "app", mode, 10);
        assert_eq!(
            (&report.0["done"], &report.0["changes"]),
            (&Value::from(0), &Value::Array(vec![])),
            "{mode}"
        );
        assert!(Report::kinds(&report.0).contains("worker-process"), "{:#}", report.0);
    }
    let found = audit(&host, 0);
    assert!(
        found["runners"][0]["skipped"].as_str().is_some_and(|why| why.contains("not examined")),
        "{found:#}"
    );
    assert!(app.join(".git/index.lock").exists() && owner(&app.join("roots")) == 0);
    job.finish(&mut listener);
    drop(listener);
    // Idle, it is put right.
    assert_eq!(remediate(&host, "app", "unlock", 0).0["done"], 1);
    assert_eq!(remediate(&host, "app", "chown", 0).0["done"], 1);
    assert!(!app.join(".git/index.lock").exists() && owner(&app.join("roots")) == USER.0);
    let why = host.guard(&["why", app.join(".git/index.lock").to_str().unwrap()]).stdout();
    assert!(why.contains("removed"), "{why}");
    let why = host.guard(&["why", app.join(".git/HEAD").to_str().unwrap(), "--json"]).report().0;
    assert_eq!(why["verdict"], "repaired", "only the lock file itself was removed: {why:#}");
}

#[test]
fn an_unguarded_runner_is_repaired_only_out_of_service() {
    if !needs_root("proves a runner idle") {
        return;
    }
    let mut host = Host::new();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let systemd = Systemd::on(&mut host);
    let runner = host.runner("unguarded").unguarded().user(USER.0, USER.1).build();
    systemd.unit_of(&runner);
    let app = checkout(&runner, "acme/app");
    write(&app.join("roots"), "x");
    let call = ["remediate", "unguarded", "app", "--mode", "chown", "--apply", "--json"];
    let refused = host.guard(&call).expect_code(&[11]).report();
    assert!(Report::kinds(&refused.0).contains("unguarded"), "{:#}", refused.0);
    assert_eq!(owner(&app.join("roots")), 0);
    host.guard(&["drain", "unguarded"]).expect_code(&[0]);
    // Out of service is who has no Listener: with one a job could still begin.
    let listener = runner.listen();
    host.guard(&call).expect_code(&[11]);
    drop(listener);
    host.guard(&call).expect_code(&[0]);
    assert_eq!(owner(&app.join("roots")), USER.0);
}

#[test]
fn young_locks_and_checkouts_in_every_state_are_distinguished() {
    if !needs_root("runs git as another user") {
        return;
    }
    let (host, runner) = scene();
    let [whole, young, half, broken, locked] =
        ["acme/whole", "acme/young", "acme/half", "acme/broken", "acme/locked"]
            .map(|name| checkout(&runner, name));
    checkout(&runner, "acme/gone");
    std::fs::remove_dir_all(runner.work.join("_PipelineMapping/acme/gone")).unwrap();
    write(&young.join(".git/index.lock"), "");
    write(&locked.join(".git/shallow.lock"), "");
    grow_old(&locked.join(".git/shallow.lock"), HOUR);
    std::fs::remove_file(half.join(".git/index")).unwrap();
    let object = String::from_utf8(
        Command::new("git")
            .args(["-c", "safe.directory=*", "rev-parse", "HEAD:lib.rs"])
            .current_dir(&broken)
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    std::fs::remove_file(broken.join(".git/objects").join(&object[..2]).join(object[2..].trim())).unwrap();
    runner.own(&runner.work);
    grow_old(&locked.join(".git/shallow.lock"), HOUR);

    let found = audit(&host, 13);
    for (name, verdict, expected) in [
        ("whole", "clean", &[][..]),
        ("young", "clean", &[]),
        ("gone", "clean", &["abandoned"]),
        ("half", "replace", &["interrupted-checkout"]),
        ("broken", "replace", &["broken-git"]),
        ("locked", "repairable", &["stale-lock"]),
    ] {
        let area = repository(&found, name);
        assert_eq!(
            (area["verdict"].as_str(), kinds(area)),
            (Some(verdict), expected.to_vec()),
            "{name}: {area:#}"
        );
    }
    assert_eq!((&found["contaminated"], &found["wider_incident"]), (&Value::from(3), &Value::from(true)));
    let text = host.guard(&["audit"]).expect_code(&[13]).stdout();
    assert!(text.contains("WIDER INCIDENT"), "{text}");
    assert!(whole.join("lib.rs").exists());
}

#[test]
fn mounts_are_kept_and_a_mounted_work_directory_is_repaired() {
    if !needs_root("mounts") {
        return;
    }
    let mut host = Host::on(Fs::Tmpfs { mib: 64, inodes: 10_000 });
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let runner = host.runner("actions-runner-1").user(USER.0, USER.1).build();
    let (app, lib) = (runner.checkout("acme/app"), runner.checkout("acme/lib"));
    let shared = host.base.join("shared");
    std::fs::create_dir(&shared).unwrap();
    write(&shared.join("file"), "root's, shared");
    std::fs::create_dir(app.join("cache")).unwrap();
    host.bind(&shared, &app.join("cache"));
    write(&lib.join("roots"), "x");
    let found = host.guard(&["audit", "--json"]).report().0;
    // A mount of the host's own is no sign of use. It keeps its place, and all around it is put right.
    assert_eq!(found["runners"][0]["state"], "idle", "{found:#}");
    let report = remediate_one_of_many(&host, "app", "reset", 11);
    assert!(Report::kinds(&report.0).contains("mount-inside"), "{:#}", report.0);
    write(&app.join("roots"), "x");
    assert_eq!(remediate_one_of_many(&host, "app", "chown", 0).0["done"], 1);
    assert_eq!((owner(&shared), owner(&shared.join("file"))), (0, 0));
    assert_eq!(std::fs::read_to_string(app.join("cache/file")).unwrap(), "root's, shared");
    let unmounted = Command::new("umount").arg(app.join("cache")).status().unwrap();
    assert!(unmounted.success());
    // Neither of the two is a checkout that git knows, which is a wider incident.
    for (name, mode) in [("lib", "chown"), ("app", "reset")] {
        let call = [
            "remediate",
            "actions-runner-1",
            name,
            "--mode",
            mode,
            "--apply",
            "--even-if-widespread",
            "--json",
        ];
        assert_eq!(host.guard(&call).expect_code(&[0]).report().0["done"], 1, "{name}");
    }
    assert!(!runner.work.join("app").exists() && shared.join("file").exists());
    assert!(runner.work.exists(), "the work directory itself stays");
}

#[test]
fn a_sweep_repairs_owner_and_mode_only_where_configured_and_only_of_idle_runners() {
    if !needs_root("gives root's files back") {
        return;
    }
    let (mut host, idle) = scene();
    let busy = host.runner("actions-runner-2").user(USER.0, USER.1).build();
    let [app, other] = [&idle, &busy].map(|runner| {
        let app = checkout(runner, "acme/app");
        std::fs::create_dir_all(app.join("dist")).unwrap();
        write(&app.join("dist/out"), "x");
        write(&app.join("read-only"), "x");
        set_mode(&app.join("read-only"), 0o444);
        chown(app.join("read-only"), Some(USER.0), Some(USER.1)).unwrap();
        std::fs::create_dir(app.join("closed")).unwrap();
        set_mode(&app.join("closed"), 0o555);
        write(&app.join(".git/index.lock"), "");
        grow_old(&app.join(".git/index.lock"), HOUR);
        app
    });
    let precious = host.base.join("precious");
    write(&precious, "root's");
    std::fs::hard_link(&precious, app.join("planted")).unwrap();
    host.sweep();
    assert_eq!(owner(&app.join("dist")), 0, "it is off by default");
    host.configure(|settings| settings.extra += "[hygiene]\nrepair = true\n");
    let mut listener = busy.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    host.sweep();
    for entry in ["dist", "dist/out", "closed"] {
        assert_eq!((owner(&app.join(entry)), owner(&other.join(entry))), (USER.0, 0), "{entry}");
    }
    assert_eq!((mode(&app.join("closed")), mode(&other.join("closed"))), (0o755, 0o555));
    // What is not safe to do unasked stays.
    assert_eq!((owner(&precious), mode(&app.join("read-only"))), (0, 0o444));
    assert!(app.join(".git/index.lock").exists());
    job.finish(&mut listener);
    drop(listener);
    // Both are contaminated now: that is more than a sweep puts right.
    std::fs::remove_file(app.join("planted")).unwrap();
    std::fs::remove_file(app.join(".git/index.lock")).unwrap();
    host.sweep();
    assert_eq!(owner(&other.join("dist/out")), USER.0, "when its job is over it has its turn");
    let told = host.guard(&["history"]).stdout();
    assert!(told.contains("repaired") && told.contains("sweep"), "{told}");
}

/// What did it to several repositories works on the host: nobody takes its traces away unasked.
#[test]
fn more_than_one_contaminated_repository_stops_every_repair_until_a_person_overrides_it() {
    if !needs_root("gives root's files back") {
        return;
    }
    let (mut host, runner) = scene();
    let second = host.runner("actions-runner-2").user(USER.0, USER.1).build();
    host.configure(|settings| settings.extra += "[hygiene]\nrepair = true\n");
    let (app, lib, web) =
        (checkout(&runner, "acme/app"), checkout(&second, "acme/lib"), checkout(&second, "acme/web"));
    for place in [&app, &lib, &web] {
        write(&place.join("roots"), "x");
    }
    let owners = || [&app, &lib, &web].map(|place| owner(&place.join("roots")));
    assert_eq!(audit(&host, 12)["wider_incident"], true);
    let sweep = host.guard(&["sweep"]).expect_code(&[14]);
    assert_eq!(owners(), [0; 3]);
    assert!(sweep.stderr().contains("3 repositories of this host are contaminated"), "{}", sweep.stderr());
    let call = ["remediate", "actions-runner-1", "app", "--mode", "chown", "--apply"];
    let stopped = host.guard(&call).expect_code(&[14]);
    assert_eq!(owners(), [0; 3]);
    assert!(stopped.stderr().contains("--even-if-widespread"), "{}", stopped.stderr());
    assert!(stopped.stderr().contains("wider-incident scope=remediate"), "its event: {}", stopped.stderr());
    assert!(sweep.stderr().contains("wider-incident scope=sweep"), "its event: {}", sweep.stderr());
    host.guard(&["remediate", "actions-runner-1", "app", "--mode", "chown"]).expect_code(&[0]);
    // A person's word is for one repository at a time; with one left, a sweep goes on by itself.
    host.guard(&[&call[..], &["--even-if-widespread"]].concat()).expect_code(&[0]);
    assert_eq!(owners(), [USER.0, 0, 0]);
    host.guard(&["sweep"]).expect_code(&[14]);
    let call = ["remediate", "actions-runner-2", "lib", "--mode", "chown", "--apply", "--even-if-widespread"];
    host.guard(&call).expect_code(&[0]);
    host.guard(&["sweep"]).expect_code(&[0]);
    assert_eq!(owners(), [USER.0; 3]);
    // What only git sees counts as well: an object that is missing in one, and root's file in the other.
    std::fs::remove_file(first_file(&app.join(".git/objects"))).unwrap();
    write(&lib.join("roots"), "x");
    chown(lib.join("roots"), Some(0), Some(0)).unwrap();
    host.guard(&["sweep"]).expect_code(&[14]);
    assert_eq!(owner(&lib.join("roots")), 0);
    host.guard(&["remediate", "actions-runner-1", "app", "--mode", "reset", "--apply"]).expect_code(&[14]);
    host.guard(&[
        "remediate",
        "actions-runner-1",
        "app",
        "--mode",
        "reset",
        "--apply",
        "--even-if-widespread",
    ])
    .expect_code(&[0]);
    host.guard(&["sweep"]).expect_code(&[0]);
    assert_eq!(owner(&lib.join("roots")), USER.0);
}
