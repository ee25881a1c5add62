//! What a real journald receives, what happens without one, and that a stuck one holds nobody up.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Holder, Host, Journald, MIB, in_own_run, needs_journald, plant_cache};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use disk_guard::report::events::{Event, EventKind};
use disk_guard::report::journal::{self, Sink};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

type Entry = Map<String, Value>;

/// Every field that the contract names; `_PATH_BYTES` is the exact form of a `_PATH` that is not UTF-8.
const FIELDS: [&str; 19] = [
    "EVENT",
    "RUNNER",
    "PATH",
    "PATH_BYTES",
    "BYTES",
    "REASON",
    "EVIDENCE",
    "USED_PERCENT",
    "REPOSITORY",
    "RUN_ID",
    "JOB",
    "PHASE",
    "DURATION_MS",
    // What ties a run's entries together.
    "RULE",
    "SCOPE",
    "HOOK_RUNNER",
    "RUN",
    "SEQUENCE",
    "SUMMARY",
];

/// For each kind of event that the scenarios cause: its priority, and the fields that every one of the kind has.
const KINDS: [(&str, &str, &[&str]); 11] = [
    ("run-begun", "6", &["RUN", "SCOPE"]),
    ("run-ended", "6", &["BYTES", "DURATION_MS", "REASON", "RUN", "SCOPE"]),
    ("pressure", "4", &["PATH", "REASON", "USED_PERCENT"]),
    ("claimed", "6", &["BYTES", "PATH", "REASON", "RUNNER"]),
    ("removed", "6", &["BYTES", "DURATION_MS", "PATH", "REASON", "RUNNER"]),
    ("kept", "6", &["BYTES", "DURATION_MS", "EVIDENCE", "PATH", "REASON", "RUNNER"]),
    ("refused", "4", &["JOB", "REPOSITORY", "RUNNER", "RUN_ID"]),
    ("lock-timeout", "4", &["DURATION_MS"]),
    ("lease", "6", &["JOB", "PHASE", "REPOSITORY", "RUNNER", "RUN_ID"]),
    ("sweep", "6", &["BYTES", "DURATION_MS", "REASON"]),
    ("error", "3", &[]),
];

/// Every disk is under pressure that nothing relieves.
fn pressed() -> Host {
    let mut host = Host::new();
    host.configure(|settings| settings.want_everything());
    host
}

/// A host on which every kind of event in [`KINDS`] has happened, and what the guard wrote to standard error meanwhile.
struct Story {
    _host: Host,
    /// A cache of which the name holds a line break and bytes that are no UTF-8; it is gone.
    odd: PathBuf,
    /// A cache that is kept because its runner is busy.
    kept: PathBuf,
    stderr: String,
}

fn story() -> Story {
    let mut host = pressed();
    let own = host.runner("actions-runner-1").build();
    let busy = host.runner("actions-runner-2").build();
    let odd = own.checkout("acme/widgets").join(OsStr::from_bytes(b"target-\n::error::caf\xe9"));
    plant_cache(&odd, MIB, 2 * DAY);
    let kept = busy.cache("acme/widgets", "target", MIB, 2 * DAY);
    let mut stderr = Vec::new();

    let mut busy_listener = busy.listen();
    let mut busy_job = busy_listener.begin_job("acme/widgets");
    let mut listener = own.listen();
    let mut job = listener.begin_job("acme/app");
    let hook = job.hook_started().expect_ok();
    assert!(!odd.exists() && kept.exists(), "{}", hook.text());
    stderr.extend(hook.stderr);
    stderr.extend(host.guard(&["sweep"]).expect_code(&[0, 20]).stderr);
    stderr.extend(job.hook_completed().expect_ok().stderr);
    job.finish(&mut listener);

    host.configure(|settings| settings.lock_wait = "100ms");
    let holder = Holder::new("flock", &host.host_lock());
    let mut job = listener.begin_job("acme/app");
    stderr.extend(job.hook_started().expect_ok().stderr);
    job.finish(&mut listener);
    // The person who waits for a sweep is told in words, too.
    let sweep = host.guard(&["sweep"]).expect_code(&[75]).stderr();
    let (words, events): (Vec<_>, Vec<_>) =
        sweep.split_inclusive('\n').partition(|line| line.starts_with("disk-guard: the host lock in"));
    assert_eq!(words.len(), 1, "{sweep}");
    stderr.extend(events.concat().into_bytes());
    drop(holder);

    host.configure(|settings| (settings.critical, settings.on_exhausted) = (1, "refuse"));
    let mut job = listener.begin_job("acme/app");
    let hook = job.hook_started();
    assert_eq!(hook.code, 1, "{}", hook.text());
    stderr.extend(hook.stderr);
    job.finish(&mut listener);

    std::fs::write(host.config(), "[pressure]\nhihg = 5\n").expect("our own file");
    stderr.extend(busy_job.hook_completed().expect_ok().stderr);
    busy_job.finish(&mut busy_listener);
    Story { _host: host, odd, kept, stderr: String::from_utf8(stderr).expect("escaped, so UTF-8") }
}

fn text<'a>(entry: &'a Entry, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_else(|| panic!("{field} is no text: {entry:?}"))
}

fn kind(entry: &Entry) -> &str {
    text(entry, "DISK_GUARD_EVENT")
}

/// The one entry of this kind about `path`.
fn about<'a>(entries: &'a [Entry], wanted: &str, path: &str) -> Vec<&'a Entry> {
    entries.iter().filter(|e| kind(e) == wanted && e["DISK_GUARD_PATH"] == path).collect()
}

#[test]
fn every_event_arrives_with_the_fields_of_the_contract() {
    if !needs_journald() {
        return;
    }
    in_own_run(|| {
        let journald = Journald::start();
        let story = story();
        assert!(story.stderr.is_empty(), "the journal has it all: {}", story.stderr);
        let entries = journald.entries();
        for entry in &entries {
            assert_is_of_the_contract(entry);
        }
        let seen: BTreeSet<&str> = entries.iter().map(kind).collect();
        assert_eq!(seen, KINDS.iter().map(|(kind, ..)| *kind).collect(), "{entries:#?}");
        let ids: BTreeMap<&str, &str> = entries.iter().map(|e| (kind(e), text(e, "MESSAGE_ID"))).collect();
        assert_eq!(ids.values().collect::<BTreeSet<_>>().len(), seen.len(), "one id a kind: {ids:?}");

        let lease = entries.iter().find(|e| kind(e) == "lease").expect("a hook writes a lease");
        let of_job =
            ["RUNNER", "REPOSITORY", "RUN_ID", "JOB"].map(|f| text(lease, &format!("DISK_GUARD_{f}")));
        assert_eq!(of_job, ["actions-runner-1", "acme/app", "901", "build"]);
        let held_up = entries.iter().filter(|entry| kind(entry) == "lock-timeout");
        let whose: Vec<_> = held_up.map(|entry| entry.get("DISK_GUARD_RUNNER")).collect();
        assert_eq!(whose, [Some(&Value::from("actions-runner-1")), None], "of a hook and of a sweep");
        let sweeps: Vec<&Entry> = entries.iter().filter(|entry| kind(entry) == "sweep").collect();
        let goals: Vec<&str> = sweeps.iter().map(|sweep| text(sweep, "DISK_GUARD_REASON")).collect();
        assert_eq!(goals, ["goal-not-reached"; 2], "one at its end, one stopped by the lock");
        assert!(sweeps[0].contains_key("DISK_GUARD_USED_PERCENT"), "{sweeps:#?}");
        let errors = entries.iter().filter(|entry| kind(entry) == "error");
        let errors: Vec<_> = errors.map(|entry| text(entry, "MESSAGE")).collect();
        assert!(matches!(errors[..], [one] if one.contains("hihg")), "the others have kinds: {errors:?}");
        let [kept, ..] = about(&entries, "kept", story.kept.to_str().expect("UTF-8"))[..] else {
            panic!("a busy runner's cache is kept, and that is told: {entries:#?}")
        };
        assert_eq!(text(kept, "DISK_GUARD_REASON"), "protected");
        assert!(text(kept, "DISK_GUARD_EVIDENCE").contains("worker-process"), "{kept:#?}");
        assert!(!kept.contains_key("DISK_GUARD_PATH_BYTES"), "text says it exactly");
    });
}

fn assert_is_of_the_contract(entry: &Entry) {
    let (_, priority, required) = KINDS
        .iter()
        .find(|(known, ..)| *known == kind(entry))
        .unwrap_or_else(|| panic!("none of the scenario's kinds: {entry:#?}"));
    assert_eq!(text(entry, "SYSLOG_IDENTIFIER"), "disk-guard");
    assert_eq!(text(entry, "PRIORITY"), *priority, "{entry:#?}");
    let known = EventKind::ALL.iter().find(|known| known.as_str() == kind(entry)).expect("a known kind");
    assert_eq!(text(entry, "MESSAGE_ID"), known.message_id());
    let message = text(entry, "MESSAGE");
    assert!(!message.is_empty() && !message.contains(char::is_control), "{message:?}");
    for field in entry.keys() {
        assert!(!field.starts_with("F_"), "{field} is prefixed");
        if let Some(ours) = field.strip_prefix("DISK_GUARD_") {
            assert!(FIELDS.contains(&ours), "the contract does not name {field}");
            assert_ne!(entry[field], "", "what does not apply is absent: {entry:#?}");
        }
    }
    for field in *required {
        assert!(entry.contains_key(&format!("DISK_GUARD_{field}")), "{field} is missing: {entry:#?}");
    }
    for number in ["BYTES", "USED_PERCENT", "DURATION_MS"] {
        if let Some(value) = entry.get(&format!("DISK_GUARD_{number}")) {
            assert!(value.as_str().is_some_and(|v| v.parse::<u64>().is_ok()), "{number}: {value}");
        }
    }
}

#[test]
fn a_path_that_is_no_text_arrives_escaped_and_exact() {
    if !needs_journald() {
        return;
    }
    in_own_run(|| {
        let journald = Journald::start();
        let story = story();
        let entries = journald.entries();
        let checkout = story.odd.parent().and_then(Path::to_str).expect("a checkout");
        let shown = format!(r"{checkout}/target-\n::error::caf\xe9");
        for wanted in ["claimed", "removed"] {
            let [entry] = about(&entries, wanted, &shown)[..] else { panic!("{wanted} once: {entries:#?}") };
            let exact = STANDARD.decode(text(entry, "DISK_GUARD_PATH_BYTES")).expect("base64");
            assert_eq!(OsStr::from_bytes(&exact), story.odd);
            assert!(text(entry, "MESSAGE").contains(&shown), "{entry:#?}");
        }
    });
}

#[test]
fn an_event_larger_than_a_datagram_arrives_whole() {
    if !needs_journald() {
        return;
    }
    in_own_run(|| {
        let journald = Journald::start();
        let (dispatch, sink) = journal::dispatch(tracing::Level::INFO, Sink::Journal);
        assert_eq!(sink, Sink::Journal);
        let long = "long ".repeat(100_000);
        tracing::dispatcher::with_default(&dispatch, || Event::new(EventKind::Error, &long).emit());
        let [entry] = &journald.entries()[..] else { panic!("it arrives once") };
        assert_is_of_the_contract(entry);
        assert!(text(entry, "MESSAGE") == long);
    });
}

/// A line on standard error: its event's name and its fields' names.
fn parse_line(line: &str) -> (String, BTreeSet<String>) {
    let rest = line.strip_prefix("disk-guard: ").unwrap_or_else(|| panic!("not an event: {line:?}"));
    let (name, rest) = rest.split_once(' ').expect("a name and a message");
    let fields = rest.split(' ').filter_map(|word| word.split_once('='));
    let fields = fields.map(|(name, _)| name.to_owned()).filter(|name| !name.contains(['"', '/']));
    (name.to_owned(), fields.collect())
}

#[test]
fn without_a_journald_the_same_events_go_to_standard_error_one_escaped_line_each() {
    if !needs_journald() {
        return;
    }
    let told = in_own_run(|| {
        let journald = Journald::start();
        drop(story());
        journald.entries().iter().map(|entry| kind(entry).to_owned()).collect::<Vec<_>>()
    });
    // Nothing listens in this /run.
    let story = in_own_run(story);
    let lines: Vec<_> = story.stderr.lines().map(parse_line).collect();
    assert_eq!(lines.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), told, "{}", story.stderr);
    assert!(!story.stderr.trim_end_matches('\n').contains(|c: char| c.is_control() && c != '\n'));
    for (name, fields) in &lines {
        let (.., required) = KINDS.iter().find(|(known, ..)| known == name).expect("a known kind");
        let required = required.iter().map(|field| field.to_lowercase());
        assert!(required.chain(["message".into()]).all(|f| fields.contains(&f)), "{name}: {fields:?}");
    }
    let exact = STANDARD.encode(story.odd.as_os_str().as_bytes());
    let odd: Vec<&str> =
        story.stderr.lines().filter(|l| l.contains(" path_bytes=") && l.contains(&exact)).collect();
    assert_eq!(odd.len(), 2, "claimed and removed: {}", story.stderr);
    assert!(odd.iter().all(|line| line.contains(r"/target-\n::error::caf\xe9 ")), "{odd:?}");
}

#[test]
fn a_journal_that_takes_nothing_holds_up_no_hook() {
    if !needs_journald() {
        return;
    }
    in_own_run(|| {
        let journald = Journald::start();
        let host = pressed();
        let runner = host.runner("actions-runner-1").build();
        let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
        let mut listener = runner.listen();
        let mut job = listener.begin_job("acme/app");
        journald.stop();
        journald.fill();
        let hook = job.hook_started().expect_ok();
        assert!(hook.duration < Duration::from_secs(5), "{:?}", hook.duration);
        assert!(!cache.exists(), "it did its work\n{}", hook.text());
        let told: Vec<_> = String::from_utf8_lossy(&hook.stderr).lines().map(|l| parse_line(l).0).collect();
        assert_eq!(told[..5], ["lease", "run-begun", "pressure", "claimed", "removed"], "{}", hook.text());
        job.hook_completed().expect_ok();
        job.finish(&mut listener);
        journald.go_on();
        assert_eq!(journald.entries(), Vec::<Entry>::new(), "none was told twice");
    });
}

#[test]
fn entries_that_the_journal_refuses_are_printed_on_standard_error_with_the_reason() {
    if !needs_journald() {
        return;
    }
    in_own_run(|| {
        let host = pressed();
        let runner = host.runner("actions-runner-1").build();
        let cache = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
        let mut listener = runner.listen();
        let mut job = listener.begin_job("acme/app");
        // Whoever asks whether it listens is answered; then nobody does any more, and the socket's name is still there.
        std::fs::create_dir_all("/run/systemd/journal").expect("a directory on our own tmpfs");
        let socket = UnixDatagram::bind("/run/systemd/journal/socket").expect("our own socket");
        let dies = std::thread::spawn(move || socket.recv(&mut [0; 16]).expect("the question"));
        let hook = job.hook_started().expect_ok();
        dies.join().expect("it was asked");
        assert!(!cache.exists(), "it did its work\n{}", hook.text());
        let told = String::from_utf8(hook.stderr.clone()).expect("escaped, so UTF-8");
        let lines: Vec<_> = told.lines().map(parse_line).collect();
        assert_eq!(lines.last().map(|(name, _)| name.as_str()), Some("run-ended"), "{told}");
        assert!(lines.iter().all(|(_, fields)| fields.contains("journal_refused")), "{told}");
        assert!(told.contains("journal_refused=\"Connection refused (os error 111)\""), "{told}");
        job.hook_completed().expect_ok();
        job.finish(&mut listener);
    });
}

#[test]
fn a_journal_that_stops_during_many_entries_delays_no_hook() {
    if !needs_journald() {
        return;
    }
    // More than journald's queue (512), and by far more than a socket's own budget (212992 bytes by default) holds; of no runner
    // more than is told one by one.
    const RUNNERS: usize = 12;
    const CACHES: usize = 50;
    in_own_run(|| {
        let journald = Journald::start();
        let mut host = pressed();
        host.configure(|settings| settings.time_limit = "20s");
        let busy: Vec<_> =
            (2..2 + RUNNERS).map(|n| host.runner(&format!("actions-runner-{n}")).build()).collect();
        for (runner, n) in busy.iter().flat_map(|runner| (0..CACHES).map(move |n| (runner, n))) {
            runner.cache("acme/widgets", &format!("target-{n}"), 0, 2 * DAY);
        }
        let mut busy_listeners: Vec<_> = busy.iter().map(kit::Runner::listen).collect();
        let busy_jobs: Vec<_> =
            busy_listeners.iter_mut().map(|listener| listener.begin_job("acme/widgets")).collect();
        let runner = host.runner("actions-runner-1").build();
        let mut listener = runner.listen();
        let mut job = listener.begin_job("acme/app");
        journald.stop();
        let hook = job.hook_started().expect_ok();
        assert!(hook.duration < Duration::from_secs(10), "{:?}", hook.duration);
        job.finish(&mut listener);
        drop(busy_jobs);
        journald.go_on();
        let arrived = journald.entries().iter().filter(|entry| kind(entry) == "kept").count();
        let printed =
            String::from_utf8_lossy(&hook.stderr).lines().filter(|l| parse_line(l).0 == "kept").count();
        assert!(arrived > 0 && printed > 0, "{arrived} in the journal, {printed} on standard error");
        assert_eq!(arrived + printed, RUNNERS * CACHES, "none is lost, none is told twice");
    });
}

/// As it is shipped.
const CATALOG: &str = include_str!("../../packaging/journal/disk-guard.catalog");

/// The catalog's entries: id, header lines, paragraphs.
fn catalog() -> Vec<(&'static str, Vec<&'static str>, Vec<&'static str>)> {
    let entries = CATALOG.split("\n-- ").skip(1).map(|entry| {
        let (id, rest) = entry.split_once('\n').expect("an id stands on a line of its own");
        let (header, body) = rest.split_once("\n\n").expect("a header and a text");
        (id, header.lines().collect(), body.split("\n\n").map(str::trim).collect())
    });
    entries.collect()
}

#[test]
fn every_kind_of_event_has_its_entry_in_the_catalog() {
    let catalog = catalog();
    let ids: Vec<&str> = catalog.iter().map(|(id, ..)| *id).collect();
    let known: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.message_id()).collect();
    assert_eq!(ids, known, "each once, in their order");
    for (id, header, paragraphs) in catalog {
        assert!(header[0].starts_with("Subject: "), "{id}");
        assert_eq!(header[1..], ["Defined-By: disk-guard", "Documentation: man:disk-guard(1)"], "{id}");
        assert_eq!(paragraphs.len(), 3, "{id}: what happened, why, what to do");
        assert!(!paragraphs.concat().contains('@'), "{id}: fields would be printed unescaped");
    }
}

#[test]
fn systemd_accepts_the_catalog() {
    if !Path::new("/usr/bin/journalctl").exists() {
        eprintln!("skipped: journalctl is not installed");
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let installed = root.path().join("usr/lib/systemd/catalog");
    std::fs::create_dir_all(&installed).expect("our own directory");
    std::fs::create_dir_all(root.path().join("var/lib/systemd/catalog")).expect("our own directory");
    let root = format!("--root={}", root.path().display());
    let compile = |text: String| {
        std::fs::write(installed.join("disk-guard.catalog"), text).expect("our own file");
        let output = Command::new("journalctl").args([&root, "--update-catalog"]).output();
        let output = output.expect("journalctl runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (accepted, why) = compile(CATALOG.replacen("\n-- ", "\n-- no id: ", 1));
    assert!(!accepted && why.contains("payload"), "it notices what is no catalog: {why}");
    assert_eq!(compile(CATALOG.to_owned()), (true, String::new()));
    let listed = kit::journalctl(&[&root, "--list-catalog"]);
    assert_eq!(listed.lines().count(), EventKind::ALL.len(), "{listed}");
    for (id, header, paragraphs) in catalog() {
        let shown = kit::journalctl(&[&root, "--dump-catalog", id]);
        assert!(shown.contains(header[0]) && shown.contains(paragraphs[2]), "{id}: {shown}");
    }
}

/// A hook's user is believed about its own runners alone: about others' it leaves one entry, and nobody is accused of lying.
#[test]
fn an_unprivileged_hook_leaves_one_accepted_entry_about_other_users_runners() {
    if !needs_journald() {
        return;
    }
    in_own_run(|| {
        let journald = Journald::start();
        let mut host = pressed();
        host.runner_user = Some((12_002, kit::SHARED_GID));
        let others = ["actions-runner-2", "actions-runner-3"].map(|name| host.runner(name).build());
        let kept: Vec<PathBuf> =
            others.iter().map(|other| other.cache("acme/widgets", "target", MIB, 2 * DAY)).collect();
        host.runner_user = Some((12_001, kit::SHARED_GID));
        let own = host.runner("actions-runner-1").build();
        let cache = own.cache("acme/app", "target", MIB, 2 * DAY);
        let mut listener = own.listen();
        let mut job = listener.begin_job("acme/other");
        let hook = job.hook_started().expect_ok();
        job.finish(&mut listener);
        assert!(!cache.exists() && kept.iter().all(|path| path.exists()), "{}", hook.text());
        let text_of = hook.text();
        let left: Vec<&str> = text_of.lines().filter(|line| line.starts_with("left ")).collect();
        assert_eq!(left.len(), 1, "one line in the job's log: {text_of}");
        assert!(left[0].contains("2 caches") && left[0].contains("2 runners"), "{text_of}");
        let entries = journald.entries();
        let told: Vec<&Entry> = entries.iter().filter(|entry| kind(entry) == "kept").collect();
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!(text(told[0], "DISK_GUARD_REASON"), "siblings");
        assert_eq!(text(told[0], "DISK_GUARD_RUNNER"), own.name);
        for arguments in [&["history", "--json"][..], &["blame", "--at", "1min ago", "--json"]] {
            let answer = host.guard(arguments).expect_code(&[0]).report().0;
            assert_eq!(answer["foreign"].as_array().map(Vec::len), Some(0), "{answer:#}");
        }
        assert!(!host.guard(&["history"]).expect_code(&[0]).stdout().contains("rejected"));
        // What is made up is counted, with the way to see it.
        let forged = format!(
            "SYSLOG_IDENTIFIER=disk-guard\nMESSAGE=x\nDISK_GUARD_EVENT=removed\nDISK_GUARD_PATH={}\n",
            kept[0].display()
        );
        send_as(12_001, &forged);
        let said = host.guard(&["history"]).expect_code(&[0]).stdout();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            said.contains("1 entry is rejected") && said.contains("`disk-guard history --json`"),
            "{said}"
        );
    });
}

/// Sends an entry to the journal as another user would.
fn send_as(user: u32, fields: &str) {
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", &user.to_string(), "--regid", &user.to_string(), "--clear-groups"]);
    command.args(["logger", "--journald"]).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().expect("setpriv is part of util-linux");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), fields.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success(), "logger speaks to journald");
}
