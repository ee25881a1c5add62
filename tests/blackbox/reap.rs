//! The reaper against tools that replay what the real ones print, and misbehave: slow, failing, lying, half-written, changing
//! between a listing and a delete. Docker and libvirt are real in `tests/real/reap.rs`.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

mod kubernetes;

use crate::kit::{self, Host, Run, needs_root};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A tool with its environments, one file each; what is called stands in `calls`. `hook` is sourced first, to misbehave.
struct Tool {
    dir: PathBuf,
}

/// How a tool lists its files and deletes one.
struct ToolDialect {
    /// Printed before, between and after the files.
    frame: [&'static str; 3],
    /// Shell: sets `verb` to `list` or `delete`, and `name`.
    parse: &'static str,
}

const TART: ToolDialect = ToolDialect { frame: ["[", ",", "]"], parse: "verb=$1; name=$2" };
const LIMA: ToolDialect = ToolDialect { frame: ["", "\n", ""], parse: "verb=$1; name=$2" };
const OWN: ToolDialect = ToolDialect {
    frame: ["{\"schema\":1,\"complete\":true,\"environments\":[", ",", "]}"],
    parse: "verb=$1; name=$2",
};
const KUBECTL: ToolDialect = ToolDialect {
    frame: ["{\"apiVersion\":\"v1\",\"kind\":\"List\",\"metadata\":{},\"items\":[", ",", "]}"],
    parse: "verb=$1; [ \"$1\" = get ] && verb=list; name=${3##*/}; [ \"$1\" = delete ] && { echo >>bodies; cat >>bodies; }; kind=$2",
};

impl Tool {
    fn new(host: &Host, name: &str, dialect: &ToolDialect) -> Self {
        let dir = host.base.join(format!("tools-{name}"));
        std::fs::create_dir_all(dir.join("all")).expect("a directory");
        let [before, between, after] = dialect.frame;
        let script = format!(
            r#"#!/bin/bash
cd "$(dirname "$0")" || exit 9
echo "$*" >>calls
{}
lists=$(grep -cE '^(list|get)' calls)
[ -f hook ] && . ./hook
case $verb in
list)
    printf '%s' '{before}'
    first=1
    for file in all/*; do
        [ -f "$file" ] || continue
        case $kind in pods*) [[ $file = *~set ]] && continue ;; ephemeralrunnersets) [[ $file = *~set ]] || continue ;; esac
        [ $first ] || printf '%s' '{between}'
        first=
        cat "$file"
    done
    printf '%s\n' '{after}' ;;
delete) rm -f "all/$name" "all/$name"~* ;;
*) echo "unknown verb $1" >&2; exit 64 ;;
esac
"#,
            dialect.parse
        );
        let path = dir.join(name);
        std::fs::write(&path, script).expect("a script");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
        Self { dir }
    }

    fn put(&self, name: &str, item: Value) {
        std::fs::write(self.dir.join("all").join(name), item.to_string()).expect("a file");
    }

    fn misbehave(&self, shell: &str) {
        std::fs::write(self.dir.join("hook"), shell).expect("a file");
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.join("all")).expect("it is there").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        let _ = std::fs::remove_file(self.dir.join("calls"));
        text.lines().map(str::to_owned).collect()
    }

    fn entry(&self, host: &mut Host, name: &str, kind: &str, more: &str) {
        let program = std::fs::read_dir(&self.dir).expect("it is there").flatten().map(|entry| entry.path());
        let program =
            program.into_iter().find(|path| path.is_file() && !path.ends_with("hook")).expect("the script");
        let program = program.display().to_string();
        host.configure(|settings| {
            (settings.high, settings.low, settings.critical) = (100, 99, 100);
            writeln!(
                settings.extra,
                "[[reap]]\nname = {name:?}\nkind = {kind:?}\ncommand = [{program:?}]\nmatch = [\"vm-*\"]\npause = \"0s\"\n{more}"
            )
            .expect("writing to a string");
        });
    }
}

fn machine(name: &str, state: &str) -> Value {
    json!({"Source": "local", "Name": name, "Disk": 50, "Size": 21, "Running": state == "running", "State": state})
}

/// What was remembered becomes three hours older.
fn three_hours_pass(host: &Host, entry: &str) {
    let path = host.state_dir().join(format!("reap/seen-{entry}.json"));
    let mut seen: Value =
        serde_json::from_slice(&std::fs::read(&path).expect("it was remembered")).expect("JSON");
    for (_, item) in seen["seen"].as_object_mut().expect("by id") {
        item["first"] = (item["first"].as_u64().expect("seconds") - 3 * 3600 - 60).into();
    }
    std::fs::write(&path, seen.to_string()).expect("it can be written");
}

fn outcomes(run: &Run) -> Vec<String> {
    let report: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let sources = report["sources"].as_array().expect("a list");
    let environments = sources.iter().flat_map(|source| source["environments"].as_array().expect("a list"));
    let mut all: Vec<String> = environments
        .map(|item| format!("{} {} {}", item["name"], item["reason"], item["outcome"]).replace('"', ""))
        .collect();
    all.sort();
    all
}

/// A host with a Tart of one leaked clone and some that are not, which were all seen three hours ago.
fn leaked_clone() -> (Host, Tool) {
    let mut host = Host::new();
    let tart = Tool::new(&host, "tart", &TART);
    tart.entry(&mut host, "clones", "tart", "keep = [\"vm-keep*\"]\ntimeout = \"20s\"\n");
    for (name, state) in [
        ("vm-1", "stopped"),
        ("vm-2", "running"),
        ("vm-3", "suspended"),
        ("vm-keep", "stopped"),
        ("base", "stopped"),
    ] {
        tart.put(name, machine(name, state));
    }
    tart.put("pulled", json!({"Source": "OCI", "Name": "vm-x", "Disk": 50, "Size": 21, "Running": false, "State": "stopped"}));
    let first = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert!(outcomes(&first).contains(&"vm-1 young kept".to_owned()), "{:?}", outcomes(&first));
    three_hours_pass(&host, "clones");
    tart.calls();
    (host, tart)
}

#[test]
fn a_clone_that_stopped_long_ago_is_deleted_and_the_rest_is_kept() {
    let (host, tart) = leaked_clone();
    let dry = host.guard(&["reap", "--dry-run", "--json"]).expect_code(&[0]);
    let expected = |outcome: &str| {
        vec![
            format!("vm-1 stopped {outcome}"),
            "vm-2 running kept".into(),
            "vm-3 suspended kept".into(),
            "vm-keep keep kept".into(),
        ]
    };
    assert_eq!(outcomes(&dry), expected("planned"));
    assert_eq!(tart.calls(), ["list --format json"], "a dry run lists once");
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert_eq!(outcomes(&run), expected("reaped"));
    assert_eq!(
        tart.calls(),
        ["list --format json", "list --format json", "delete vm-1", "list --format json"]
    );
    assert_eq!(tart.names(), ["base", "pulled", "vm-2", "vm-3", "vm-keep"]);
    // What it did is in the record, in status and in the ledger.
    let record: Value =
        serde_json::from_slice(&std::fs::read(host.state_dir().join("reap/last.json")).expect("a record"))
            .expect("JSON");
    assert_eq!((&record["reaped_total"]["tart"], &record["entries"][0]["leaked"]), (&1.into(), &0.into()));
    let status = host.status();
    assert_eq!(
        (&status.0["reap"][0]["name"], &status.0["reap"][0]["unknown"]),
        (&"clones".into(), &0.into())
    );
    assert!(host.guard(&["status"]).stdout().contains("Reaper           clones (tart): 0 of 4 leaked;"));
    let history = host.guard(&["history"]).expect_code(&[0]).stdout();
    assert!(history.contains("reaped the tart environment vm-1 (clones)"), "{history}");
    let why = host.guard(&["why", "vm-1", "--json"]).expect_code(&[0]).report();
    assert_eq!((&why.0["verdict"], &why.0["entries"][0]["deed"]), (&"reaped".into(), &"reaped".into()));
    let why = host.guard(&["why", "vm-1"]).stdout();
    assert!(why.contains("disk-guard reaped vm-1") && why.contains("stopped for 3 h"), "{why}");
}

#[test]
fn tools_that_misbehave_lose_nothing_and_are_reported() {
    for (what, hook, code, expected, left) in [
        ("a listing that fails", "[ $verb = list ] && { echo broken >&2; exit 3; }", 1, vec![], true),
        (
            "a half-written listing",
            "[ $verb = list ] && { printf '[{\"Source\":\"local\",\"Name\":\"vm-1\"'; exit 0; }",
            1,
            vec![],
            true,
        ),
        ("no listing at all", "[ $verb = list ] && exit 0", 1, vec![], true),
        ("a listing that is no list", "[ $verb = list ] && { echo '{}'; exit 0; }", 1, vec![], true),
        ("a listing with one name twice", "[ $verb = list ] && cp all/vm-1 all/vm-1.again", 1, vec![], true),
        (
            "a listing whose tail comes late, from a child",
            "[ $verb = list ] && { printf '['; sleep 600 & exit 0; }",
            1,
            vec![],
            true,
        ),
        (
            "a delete that fails",
            "[ $verb = delete ] && { echo 'no such luck' >&2; exit 1; }",
            1,
            vec!["vm-1 stopped failed"],
            true,
        ),
        ("a delete that lies", "[ $verb = delete ] && exit 0", 1, vec!["vm-1 stopped lied"], true),
        (
            "it runs when it is looked at again",
            "[ $lists -gt 1 ] && sed -i 's/stopped/running/' all/vm-1",
            0,
            vec!["vm-1 stopped changed"],
            true,
        ),
        (
            "it was used in between",
            "[ $lists -gt 1 ] && sed -i 's/21/22/' all/vm-1",
            0,
            vec!["vm-1 stopped changed"],
            true,
        ),
        (
            "it is gone when it is looked at again",
            "[ $lists -gt 1 ] && rm -f all/vm-1",
            0,
            vec!["vm-1 stopped changed"],
            false,
        ),
        ("the second listing fails", "[ $lists -gt 1 ] && exit 3", 1, vec!["vm-1 stopped deferred"], true),
        (
            "the listing after the delete fails",
            "[ $lists -gt 2 ] && exit 3",
            1,
            vec!["vm-1 stopped failed"],
            false,
        ),
        ("nothing: the control", "", 0, vec!["vm-1 stopped reaped"], false),
    ] {
        let (host, tart) = leaked_clone();
        tart.misbehave(hook);
        let run = host.guard(&["reap", "--json"]).expect_code(&[code]);
        let acted: Vec<String> =
            outcomes(&run).into_iter().filter(|line| line.starts_with("vm-1 ")).collect();
        assert_eq!(acted, expected, "{what}");
        assert_eq!(tart.names().contains(&"vm-1".to_owned()), left, "{what}");
        for other in ["vm-2", "vm-3", "vm-keep", "base", "pulled"] {
            assert!(tart.names().contains(&other.to_owned()), "{what}: {other}");
        }
        if code == 1 {
            let told = host.guard(&["history", "--json"]).expect_code(&[0]).stdout();
            assert!(told.contains("\"reap-"), "{what}: {told}");
            let record = std::fs::read_to_string(host.state_dir().join("reap/last.json")).expect("a record");
            assert!(
                record.contains("\"tart\": 1") || !record.contains("\"error\": null"),
                "{what}: {record}"
            );
        }
    }
}

#[test]
fn a_hanging_tool_is_stopped_and_the_next_entry_continues() {
    let (mut host, tart) = leaked_clone();
    let own = Tool::new(&host, "mine", &OWN);
    own.put("vm-9", json!({"id": "vm-9", "state": "stopped", "since": "2020-01-01T00:00:00Z"}));
    own.entry(&mut host, "mine", "command", "");
    tart.misbehave("[ $verb = delete ] && { echo $$ >hung; sleep 600; }");
    let config = std::fs::read_to_string(host.config()).expect("it is there").replace("\"20s\"", "\"1s\"");
    std::fs::write(host.config(), config).expect("it can be written");
    let run = host.guard(&["reap", "--json"]).expect_code(&[1]);
    assert!(outcomes(&run).contains(&"vm-1 stopped failed".to_owned()), "{:?}", outcomes(&run));
    assert!(outcomes(&run).contains(&"vm-9 stopped reaped".to_owned()), "{:?}", outcomes(&run));
    let hung: i32 =
        std::fs::read_to_string(tart.dir.join("hung")).expect("it hung").trim().parse().expect("a pid");
    assert!(!kit::is_alive(hung), "it was ended");
    assert!(run.stdout().contains("did not end within"), "{}", run.stdout());
}

#[test]
fn a_custom_program_lists_environments_and_a_partial_list_reaps_nothing() {
    let mut host = Host::new();
    let own = Tool::new(&host, "mine", &OWN);
    own.entry(&mut host, "mine", "command", "");
    let old = "2020-01-01T00:00:00Z";
    for (name, more) in [
        ("vm-stopped", json!({"state": "stopped", "since": old})),
        ("vm-lately", json!({"state": "stopped", "since": "2999-01-01T00:00:00Z"})),
        ("vm-first-seen", json!({"state": "stopped"})),
        ("vm-never", json!({"state": "never-started", "since": old, "created": old})),
        ("vm-job", json!({"state": "stopped", "since": old, "job": "acme/app #7"})),
        ("vm-claimed", json!({"state": "stopped", "since": old, "claim": "for inspection"})),
        ("vm-over", json!({"state": "terminated", "since": old})),
        ("vm-odd", json!({"state": "hibernated", "since": old})),
        ("vm-odd-time", json!({"state": "stopped", "since": "long ago"})),
    ] {
        let mut item = more;
        item["id"] = name.into();
        own.put(name, item);
    }
    own.misbehave("[ $verb = list ] && { echo '{\"schema\":1,\"environments\":[{\"id\":\"vm-stopped\",\"state\":\"stopped\",\"since\":\"2020-01-01T00:00:00Z\"}]}'; exit 0; }");
    let run = host.guard(&["reap", "--json"]).expect_code(&[1]);
    assert!(run.stdout().contains("complete") && outcomes(&run).is_empty(), "{}", run.stdout());
    own.misbehave("");
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert_eq!(
        outcomes(&run),
        [
            "vm-claimed claimed kept",
            "vm-first-seen young kept",
            "vm-job claimed kept",
            "vm-lately young kept",
            "vm-never never-started reaped",
            "vm-odd unknown kept",
            "vm-odd-time unknown kept",
            "vm-over terminated kept",
            "vm-stopped stopped reaped",
        ]
    );
}

#[test]
fn environments_of_a_runner_are_kept_while_it_works() {
    if !needs_root("proves a runner idle") {
        return;
    }
    let mut host = Host::new();
    let own = Tool::new(&host, "mine", &OWN);
    own.entry(&mut host, "mine", "command", "");
    let runner = host.runner("actions-runner-1").build();
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    for (name, of) in [("vm-1", runner.name.as_str()), ("vm-2", "nobody-here")] {
        own.put(name, json!({"id": name, "state": "stopped", "since": "2020-01-01T00:00:00Z", "runner": of}));
    }
    own.put("vm-3", json!({"id": "vm-3", "state": "stopped", "since": "2020-01-01T00:00:00Z"}));
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    let expected = ["vm-1 runner-in-use kept", "vm-2 runner-in-use kept", "vm-3 stopped reaped"];
    assert_eq!(outcomes(&run), expected);
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
    // A Worker of somebody else's test makes every runner of the machine unknown for a moment.
    let mut gone = false;
    for _ in 0..50 {
        let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
        gone = outcomes(&run) == ["vm-1 stopped reaped", "vm-2 runner-in-use kept"];
        if gone {
            break;
        }
    }
    assert!(gone, "its job is over");
}

#[test]
fn lima_lists_one_object_a_line() {
    let mut host = Host::new();
    let lima = Tool::new(&host, "limactl", &LIMA);
    lima.entry(&mut host, "lima", "lima", "");
    for (name, item) in [
        ("vm-1", json!({"name": "vm-1", "status": "Stopped", "dir": "/l/vm-1", "disk": 9})),
        ("vm-2", json!({"name": "vm-2", "status": "Running", "dir": "/l/vm-2", "disk": 9})),
        ("vm-3", json!({"name": "vm-3", "status": "Stopped", "dir": "/l/vm-3", "protected": true})),
    ] {
        lima.put(name, item);
    }
    host.guard(&["reap"]).expect_code(&[0]);
    three_hours_pass(&host, "lima");
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert_eq!(outcomes(&run), ["vm-1 stopped reaped", "vm-2 running kept", "vm-3 claimed kept"]);
    assert_eq!(lima.names(), ["vm-2", "vm-3"]);
}

#[test]
fn a_sweep_by_hand_reaps_and_a_reaper_that_fails_does_not_fail_it() {
    let (host, tart) = leaked_clone();
    // Without a runner a sweep has found nothing to look after.
    host.runner("actions-runner-1").build();
    let sweep = host.guard(&["sweep", "--no-reap", "--json"]).expect_code(&[0]);
    assert!(sweep.report().0.get("reap").is_none() && tart.calls().is_empty());
    let preview = host.guard(&["sweep", "--dry-run", "--json"]).expect_code(&[0]).report();
    assert_eq!(preview.0["reap"][0]["environments"][0]["outcome"], "planned");
    tart.misbehave("[ $verb = delete ] && exit 0");
    let sweep = host.guard(&["sweep", "--json"]).expect_code(&[0]);
    assert_eq!(sweep.report().0["reap"][0]["environments"][0]["outcome"], "lied");
    assert!(sweep.stderr().contains("the reaper failed in part"), "{}", sweep.stderr());
    assert_eq!(host.status().0["reap"][0]["failed"], 1);
    tart.misbehave("");
    let sweep = host.guard(&["sweep"]).expect_code(&[0]).stdout();
    assert!(sweep.contains("Reaped") && sweep.contains("vm-1"), "{sweep}");
    assert!(!tart.names().contains(&"vm-1".to_owned()));
}

#[test]
fn only_the_named_entries_run_and_a_stranger_is_a_usage_error() {
    let (mut host, tart) = leaked_clone();
    let own = Tool::new(&host, "mine", &OWN);
    own.entry(&mut host, "mine", "command", "");
    let run = host.guard(&["reap", "--source", "mine", "--json"]).expect_code(&[0]);
    assert_eq!((outcomes(&run).len(), tart.calls().len(), own.calls().len()), (0, 0, 1));
    let run = host.guard(&["reap", "--source", "theirs"]).expect_code(&[2]);
    assert!(
        run.stderr().contains("there is no [[reap]] named `theirs`; the configured ones are: clones, mine"),
        "{}",
        run.stderr()
    );
    // The record of the other entry is still there.
    let names: Vec<Value> =
        host.status().0["reap"].as_array().expect("a list").iter().map(|e| e["name"].clone()).collect();
    assert_eq!(names, ["clones", "mine"]);
}

#[test]
fn nothing_is_configured_and_nothing_is_run() {
    let host = Host::new();
    let run = host.guard(&["reap"]).expect_code(&[0]);
    assert!(run.stdout().contains("no [[reap]] is configured"), "{}", run.stdout());
    assert!(!host.state_dir().join("reap").exists());
    assert!(host.status().0.get("reap").is_none());
}

#[test]
fn lost_first_seen_times_are_reported_and_only_environments_with_their_own_age_are_reaped() {
    if !needs_root("a state directory that root refuses") {
        return;
    }
    let mut host = Host::new();
    let own = Tool::new(&host, "mine", &OWN);
    own.entry(&mut host, "mine", "command", "");
    own.put("vm-1", json!({"id": "vm-1", "state": "stopped"}));
    own.put("vm-2", json!({"id": "vm-2", "state": "stopped", "since": "2020-01-01T00:00:00Z"}));
    std::fs::set_permissions(host.state_dir(), PermissionsExt::from_mode(0o777)).expect("it is ours");
    let run = host.guard(&["reap", "--json"]).expect_code(&[0]);
    assert_eq!(outcomes(&run), ["vm-1 young kept", "vm-2 stopped reaped"]);
    assert!(run.stdout().contains("cannot be recorded"), "{}", run.stdout());
}
