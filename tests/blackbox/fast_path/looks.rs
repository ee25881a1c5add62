//! How often one run looks at what changes slowly: for the runners, at its own mount table, at the list of processes.
//!
//! A phase looks once and hands down what it has seen (`observe::snapshot`). Proofs look again, so under pressure there are more.

use super::kit::{Call, Entry, Host, MIB, Runner, Settings, calls_of, needs_root};
use super::{DAY, calm};
use nix::libc;
use std::path::PathBuf;

/// How often each was looked at.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd)]
struct Looks {
    /// Discoveries: how often the settings of the first runner were opened.
    runners: usize,
    /// How often the mount table of its own namespace was opened.
    mounts: usize,
    /// How often the list of all processes was read from its beginning.
    processes: usize,
}

impl Looks {
    /// What `call` asks of the kernel until it ends.
    fn of(call: &Call, host: &Host, runner: &Runner) -> Self {
        let (run, calls) = calls_of(call, &host.program(), |entry| (entry.number, named(entry)));
        // What it finds on this machine decides over the exit code of some verbs.
        assert!(run.code.is_some_and(|code| code < 64), "{:?} {}", run.code, run.stderr());
        let settings = runner.root.join(".runner");
        let mut looks = Self::default();
        // Whether the list of processes is at its beginning: a handle is opened or wound back, then read piece by piece.
        let mut at_beginning = false;
        for (number, path) in calls {
            match number {
                libc::SYS_getdents64 if path.as_os_str() == "/proc" => {
                    looks.processes += usize::from(at_beginning);
                    at_beginning = false;
                }
                libc::SYS_getdents64 => {}
                libc::SYS_lseek => at_beginning |= path.as_os_str() == "/proc",
                _ => {
                    looks.runners += usize::from(path == settings);
                    looks.mounts += usize::from(path.as_os_str() == "/proc/self/mountinfo");
                    at_beginning |= path.as_os_str() == "/proc";
                }
            }
        }
        looks
    }
}

/// The path of what is opened, listed or wound back.
fn named(entry: &Entry) -> PathBuf {
    match entry.number {
        libc::SYS_openat | libc::SYS_openat2 => entry.file(0).join(entry.text(1)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => entry.text(0).into(),
        libc::SYS_getdents64 | libc::SYS_lseek => entry.file(0),
        _ => PathBuf::new(),
    }
}

/// Three runners with a cache each, on a host that has been swept before.
fn host(change: impl FnOnce(&mut Settings)) -> (Host, Vec<Runner>) {
    let mut host = calm();
    let metrics = host.base.join("metrics.prom");
    host.configure(|settings| {
        settings.extra = format!("[metrics]\ntextfile = {:?}\n", metrics.display().to_string());
        change(settings);
    });
    let runners: Vec<Runner> =
        (1..=3).map(|number| host.runner(&format!("actions-runner-{number}")).build()).collect();
    host.sweep();
    for runner in &runners {
        runner.cache("acme/app", "target", MIB, 3 * DAY);
    }
    (host, runners)
}

#[test]
fn a_calm_sweep_looks_for_the_runners_once_a_phase() {
    let (host, runners) = host(|_| {});
    let looks = Looks::of(&host.call(&["sweep"]), &host, &runners[0]);
    println!("{looks:?}");
    assert!(host.base.join("metrics.prom").exists(), "the report's phase took place");
    assert_eq!(looks.runners, 3, "before, when it decides, and for what it tells: {looks:?}");
    // Beside one of each discovery: two for mounts that may not answer, one of each look at all processes, one of the look at Workers
    // before sizing (`cycle::sizing`), and one for the groups.
    assert!((5..=9).contains(&looks.mounts), "{looks:?}");
    // Its decision and its report, each twice on a host with containers; and what deleted files hold.
    assert!((2..=6).contains(&looks.processes), "{looks:?}");
}

#[test]
fn read_only_verbs_discover_the_runners_once() {
    let (host, runners) = host(|_| {});
    for verb in
        [&["status"][..], &["plan"], &["doctor"], &["audit"], &["metrics"], &["postmortem"], &["forecast"]]
    {
        let looks = Looks::of(&host.call(verb), &host, &runners[0]);
        println!("{verb:?}: {looks:?}");
        assert_eq!(looks.runners, 1, "{verb:?}: {looks:?}");
        assert!(looks.mounts <= 6 && looks.processes <= 3, "{verb:?}: {looks:?}");
    }
}

#[test]
fn a_claim_rests_on_looks_of_its_own() {
    if !needs_root("a sweep proves runners idle") {
        return;
    }
    let (mut host, runners) = host(|_| {});
    let calm = Looks::of(&host.call(&["sweep"]), &host, &runners[0]);
    host.configure(|settings| {
        settings.want_everything();
        settings.allow_unguarded = true;
    });
    let pressed = Looks::of(&host.call(&["sweep"]), &host, &runners[0]);
    println!("{calm:?} {pressed:?}");
    assert!(runners.iter().all(|runner| !runner.work.join("app/app/target").exists()), "it has claimed");
    // Before the renames and after them, and a round that finds nothing more.
    assert!(pressed.processes >= calm.processes + 2, "{calm:?} {pressed:?}");
    assert!((4..=5).contains(&pressed.runners), "a round has a discovery of its own: {pressed:?}");
}

#[test]
fn a_hook_looks_for_siblings_only_under_pressure_and_then_once_a_round() {
    let (mut host, runners) = host(|_| {});
    let hook = runners[0].hook_below_a_worker(&host, "started");
    let healthy = Looks::of(&hook, &host, &runners[0]);
    assert_eq!(healthy, Looks { runners: 1, mounts: 0, processes: 0 }, "its own settings alone");
    host.configure(|settings| settings.want_everything());
    let pressed = Looks::of(&runners[0].hook_below_a_worker(&host, "started"), &host, &runners[0]);
    println!("{healthy:?} {pressed:?}");
    assert!(pressed.processes > 0, "{pressed:?}");
    assert!(pressed.runners <= 6, "{pressed:?}");
}
