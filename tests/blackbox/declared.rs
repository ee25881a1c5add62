//! Caches outside of work directories: declared ones go under the whole proof, undeclared ones are told, and what is declared
//! too widely is refused. Also runners whose program lies in a package, and those that no glob names.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Canary, Fs, Host, MIB, Runner, SIGNATURE, plant_cache};
use std::fs::{create_dir_all, set_permissions, write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const STRANGER: u32 = 61_777;

/// Ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Scene {
    host: Host,
    runner: Runner,
    targets: PathBuf,
}

/// A host with a runner, and directories that `more` of a rule declares, in which everything is wanted.
fn scene(more: &str) -> Scene {
    let mut host = Host::on(Fs::Tmpfs { mib: 64, inodes: 20_000 });
    let targets = host.base.join("targets");
    create_dir_all(&targets).unwrap();
    set_permissions(&targets, PermissionsExt::from_mode(0o755)).unwrap();
    let rule = format!(
        "[[cache]]\nname = \"runs\"\nroots = [\"{}/*/run-*\"]\nmax_age = \"0\"\n{more}\n",
        targets.display()
    );
    host.configure(|settings| {
        settings.want_everything();
        settings.extra.clone_from(&rule);
    });
    let runner = host.runner("actions-runner-1").build();
    Scene { host, runner, targets }
}

impl Scene {
    fn run(&self, name: &str) -> PathBuf {
        let run = self.targets.join(name);
        plant_cache(&run, MIB, 2 * DAY);
        set_permissions(run.parent().unwrap(), PermissionsExt::from_mode(0o755)).unwrap();
        run
    }
}

fn hold(command: &str) -> Ended {
    let child = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", command])
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    let mut child = Ended(child);
    let mut line = [0; 3];
    std::io::Read::read_exact(child.0.stdout.as_mut().unwrap(), &mut line).expect("it says that it is up");
    child
}

#[test]
fn declared_caches_are_deleted_unless_in_use_or_exchangeable() {
    if !kit::sees_everything() {
        return;
    }
    let scene = scene("");
    let (dead, mounted, inside, young) =
        (scene.run("1/run-1"), scene.run("2/run-1"), scene.run("2/run-2"), scene.run("3/run-1"));
    write(young.join("fresh"), "x").unwrap();
    let at = scene.host.base.join("ws");
    create_dir_all(&at).unwrap();
    let (from, to) = (mounted.display(), at.display());
    let _container = hold(&format!("mount --bind {from} {to} && echo up && exec sleep 60"));
    let _process = hold(&format!("cd {} && echo up && exec sleep 60", inside.display()));
    // The host itself has a second name of it.
    let alias = scene.run("4/run-1");
    let second = scene.host.base.join("alias");
    create_dir_all(&second).unwrap();
    let mut scene = scene;
    scene.host.bind(&alias, &second);
    // Not of the rule's: without a marker, a checkout, a link, another name, somebody else's, one that others can exchange.
    let unmarked = scene.targets.join("5/run-1");
    create_dir_all(unmarked.join("d")).unwrap();
    let checkout = scene.run("5/run-2");
    create_dir_all(checkout.join(".git")).unwrap();
    let other = scene.run("5/other");
    symlink(&other, scene.targets.join("5/run-3")).unwrap();
    let foreign = scene.run("6/run-1");
    chown(&foreign, Some(STRANGER), Some(STRANGER)).unwrap();
    let exchanged = scene.run("7/run-1");
    set_permissions(scene.targets.join("7"), PermissionsExt::from_mode(0o777)).unwrap();

    let kept = [&mounted, &inside, &young, &alias, &checkout, &other, &foreign, &exchanged];
    let canaries: Vec<Canary> = kept.iter().map(|tree| Canary::of(tree)).collect();
    let sweep = scene.host.sweep();
    assert_eq!(sweep.outcome(&dead), "removed", "{:#}", sweep.0);
    assert!(!dead.exists());
    canaries.iter().for_each(Canary::assert_intact);
    assert!(unmarked.join("d").exists());
    for (tree, kind) in [
        (&mounted, "mount-inside"),
        (&inside, "process-inside"),
        (&young, "recent-content"),
        (&alias, "mount-inside"),
    ] {
        assert_eq!(sweep.outcome(tree), "kept");
        assert!(sweep.evidence(tree).contains(kind), "{kind}: {:#}", sweep.action(tree));
    }
    let notes = sweep.0["notes"].to_string();
    assert!(notes.contains("6/run-1 is left alone: it belongs to uid 61777"), "{notes}");
    assert!(notes.contains("7/run-1 is left alone: everybody can write"), "{notes}");
}

#[test]
fn a_job_of_a_runner_that_may_use_it_protects_it() {
    if !kit::sees_everything() {
        return;
    }
    for (runners, outcome) in
        [("", "kept"), ("runners = [\"other-*\"]", "removed"), ("runners = []", "removed")]
    {
        let scene = scene(runners);
        let run = scene.run("1/run-1");
        let mut listener = scene.runner.listen();
        let job = listener.begin_job("acme/widgets");
        let sweep = scene.host.sweep();
        assert_eq!(sweep.outcome(&run), outcome, "{runners}: {:#}", sweep.0);
        if outcome == "kept" {
            told_in_status_and_metrics(&scene, &run);
        }
        assert_eq!(sweep.evidence(&run).contains("worker-process"), outcome == "kept");
        job.finish(&mut listener);
        if outcome == "kept" {
            assert_eq!(scene.host.sweep().outcome(&run), "removed");
        }
        assert!(!run.exists());
    }
}

/// Of a cache that is in use.
fn told_in_status_and_metrics(scene: &Scene, run: &Path) {
    let status = scene.host.status();
    let [declared] = &status.0["declared"].as_array().unwrap()[..] else { panic!("{:#}", status.0) };
    assert_eq!(declared["path"], run.to_str().unwrap());
    assert_eq!(declared["runners"], serde_json::json!(["actions-runner-1"]));
    assert_eq!(declared["reclaimable"], false);
    assert!(declared["evidence"].to_string().contains("worker-process"), "{declared}");
    let bytes = declared["bytes"].as_u64().unwrap();
    assert!(bytes >= MIB);
    let metrics = scene.host.guard(&["metrics"]).expect_code(&[0]).stdout();
    for line in [
        format!("disk_guard_declared_bytes{{rule=\"runs\"}} {bytes}\n"),
        "disk_guard_declared_reclaimable_bytes{rule=\"runs\"} 0\n".to_owned(),
        format!("disk_guard_declared_blocked_bytes{{rule=\"runs\"}} {bytes}\n"),
    ] {
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

/// A sweep has looked, and is suspended before its rename. A job begins meanwhile, whose hook does not get the lock.
#[test]
fn a_hook_that_does_not_get_the_lock_fences_what_its_job_may_use_outside_of_its_work_directory() {
    if !kit::sees_everything() {
        return;
    }
    for below_a_mount in [false, true] {
        let mut scene = scene("");
        scene.host.configure(|settings| settings.lock_wait = "1s");
        let mut base = scene.targets.clone();
        if below_a_mount {
            // A disk of its own on the way to what the glob matches: it is claimed from there.
            base = base.join("1");
            scene.host.mount(Fs::Tmpfs { mib: 16, inodes: 2000 }, &base);
        }
        let run = scene.run("1/run-1");
        let mut listener = scene.runner.listen();
        // A runner of which nothing was seen is not served.
        let mut before = listener.begin_job("acme/app");
        before.hook_started().expect_ok();
        before.finish(&mut listener);
        let sweep = kit::Stopped::at(&scene.host.call(&["sweep", "--json"]), move |call| {
            call.number == nix::libc::SYS_renameat2
                && call.file(0).starts_with(&base)
                && call.text(1) == "run-1"
        });
        let mut job = listener.begin_job("acme/app");
        let hook = job.hook_started();
        assert_eq!(hook.code, 0, "{}", hook.text());
        assert!(hook.duration >= Duration::from_secs(1), "it has waited for the lock");
        let report = sweep.release().expect_code(&[0, 20]).report();
        // Not `restored`: it was never moved.
        assert_eq!(report.outcome(&run), "changed", "below a mount: {below_a_mount}: {:#}", report.0);
        assert!(run.join("CACHEDIR.TAG").exists());
        job.finish(&mut listener);
        assert_eq!(scene.host.sweep().outcome(&run), "removed");
    }
}

#[test]
fn roots_that_others_can_lead_elsewhere_are_refused_with_their_key_and_line() {
    if !kit::needs_root("gives directories away") {
        return;
    }
    let host = Host::new();
    let base = host.base.join("declared");
    for dir in ["ours/t", "open/t", "theirs/t"] {
        create_dir_all(base.join(dir)).unwrap();
    }
    set_permissions(base.join("open"), PermissionsExt::from_mode(0o777)).unwrap();
    chown(base.join("theirs"), Some(STRANGER), Some(STRANGER)).unwrap();
    chown(base.join("theirs/t"), Some(STRANGER), Some(STRANGER)).unwrap();
    symlink(base.join("ours"), base.join("link")).unwrap();
    let check = |root: &str, more: &str, code: i32| {
        let file = host.base.join("try.toml");
        let root = base.join(root).display().to_string();
        write(&file, format!("[[cache]]\nname = \"x\"\n{more}\nroots = [\"{root}\"]\n")).unwrap();
        host.guard(&["check-config", file.to_str().unwrap()]).expect_code(&[code]).stderr()
    };
    for (root, more, said) in [
        ("open/t/*", "", "everybody can write"),
        ("theirs/t/*", "", "uid 61777 can write"),
        ("link/t/*", "", "through a link"),
        ("open/not/there/*", "", "everybody can write"),
        ("theirs/not/there/*", "", "uid 61777 can write"),
        ("ours/t/*", "owner = \"no-such-user\"", "no such user"),
    ] {
        let stderr = check(root, more, 3);
        let line = if more.is_empty() { "line 4: cache.roots" } else { "line 3: cache.owner" };
        assert!(stderr.contains(line) && stderr.contains(said), "{root}: {stderr}");
    }
    for (root, more) in [("ours/t/*", ""), ("theirs/t/*", "owner = \"61777\""), ("not/there/yet/*", "")] {
        check(root, more, 0);
    }
}

#[test]
fn undeclared_caches_are_reported_with_a_rule_that_declares_them() {
    if !kit::sees_everything() {
        return;
    }
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    let beside = host.base.join("beside");
    let (by_env, by_link, by_mount) =
        (beside.join("cargo-target-1"), beside.join("linked"), beside.join("9/run-7"));
    for tree in [&by_env, &by_link, &by_mount] {
        plant_cache(tree, MIB, 2 * DAY);
    }
    let started = host.started_script();
    let env = format!(
        "CARGO_TARGET_DIR={}\nACTIONS_RUNNER_HOOK_JOB_STARTED={}\n",
        by_env.display(),
        started.display()
    );
    let runner = host.runner("actions-runner-1").env(&env).build();
    let checkout = runner.checkout("acme/widgets");
    symlink(&by_link, checkout.join("target")).unwrap();
    let venv = checkout.join(".venv");
    create_dir_all(venv.join("lib")).unwrap();
    write(venv.join("CACHEDIR.TAG"), format!("{SIGNATURE}\n# made by another tool\n")).unwrap();
    let at = host.base.join("ws");
    create_dir_all(&at).unwrap();
    let _container =
        hold(&format!("mount --bind {} {} && echo up && exec sleep 60", by_mount.display(), at.display()));
    let canaries = [&by_env, &by_link, &by_mount, &venv].map(|tree| Canary::of(tree));

    let notes =
        host.sweep().0["notes"].as_array().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    let note = |what: &Path| {
        let what = what.to_str().unwrap();
        notes.iter().find(|note| note.contains(what)).unwrap_or_else(|| panic!("{what}: {notes:#?}")).clone()
    };
    assert!(note(&by_env).contains("CARGO_TARGET_DIR in the `.env`"), "{notes:#?}");
    assert!(note(&by_link).contains("the link"), "{notes:#?}");
    assert!(note(&by_mount).contains("a mount of pid"), "{notes:#?}");
    assert!(note(&venv).contains("covered by no rule"), "{notes:#?}");
    canaries.iter().for_each(Canary::assert_intact);

    // With the rule that the note gives, it goes.
    let rule = note(&by_env);
    let rule = rule.split("`name`, ").nth(1).unwrap().split(" would declare").next().unwrap();
    let rule = rule.replace("\\\"", "\"").replace(", roots", "\nroots");
    host.configure(|settings| {
        settings.extra = format!("[[cache]]\nname = \"mine\"\n{rule}\nmax_age = \"0\"\n")
    });
    assert_eq!(host.sweep().outcome(&by_env), "removed");
}

#[test]
fn the_caches_of_other_tools_are_reported_each_with_a_rule_that_declares_it() {
    if !kit::sees_everything() {
        return;
    }
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    let beside = host.base.join("beside");
    let made = |below: &str, marker: &str| {
        let place = beside.join(below);
        create_dir_all(place.join(marker)).unwrap();
        write(place.join("content"), vec![1; MIB as usize]).unwrap();
        kit::grow_old(&place, 2 * DAY);
        place
    };
    let (npm, gradle, _maven) =
        (made("npm", "_cacache"), made("gradle/caches", "modules-2"), made("m2", "org"));
    let (by_unit, linked) = (beside.join("unit-target"), beside.join("linked"));
    for tree in [&by_unit, &linked] {
        plant_cache(tree, MIB, 2 * DAY);
    }
    // As Windows editors leave it, and the runner reads it: a byte order mark, lines that end at a lone CR, an earlier value.
    let env = format!(
        "\u{feff}npm_config_cache={}\r\nGRADLE_USER_HOME=/nowhere\rGRADLE_USER_HOME={}\n\
         PIP_CACHE_DIR=/gone\nPIP_CACHE_DIR=\nACTIONS_RUNNER_HOOK_JOB_STARTED={}\n",
        npm.display(),
        gradle.parent().unwrap().display(),
        host.started_script().display()
    );
    let runner = host.runner("actions-runner-1").env(&env).build();
    let checkout = runner.checkout("acme/widgets");
    create_dir_all(&checkout).unwrap();
    // A link of any name, and one that leads to no cache.
    symlink(&linked, checkout.join("out")).unwrap();
    symlink(&beside, checkout.join("other")).unwrap();
    let _listener = kit::Listener::start_with(&runner, &[("CARGO_TARGET_DIR", by_unit.to_str().unwrap())]);
    let told = |host: &Host| {
        let swept = host.sweep();
        let notes = swept.0["notes"].as_array().unwrap().clone();
        notes.iter().map(|note| note.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let notes = told(&host);
    assert!(!notes.iter().any(|note| note.contains("/gone") || note.contains("link other")), "{notes:#?}");
    let mut rules = String::new();
    for (n, tree) in [&npm, &gradle, &by_unit, &linked].into_iter().enumerate() {
        let begins = format!("{}, which ", tree.display());
        let note = notes
            .iter()
            .find(|note| note.starts_with(&begins))
            .unwrap_or_else(|| panic!("{begins}: {notes:#?}"));
        let rule = note.split("`name`, ").nth(1).unwrap().split(" would declare").next().unwrap();
        let rule = rule.replace(", owner", "\nowner").replace(", roots", "\nroots");
        rules.push_str(&format!("[[cache]]\nname = \"told-{n}\"\n{rule}\nmax_age = \"0\"\n"));
    }
    host.configure(|settings| settings.extra.clone_from(&rules));
    let swept = host.sweep();
    for tree in [&npm, &gradle, &by_unit, &linked] {
        assert_eq!(swept.outcome(tree), "removed", "{rules}\n{:#}", swept.0);
    }
    assert!(!told(&host).iter().any(|note| note.contains("is outside of the work directories")));
}

#[test]
fn a_cache_deleted_with_its_parent_is_protected_by_its_own_users_too() {
    if !kit::sees_everything() {
        return;
    }
    let mut scene = scene("runners = []");
    let outer = scene.run("1/run-1");
    plant_cache(&outer.join("inner"), MIB, 2 * DAY);
    let inner = format!("{}/*/*/inner", scene.targets.display());
    scene.host.configure(|settings| {
        let rule = format!("[[cache]]\nname = \"inner\"\nroots = [\"{inner}\"]\nmax_age = \"0\"\nrunners = [\"actions-runner-1\"]\n");
        settings.extra.push_str(&rule);
    });
    let mut listener = scene.runner.listen();
    let job = listener.begin_job("acme/widgets");
    let sweep = scene.host.sweep();
    assert_eq!(sweep.outcome(&outer), "kept", "{:#}", sweep.0);
    assert!(sweep.evidence(&outer).contains("worker-process"), "{:#}", sweep.0);
    job.finish(&mut listener);
    assert_eq!(scene.host.sweep().outcome(&outer), "removed");
}

/// A packaged runner: the program in a store for all, the state elsewhere, work in a directory of its own.
struct Packaged {
    host: Host,
    runner: Runner,
    cache: PathBuf,
    listener: PathBuf,
    worker: PathBuf,
}

impl Packaged {
    fn new() -> Self {
        let mut host = Host::new();
        host.configure(|settings| settings.want_everything());
        let runner = host.runner("actions-runner-1").build();
        let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
        let store = host.base.join("store/lib/github-runner");
        create_dir_all(&store).unwrap();
        let program = |name: &str| {
            let place = store.join(name);
            std::fs::copy("/bin/sh", &place).unwrap();
            place
        };
        let (listener, worker) = (program("Runner.Listener"), program("Runner.Worker"));
        Self { host, runner, cache, listener, worker }
    }

    /// A Listener that works in `place`; what it runs is `script`, which says when it is there.
    fn start(&self, place: &Path, root: Option<&Path>, script: &str) -> Ended {
        let mut command = Command::new(&self.listener);
        command.args(["-c", script]).current_dir(place).env_remove("RUNNER_ROOT");
        if let Some(root) = root {
            command.env("RUNNER_ROOT", root);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut line = [0; 3];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        Ended(child)
    }

    fn work(&self, place: &Path, root: Option<&Path>) -> Ended {
        self.start(place, root, &format!("{} -c 'echo up; sleep 60; :'; :", self.worker.display()))
    }

    /// The whole tree of processes that begins with a Listener.
    fn end(started: Ended) {
        let group = format!("-{}", started.0.id());
        assert!(Command::new("kill").args(["-9", "--", &group]).status().unwrap().success());
    }

    fn until_idle(&self) {
        let is_idle = || (self.host.status().runner("actions-runner-1")["state"] == "idle").then_some(());
        kit::until("nothing but its Listener is left", is_idle);
    }
}

/// As nixpkgs has it: the Listener waits in the work directory.
#[test]
fn a_packaged_runner_is_idle_while_its_listener_waits_and_busy_while_its_worker_works() {
    if !kit::sees_everything() {
        return;
    }
    let scene = Packaged::new();
    let (work, root) = (&scene.runner.work, Some(scene.runner.root.as_path()));
    let working = scene.work(work, root);
    let sweep = scene.host.sweep();
    assert_eq!(sweep.outcome(&scene.cache), "kept", "{:#}", sweep.0);
    assert!(sweep.evidence(&scene.cache).contains("worker-process"), "{:#}", sweep.action(&scene.cache));
    Packaged::end(working);
    // It waits in the work directory, and for nothing but a job.
    let _waiting = scene.start(work, root, "echo up; read line");
    scene.until_idle();
    assert_eq!(scene.host.sweep().outcome(&scene.cache), "removed");
}

/// No environment names the root: what the configuration declares as a package's programs is told by where its Listener works.
#[test]
fn a_declared_program_without_runner_root_is_attributed_by_its_listeners_directory_or_log() {
    if !kit::sees_everything() {
        return;
    }
    let mut scene = Packaged::new();
    let other = scene.host.runner("actions-runner-2").user(STRANGER, STRANGER).build();
    let other_cache = other.cache("acme/widgets", "target", MIB, 2 * DAY);
    let evidence = |scene: &Packaged, place: &Path| {
        let working = scene.work(place, None);
        let plan = scene.host.plan();
        Packaged::end(working);
        (plan.action(&scene.cache)["evidence"].to_string(), plan.action(&other_cache)["evidence"].to_string())
    };
    let work = scene.runner.work.clone();
    // Undeclared, nobody can tell whose job that is: all are unknown.
    let (own, of_other) = evidence(&scene, &work);
    assert!(
        own.contains("unattributed-worker") && of_other.contains("unattributed-worker"),
        "{own} {of_other}"
    );
    let programs = format!("{}/sto*/lib/github-runner", scene.host.base.display());
    scene.host.configure(|settings| settings.programs = vec![programs]);
    for place in [&work, &scene.runner.root.clone()] {
        let (own, of_other) = evidence(&scene, place);
        assert!(own.contains("worker-process"), "{}: {own}", place.display());
        assert!(!of_other.contains("worker"), "{}: {of_other}", place.display());
    }
    // Elsewhere its log tells.
    let elsewhere = scene.host.base.clone();
    let (own, _) = evidence(&scene, &elsewhere);
    assert!(own.contains("unattributed-worker") && own.contains("runners.programs"), "{own}");
    create_dir_all(scene.runner.root.join("_diag")).unwrap();
    let log = scene.runner.root.join("_diag/Runner_20380102-030405-utc.log");
    let script = format!("exec 9>{}; {} -c 'echo up; sleep 60; :'; :", log.display(), scene.worker.display());
    let working = scene.start(&elsewhere, None, &script);
    let plan = scene.host.plan();
    assert!(plan.evidence(&scene.cache).contains("worker-process"), "{:#}", plan.0);
    assert!(!plan.evidence(&other_cache).contains("unattributed-worker"), "{:#}", plan.0);
    Packaged::end(working);
    // A user's program says nothing of another user's runner.
    let (own, of_other) = evidence(&scene, &other.work);
    assert!(
        own.contains("unattributed-worker") && of_other.contains("unattributed-worker"),
        "{own} {of_other}"
    );
    let _waiting = scene.start(&work, None, "echo up; read line");
    scene.until_idle();
    let sweep = scene.host.sweep();
    assert_eq!(sweep.outcome(&scene.cache), "removed", "the control: {:#}", sweep.0);
}

#[test]
fn a_listener_outside_every_glob_is_reported_with_a_glob_that_adds_it() {
    if !kit::sees_everything() {
        return;
    }
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    let known = host.runner("actions-runner-1").build().cache("acme/widgets", "target", MIB, 2 * DAY);
    let stranger = host.runner_at(&host.base.join("elsewhere/ci-7")).build();
    let canary = Canary::of(&stranger.cache("acme/widgets", "target", MIB, 2 * DAY));
    let listener = stranger.listen();
    let root = stranger.root.to_str().unwrap();
    let doctor = host.guard(&["doctor", "--json"]).expect_code(&[1]).report();
    let checks = doctor.0["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == format!("not-named:{root}")).unwrap();
    assert_eq!(check["state"], "fail", "{check}");
    assert!(check["fix"].to_string().contains(root), "{check}");
    let sweep = host.sweep();
    assert!(sweep.0["notes"].to_string().contains(root), "{:#}", sweep.0["notes"]);
    canary.assert_intact();
    assert_eq!(sweep.outcome(&known), "removed", "who is named is served");
    drop(listener);
}

/// What is switched off is in the metrics as in the documents.
#[test]
fn a_rule_that_is_switched_off_shows_in_status_and_metrics() {
    let mut host = Host::new();
    host.configure(|settings| {
        settings.extra.push_str("[[cache]]\nname = \"runs\"\nroots = [\"/srv/none/*\"]\nenabled = false\n")
    });
    host.runner("actions-runner-1").build();
    let rules =
        serde_json::json!([{"name": "cargo-target", "enabled": true}, {"name": "runs", "enabled": false}]);
    assert_eq!(host.status().0["rules"], rules);
    let metrics = host.guard(&["metrics"]).expect_code(&[0]).stdout();
    for line in
        ["disk_guard_rule_enabled{rule=\"cargo-target\"} 1\n", "disk_guard_rule_enabled{rule=\"runs\"} 0\n"]
    {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn no_runner_at_all_is_no_met_goal() {
    if !kit::sees_everything() {
        return;
    }
    let mut host = Host::new();
    // Whatever the disk of the machine is filled with.
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let sweep = host.guard(&["sweep", "--json"]).expect_code(&[20]).report();
    assert_eq!(sweep.0["goal_met"], false, "{:#}", sweep.0);
    assert_eq!(host.plan().0["goal_met"], false);
    host.runner("actions-runner-1").build();
    let sweep = host.guard(&["sweep", "--json"]).expect_code(&[0]).report();
    assert_eq!(sweep.0["goal_met"], true, "{:#}", sweep.0);
}
