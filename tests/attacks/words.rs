//! What is forged and what is said: leases, tickets, requests, locks, environment, mappings, names.

use crate::attacker::{Attacker, hold};
use crate::kit::{Canary, MIB, needs_root, parse_as_runner, process_state};
use crate::scene::{DAY, HOSTILE, Scene, bounded};
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A lease on `root` in the name of a live process of the attacker's own, as the guard writes them, but for what `change` does.
fn lease(root: &Path, worker: i32, change: impl FnOnce(&mut serde_json::Value)) -> (String, String) {
    let id = fs::metadata(root).expect("it is there");
    let (_, start) = process_state(worker).expect("it lives");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("/proc is mounted");
    let namespace = fs::metadata("/proc/self/ns/pid").expect("/proc is mounted").ino();
    let mut lease = json!({
        "worker_pid": worker, "worker_start": start, "boot_id": boot.trim(), "pid_namespace": namespace,
        "root": root, "root_dev": id.dev(), "root_ino": id.ino(), "work": null, "repository": "acme/forged",
        "run_id": "1", "job": "\n::error::forged", "since_unix": 4_102_444_800_u64,
    });
    change(&mut lease);
    (format!("{:x}-{:x}-{worker}-{start}", id.dev(), id.ino()), lease.to_string())
}

#[test]
fn forged_leases_protect_and_do_nothing_else() {
    if !needs_root("leases of several users") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let leases = scene.host.run_dir().join("leases");
    let bait = scene.bait("acme/widgets");
    let own = |path: &Path| {
        std::os::unix::fs::lchown(path, Some(HOSTILE.0), Some(HOSTILE.1)).expect("root gives away")
    };
    let write = |name: &str, text: &[u8]| {
        fs::write(leases.join(name), text).expect("a lease");
        own(&leases.join(name));
    };
    // What tells nothing speaks at most of what its writer owns.
    write("garbage", b"\xff\x00{");
    write("huge", &vec![b'['; 1 << 20]);
    write("nested", "[".repeat(16_000).as_bytes());
    fs::create_dir(leases.join("directory")).expect("a directory");
    symlink(scene.precious.join("widgets/widgets/target/CACHEDIR.TAG"), leases.join("link")).expect("a link");
    nix::unistd::mkfifo(&leases.join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    ["directory", "link", "fifo"].iter().for_each(|name| own(&leases.join(name)));
    let report = scene.sweep();
    assert_eq!(report.outcome(&bait), "kept", "{:#}", report.0);
    assert!(report.evidence(&bait).contains("lease"), "{:#}", report.action(&bait));
    let status = scene.host.status();
    assert_eq!(status.runner(&scene.innocent.name)["state"], "idle");
    for entry in fs::read_dir(&leases).expect("it is there").flatten() {
        let _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir(entry.path()));
    }

    // One in due form protects whom it names, for as long as its process lives; one that is dead protects nobody.
    let control = scene.control();
    let holder = hold("nothing", Path::new("/"));
    let (name, text) = lease(&scene.innocent.root, holder.pid(), |_| ());
    write(&name, text.as_bytes());
    let report = bounded(&scene.host.call(&["sweep", "--json"])).run.expect_code(&[0, 20]).report();
    assert_eq!(report.outcome(&control), "kept", "{:#}", report.0);
    assert!(report.evidence(&control).contains("lease"), "{:#}", report.0);
    drop(holder);
    assert!(control.exists());
    let report = scene.sweep();
    assert_eq!(report.outcome(&control), "removed", "{:#}", report.0);
    assert!(!leases.join(&name).exists(), "the sweep takes the lease of the dead away");
}

#[test]
fn a_broken_lease_keeps_its_runner_only_as_long_as_the_process_in_its_name_lives() {
    if !needs_root("leases of several users") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let leases = scene.host.run_dir().join("leases");
    fs::create_dir_all(&leases).expect("a directory");
    for broken in ["", "{", r#"{"worker_pid":1}"#] {
        let control = scene.control();
        let holder = hold("nothing", Path::new("/"));
        let (name, _) = lease(&scene.innocent.root, holder.pid(), |_| ());
        fs::write(leases.join(&name), broken).expect("a lease");
        std::os::unix::fs::lchown(leases.join(&name), Some(HOSTILE.0), Some(HOSTILE.1))
            .expect("root gives away");
        let report = bounded(&scene.host.call(&["sweep", "--json"])).run.expect_code(&[0, 20]).report();
        assert_eq!(report.outcome(&control), "kept", "{broken:?}: {:#}", report.0);
        assert!(report.evidence(&control).contains("lease"), "{broken:?}: {:#}", report.0);
        drop(holder);
        let report = scene.sweep();
        assert_eq!(report.outcome(&control), "removed", "{broken:?}: {:#}", report.0);
        assert!(!leases.join(&name).exists(), "{broken:?}: the sweep takes it away");
    }
}

#[test]
fn a_lease_that_is_removed_or_forged_frees_nothing_of_a_live_job() {
    if !needs_root("leases of several users") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let busy = scene.host.runner("actions-runner-busy").user(12_004, HOSTILE.1).build();
    let mut listener = busy.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    let cache = busy.cache("acme/widgets", "target", MIB, 2 * DAY);
    scene.cherish(&cache);
    let [real] = scene.host.leases().try_into().expect("one lease");
    for forged in [None, Some(r#"{"worker_pid":1}"#), Some("")] {
        let _ = fs::remove_file(&real);
        if let Some(text) = forged {
            fs::write(&real, text).expect("a lease");
        }
        let (name, text) =
            lease(&busy.root, std::process::id() as i32, |lease| lease["worker_start"] = 1.into());
        fs::write(real.with_file_name(name), text).expect("a lease of the dead");
        let report = scene.sweep();
        assert_eq!(report.outcome(&cache), "kept", "{:#}", report.0);
        assert!(report.evidence(&cache).contains("worker-process"), "{:#}", report.0);
    }
    job.finish(&mut listener);
}

#[test]
fn forged_tickets_and_requests_reach_nothing_but_their_runners_own_caches() {
    if !needs_root("tickets of several users") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let run = scene.host.run_dir();
    let mut listener = scene.innocent.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    let wanted = scene.innocent.cache("acme/widgets", "target", MIB / 4, 2 * DAY);
    let id = fs::metadata(&scene.innocent.root).expect("it is there");
    let precious = scene.precious.join("widgets/widgets/target").display().to_string();
    let caches = [
        "widgets/widgets/target",
        "widgets/widgets",
        "source/source/src",
        "_tool",
        ".",
        "",
        "..",
        "/",
        &precious,
        "../../precious/widgets/widgets/target",
        "widgets/widgets/target/../src",
        "\n::error::x",
        "\u{0}",
    ];
    for (name, text) in [
        (
            format!("tickets/{:x}-{:x}", id.dev(), id.ino()),
            json!({"schema": 1, "caches": caches}).to_string(),
        ),
        ("requests/\n::error::request".into(), "##[add-mask]x".into()),
        ("requests/0-0".into(), json!({"path": precious}).to_string()),
    ] {
        fs::write(run.join(&name), text).expect("a record");
        std::os::unix::fs::chown(run.join(&name), Some(HOSTILE.0), Some(HOSTILE.1)).expect("root gives away");
    }
    let hook = job.hook_completed().expect_ok();
    assert!(!wanted.exists(), "its own declared cache\n{}", hook.text());
    assert!(wanted.parent().expect("a checkout").join("src/lib.rs").exists());
    scene.assert_intact();
    job.finish(&mut listener);
    scene.sweep();
    assert_eq!(
        fs::read_dir(run.join("requests")).expect("it is there").count(),
        0,
        "the sweep has taken them"
    );
}

#[test]
fn a_lock_that_a_job_holds_for_ever_costs_a_bounded_wait() {
    if !needs_root("locks of several users") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    scene.host.configure(|settings| settings.lock_wait = "1s");
    let control = scene.control();
    let canary = Canary::of(&control);
    let mut listener = scene.innocent.listen();
    let mut job = listener.begin_job("acme/app");
    let holder = hold("flock", &scene.host.host_lock());
    let hook = job.hook_started().expect_ok();
    assert_eq!(hook.parsed().annotations.len(), 1, "{}", hook.text());
    job.finish(&mut listener);
    let began = Instant::now();
    let ran = bounded(&scene.host.call(&["sweep", "--json"]));
    ran.assert_modest();
    ran.run.expect_code(&[75]);
    assert!(began.elapsed() >= Duration::from_secs(1), "it waits");
    let status = scene.host.status();
    assert_eq!(status.0["lock"]["holders"][0]["pid"], holder.pid(), "{:#}", status.0["lock"]);
    canary.assert_intact();
    drop(holder);
    let report = scene.sweep();
    assert_eq!(report.outcome(&control), "removed", "{:#}", report.0);
}

#[test]
fn a_poisoned_environment_and_a_poisoned_mapping_lead_nowhere() {
    if !needs_root("jobs of several users") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let (own, victims) = (scene.bait("acme/widgets"), scene.control());
    scene.cherish(&victims);
    let victim = victims.parent().expect("a checkout").display().to_string();
    let precious = scene.precious.display().to_string();
    let config = scene.host.base.join("forged.toml");
    fs::write(&config, format!("[runners]\nroots = [\"{precious}\"]\n")).expect("a file");
    let config = config.display().to_string();
    for mapping in ["a way out", "a link", "a FIFO", "garbage"] {
        scene.bait("acme/widgets");
        let mut listener = scene.hostile.listen();
        listener.receive();
        let mut job = listener.start_worker("acme/app");
        let failures = job.prepare(&[
            ("RUNNER_NAME", &scene.innocent.name),
            ("RUNNER_WORKSPACE", &precious),
            ("GITHUB_WORKSPACE", &victim),
            ("GITHUB_REPOSITORY", "acme/control1\n::error::x"),
            ("GITHUB_REF", "##[add-mask]x"),
            ("GITHUB_JOB", "x\r::stop-commands::y"),
            ("GITHUB_RUN_ID", "../../../../etc"),
            ("DISK_GUARD_CONFIG", &config),
            ("XDG_CONFIG_HOME", &precious),
            ("HOME", &precious),
            ("TMPDIR", &precious),
            ("RUST_LOG", "trace"),
            ("RUST_BACKTRACE", "full"),
            ("COLUMNS", "1"),
            ("TERM", "xterm"),
            ("NO_COLOR", ""),
            ("CLICOLOR_FORCE", "1"),
        ]);
        assert!(failures.is_empty(), "{failures:?}");
        let place = scene.hostile.work.join("_PipelineMapping/acme/app/PipelineFolder.json");
        let _ = fs::remove_file(&place);
        fs::create_dir_all(place.parent().expect("a parent")).expect("a directory");
        let out = "../../actions-runner-innocent/_work/control1";
        match mapping {
            "a way out" => {
                fs::write(&place, json!({"repositoryName": "acme/app", "pipelineDirectory": out}).to_string())
                    .expect("a file")
            }
            "a link" => symlink(scene.precious.join("widgets"), &place).expect("a link"),
            "a FIFO" => nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO"),
            _ => fs::write(&place, b"\xef\xbb\xbf{\"pipelineDirectory\": [[[").expect("a file"),
        }
        scene.hostile.own(&scene.hostile.work.join("_PipelineMapping"));
        let hook = job.hook_started().expect_ok();
        assert!(!own.exists(), "{mapping}: its own goes\n{}", hook.text());
        scene.assert_intact();
        job.hook_completed().expect_ok();
        job.finish(&mut listener);
        // Left there, it would be in the way of the runner itself.
        fs::remove_file(&place).expect("the mapping");
    }
}

/// Names that a runner, a terminal or a reader could take for something else.
const NAMES: [&[u8]; 8] = [
    b"target-\n::error::cache",
    b"target-\r::stop-commands::x",
    b"target-##[add-mask]x",
    b"target-::set-env name=PATH::x",
    b"target-\x1b[2J\x1b]0;title\x07",
    b"target-\xe2\x80\xae\xe2\x80\x8b",
    b"target-\xff\xfe\x9b31m",
    b"target-%0A::warning::x",
];

#[test]
fn no_name_becomes_a_command_anywhere() {
    if !needs_root("sweeps a hostile user's tree") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let plant = |scene: &Scene| -> Vec<PathBuf> {
        let checkout = scene.hostile.checkout("acme/widgets");
        let place = |name: &&[u8]| {
            let odd = checkout.join(OsStr::from_bytes(name));
            fs::rename(scene.hostile.cache("acme/odd", "target", 4096, 2 * DAY), &odd).expect("our own tree");
            odd
        };
        NAMES.iter().map(place).collect()
    };
    // A job's own log, of the hostile runner and of one that has to look at it.
    plant(&scene);
    let control = scene.control();
    for runner in [&scene.innocent, &scene.hostile] {
        let mut listener = runner.listen();
        let mut job = listener.begin_job("acme/app");
        let hook = job.hook_started().expect_ok();
        assert_plain(hook.text().as_bytes());
        assert_eq!(hook.parsed().groups, 1, "it has something to tell\n{}", hook.text());
        job.finish(&mut listener);
    }
    assert!(!control.exists());
    // What people see, and the journal's text.
    let planted = plant(&scene);
    for command in [&["plan"][..], &["status"], &["doctor"], &["sweep"]] {
        let run = scene.host.guard(command);
        let parsed = parse_as_runner(&run.stdout, &run.stderr);
        assert!(parsed.unexpected.is_empty() && parsed.annotations.is_empty(), "{command:?}: {parsed:?}");
        assert_plain(&run.stdout);
        assert_plain(&run.stderr);
    }
    assert!(planted.iter().all(|cache| !cache.exists()), "the sweep removes them all");
    plant(&scene);
    scene.sweep();
}

/// Nothing but text and line ends.
#[track_caller]
fn assert_plain(output: &[u8]) {
    let text = std::str::from_utf8(output).expect("what is shown is UTF-8");
    let odd = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(*c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let found: Vec<char> = text.chars().filter(odd).collect();
    assert!(found.is_empty(), "{found:?} in\n{text}");
}

#[test]
fn a_rename_storm_in_the_checkout_while_everything_is_looked_at_is_no_error() {
    if !needs_root("sweeps what a hostile user moves about") {
        return;
    }
    let mut scene = Scene::in_memory(100_000);
    let checkout = scene.hostile.checkout("acme/widgets");
    for number in 0..16 {
        let cache = checkout.join(format!("d{number}/target"));
        crate::kit::plant_cache(&cache, 4096, 2 * DAY);
    }
    scene.hostile.own(&checkout);
    let mut attacker = Attacker::start(Some(HOSTILE), "storm", &[&checkout]);
    for _ in 0..3 {
        scene.sweep();
        attacker.assert_raced();
    }
}
