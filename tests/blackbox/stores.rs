//! Stores of engines and build tools: each kind's own words to its tool, when it is asked and when not, tools that misbehave, jobs
//! that come meanwhile. The tools are stand-ins here; real ones are in `tests/real/stores.rs`.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Fs, Host, MIB, Run, until};
use serde_json::Value;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// All that tools are asked, over a directory of files of a megabyte each. `hook` is sourced first, to misbehave.
const STANDIN: &str = r#"#!/bin/bash
cd "$(dirname "$0")" || exit 9
store=$(cat store)
echo "$* |${CCACHE_DIR+ dir=$CCACHE_DIR}${CCACHE_MAXSIZE+ max=$CCACHE_MAXSIZE}${SCCACHE_CACHE_SIZE+ max=$SCCACHE_CACHE_SIZE}${GOCACHE+ dir=$GOCACHE} uid=$(id -u)" >>calls
[ -f hook ] && . ./hook
at=$store; [ -d "$at/a" ] && at=$store/a; [ -d "$at/cas" ] && at=$store/cas
files() { ls "$at" | grep '^a'; }
free() { local n=$1 f; for f in $(files); do [ "$n" -gt 0 ] || break; rm -f "$at/$f"; n=$((n - 1048576)); done; }
keep() { free $(($(files | wc -l) * 1048576 - $1)); }
last=${!#}
size=$(($(files | wc -l) * 1048576))
case "$*" in
"system df"*) echo "{\"Type\":\"Images\",\"Size\":\"${size}B\",\"Reclaimable\":\"0B\"}"
    echo "{\"Type\":\"Build Cache\",\"Size\":\"${size}B\",\"Reclaimable\":\"0B\"}" ;;
info*) echo "$store" ;;
"builder prune --force --keep-storage="*) keep "${last##*=}" ;;
"image ls"*) for f in $(files); do echo "sha256:$f"; done ;;
"image inspect"*) shift 2; first=1; echo '['
    for id in "$@"; do [ $first ] || echo ,; first=; echo "{\"Id\":\"$id\",\"RepoTags\":[],\"Size\":1048576,\"Created\":\"$id\"}"; done; echo ']' ;;
"ps --all"*) [ -f used ] && echo c1; true ;;
"container inspect"*) echo "[{\"Image\":\"$(cat used)\"}]" ;;
"image rm -- "*) rm "$store/${4#sha256:}" ;;
imagefsinfo*) echo "{\"status\":{\"imageFilesystems\":[{\"fsId\":{\"mountpoint\":\"$store\"},\"usedBytes\":{\"value\":\"$size\"}}]}}" ;;
"images -o json") first=1; echo '{"images":['
    for f in $(files); do [ $first ] || echo ,; first=; echo "{\"id\":\"sha256:$f\",\"size\":\"1048576\"}"; done; echo ']}' ;;
"ps -a -o json") echo '{"containers":[]}' ;;
"rmi "*) rm "$store/${2#sha256:}" ;;
--cleanup) keep $((${CCACHE_MAXSIZE%Ki} * 1024)) ;;
--stop-server) exit 2 ;;
*" -x c -c /dev/null -o "*) keep $((${SCCACHE_CACHE_SIZE%K} * 1024)) ;;
"--max-freed "*) free "$2" ;;
"store prune --store-dir "*) free $((size / 2)) ;;
"clean -cache") free "$size" ;;
"--disk_cache=$store --max_size="*) keep "${last##*=}" ;;
*) echo "unknown words $*" >&2; exit 64 ;;
esac
"#;

const FILES: usize = 58;

/// A host with one idle runner, and a store on a disk of its own that is 91 % full.
struct Stage {
    host: Host,
    tool: PathBuf,
    store: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let mut host = Host::new();
        let store = host.base.join("store");
        host.mount(Fs::Tmpfs { mib: 64, inodes: 2000 }, &store);
        let tool = host.base.join("tools");
        std::fs::create_dir(&tool).expect("a directory");
        let write = |name: &str, text: &str, mode: u32| {
            let path = tool.join(name);
            std::fs::write(&path, text).expect("a file");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("it is ours");
        };
        write("tool", STANDIN, 0o755);
        write("store", store.to_str().expect("UTF-8"), 0o644);
        write("calls", "", 0o666);
        let stage = Self { host, tool, store };
        stage.fill();
        stage
    }

    /// Empties the store and gives it the directory that stores of this kind have, where it matters.
    fn lay_out(&self, kind: &str) {
        for entry in std::fs::read_dir(&self.store).expect("it is there").flatten() {
            let path = entry.path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
                .expect("it is ours");
        }
        let directory = match kind {
            "sccache" => "a",
            "bazel-disk" => "cas",
            _ => return,
        };
        std::fs::create_dir(self.store.join(directory)).expect("a directory");
    }

    /// Where the files lie.
    fn at(&self) -> PathBuf {
        let inner = ["a", "cas"].map(|name| self.store.join(name));
        inner.into_iter().find(|path| path.is_dir()).unwrap_or_else(|| self.store.clone())
    }

    fn fill(&self) {
        for n in 0..FILES {
            let path = self.at().join(format!("a{n:02}"));
            std::fs::write(&path, vec![1; MIB as usize]).expect("there is room");
        }
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.at()).expect("it is there").count()
    }

    fn misbehave(&self, shell: &str) {
        std::fs::write(self.tool.join("hook"), shell).expect("a file");
    }

    fn calls(&self) -> Vec<String> {
        let path = self.tool.join("calls");
        let text = std::fs::read_to_string(&path).expect("it is there");
        std::fs::write(&path, "").expect("it is ours");
        text.lines().map(str::to_owned).collect()
    }

    /// One entry, of its kind's needs and `more`; the runners' own disk is never under pressure.
    fn entry(&mut self, kind: &str, more: &str) {
        self.configure(&self.text_of(kind, more));
    }

    fn text_of(&self, kind: &str, more: &str) -> String {
        let tool = self.tool.join("tool").display().to_string();
        let is_directory = ["sccache", "ccache", "pnpm", "go", "bazel-disk", "nix"].contains(&kind);
        let path = if is_directory {
            format!("path = {:?}\n", self.store.display().to_string())
        } else {
            String::new()
        };
        format!("[[store]]\nkind = {kind:?}\ncommand = [{tool:?}]\n{path}{more}\n")
    }

    fn configure(&mut self, stores: &str) {
        self.host.configure(|settings| settings.extra = stores.to_owned());
    }

    fn stores(&self) -> Value {
        let run = self.host.guard(&["stores", "--json"]);
        assert!([Some(0), Some(1)].contains(&run.code), "{}", run.stderr());
        store(&run)
    }
}

fn store(run: &Run) -> Value {
    let report: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    report["stores"][0].clone()
}

/// Without the line breaks that fit it to a terminal.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn as_u64(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

#[test]
fn each_tool_is_called_for_the_missing_bytes_in_its_own_syntax() {
    if !kit::sees_everything() {
        return;
    }
    let mut stage = Stage::new();
    let _runner = stage.host.runner("actions-runner-1").build();
    let path = stage.store.display().to_string();
    // What it is asked with, without the numbers, and how much a tool that cannot be bounded gives.
    for (kind, words, gives) in [
        ("buildkit", "builder prune --force --keep-storage=#".to_owned(), None),
        ("docker-images", "image rm -- sha256:a#".to_owned(), None),
        ("containerd", "rmi sha256:a#".to_owned(), None),
        ("ccache", format!("--cleanup | dir={path} max=#Ki"), None),
        ("nix", "--max-freed #".to_owned(), None),
        ("bazel-disk", format!("--disk_cache={path} --max_size=#"), None),
        ("sccache", format!("/usr/bin/cc -x c -c /dev/null -o {path}/disk-guard.o | max=#K"), None),
        ("pnpm", format!("store prune --store-dir {path}"), Some(29)),
        ("go", format!("clean -cache | dir={path}"), Some(58)),
    ] {
        if kind == "sccache" && !Path::new("/usr/bin/cc").exists() {
            kit::skip("there is no C compiler, which sccache needs");
            continue;
        }
        stage.lay_out(kind);
        stage.fill();
        stage.entry(kind, "");
        let found = stage.stores();
        let calls = stage.calls();
        let freed = FILES - stage.files();
        assert_eq!(
            (&found["outcome"], &found["reason"]),
            (&"collected".into(), &"pressure".into()),
            "{found:#}"
        );
        let plain = |text: &str| {
            let mut plain: String =
                text.chars().map(|one| if one.is_ascii_digit() { '#' } else { one }).collect();
            while plain.contains("##") {
                plain = plain.replace("##", "#");
            }
            plain.split(" uid=").next().unwrap_or_default().trim_end_matches([' ', '|']).to_owned()
        };
        assert!(calls.iter().any(|call| plain(call) == plain(&words)), "{kind}: {words} in {calls:#?}");
        match gives {
            None => assert!((10..=12).contains(&freed), "{kind}: {freed} of about 10 lacking: {found:#}"),
            Some(all) => assert_eq!(freed, all, "{kind}"),
        }
        assert_eq!(as_u64(&found["freed_bytes"]) / MIB, freed as u64, "{kind}: as measured");
    }
}

/// Tools that take whatever lies in their directory for their own would remove a home that was named by mistake.
#[test]
fn a_directory_that_holds_what_no_store_of_its_kind_does_is_left_alone() {
    if !kit::sees_everything() {
        return;
    }
    let mut stage = Stage::new();
    let _runner = stage.host.runner("actions-runner-1").build();
    for kind in ["sccache", "bazel-disk"] {
        stage.lay_out(kind);
        stage.fill();
        stage.entry(kind, "");
        let foreign = stage.store.join("thesis\u{1b}.txt");
        std::fs::write(&foreign, "years").expect("there is room");
        let found = stage.stores();
        let detail = found["detail"].as_str().expect("text");
        assert!(found["reason"] == "unusable" && detail.contains("thesis\\x1b.txt"), "{kind}: {found:#}");
        assert_eq!((stage.files(), stage.calls()), (FILES, Vec::new()), "{kind}: nobody is asked");
        std::fs::remove_file(&foreign).expect("it is ours");
        if kind == "sccache" && !Path::new("/usr/bin/cc").exists() {
            kit::skip("there is no C compiler, which sccache needs");
            continue;
        }
        let found = stage.stores();
        assert!(found["outcome"] == "collected" && stage.files() < FILES, "{kind}: {found:#}");
        assert!(!stage.calls().is_empty());
    }
}

#[test]
fn no_tool_is_called_while_a_runner_is_busy_unguarded_or_missing() {
    if !kit::sees_everything() {
        return;
    }
    let mut stage = Stage::new();
    let quiet = |stage: &Stage, why: &str| {
        let found = stage.stores();
        assert_eq!((&found["outcome"], &found["reason"]), (&"kept".into(), &"in-use".into()), "{found:#}");
        assert!(found["detail"].as_str().expect("text").contains(why), "{found:#}");
        let asked: Vec<String> =
            stage.calls().into_iter().filter(|call| call.contains("--cleanup")).collect();
        assert_eq!((stage.files(), asked.len()), (FILES, 0), "{asked:?}");
    };
    stage.entry("ccache", "");
    quiet(&stage, "no runner was found");
    let runner = stage.host.runner("actions-runner-1").build();
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    quiet(&stage, "actions-runner-1 is busy");
    // A store whose tool keeps itself from builds may be collected beside them, if that is said.
    stage.entry("ccache", "beside_jobs = true");
    assert_eq!(stage.stores()["outcome"], "collected");
    assert!(stage.calls().iter().any(|call| call.starts_with("--cleanup")));
    stage.fill();
    stage.entry("ccache", "");
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
    listener.kill();
    let stranger = stage.host.runner("actions-runner-2").unguarded().build();
    quiet(&stage, "no hook of ours");
    std::fs::remove_dir_all(&stranger.root).expect("our own directory");
    assert_eq!(stage.stores()["outcome"], "collected", "idle at last");
    assert!(stage.files() < FILES);
}

#[test]
fn a_job_that_comes_ends_the_tool_with_all_that_it_has_started_and_waits_for_nothing() {
    if !kit::sees_everything() {
        return;
    }
    let mut stage = Stage::new();
    let runner = stage.host.runner("actions-runner-1").build();
    stage.entry("ccache", "");
    // It ignores every request to end, has a daemon in a session of its own and a child in another group.
    stage.misbehave(
        "trap '' TERM INT HUP\n\
         setsid bash -c 'trap \"\" TERM; echo $$ >>pids; exec sleep 600' &\n\
         (set -m; bash -c 'trap \"\" TERM; echo $$ >>pids; exec sleep 600' & )\n\
         echo $$ >>pids; chmod 666 pids; rm -f \"$store/a00\"\nsleep 600; sleep 600",
    );
    let mut listener = runner.listen();
    let mut sweep = stage.host.call(&["stores", "--json"]).command();
    let sweep = sweep.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let pids = || std::fs::read_to_string(stage.tool.join("pids")).unwrap_or_default();
    until("the tool and its children are there", || (pids().lines().count() == 3).then_some(()));
    let begun = Instant::now();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    let hook_took = begun.elapsed();
    let output = sweep.wait_with_output().expect("it ends");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(hook_took < Duration::from_secs(10), "the hook did not wait: {hook_took:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let found = &report["stores"][0];
    assert_eq!(found["outcome"], "interrupted", "{found:#}");
    assert!(found["detail"].as_str().expect("text").contains("a job has begun"), "{found:#}");
    assert_eq!(as_u64(&found["freed_bytes"]), MIB, "what it had freed until then is told");
    for pid in pids().lines() {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        assert!(status.is_empty() || status.contains("State:\tZ"), "{pid} lives on:\n{status}");
    }
    job.hook_completed().expect_ok();
    job.finish(&mut listener);
    let history = flat(&stage.host.guard(&["history"]).expect_code(&[0]).stdout());
    assert!(history.contains("collected 1 MiB - interrupted stores"), "{history}");
}

#[test]
fn tools_that_misbehave_are_stopped_and_reported_and_the_next_store_is_collected() {
    if !kit::sees_everything() {
        return;
    }
    let mut stage = Stage::new();
    let _runner = stage.host.runner("actions-runner-1").build();
    let second = stage.text_of("nix", "name = \"second\"");
    for (shell, outcome, said) in [
        ("[ \"$1\" = --cleanup ] && { trap '' TERM; sleep 600; }", "failed", "did not end within 3 s"),
        ("[ \"$1\" = --cleanup ] && { echo broken >&2; exit 1; }", "failed", "broken"),
        (
            "[ \"$1\" = --cleanup ] && yes 1234567890123456789012345678901234567890",
            "failed",
            "did not end within 3 s",
        ),
        ("[ \"$1\" = --cleanup ] && { yes >&2 & sleep 600; }", "failed", "did not end within 3 s"),
        ("[ \"$1\" = --cleanup ] && { setsid sleep 600 & exit 0; }", "collected", ""),
        ("[ \"$1\" = --cleanup ] && { echo 'freed 10 GB'; exit 0; }", "collected", ""),
        ("[ \"$1\" = --cleanup ] && kill -9 $$", "failed", "SIGKILL"),
    ] {
        let state = stage.host.state_dir().join("stores");
        let _ = std::fs::remove_dir_all(&state);
        stage.fill();
        let first = stage.text_of("ccache", "timeout = \"3s\"");
        stage.configure(&format!("{first}{second}"));
        stage.misbehave(shell);
        let begun = Instant::now();
        let run = stage.host.guard(&["stores", "--json"]);
        assert!(begun.elapsed() < Duration::from_secs(40), "{shell}: {:?}", begun.elapsed());
        let report: Value = serde_json::from_slice(&run.stdout).expect("JSON");
        let (one, two) = (&report["stores"][0], &report["stores"][1]);
        assert_eq!(one["outcome"], outcome, "{shell}: {one:#}");
        assert!(one["detail"].as_str().unwrap_or_default().contains(said), "{shell}: {one:#}");
        assert_eq!(as_u64(&one["freed_bytes"]), 0, "{shell}: its word is not believed");
        assert_eq!((&two["outcome"], stage.files() < FILES), (&"collected".into(), true), "{shell}: {two:#}");
        assert_eq!(run.code, Some(i32::from(outcome == "failed")), "{shell}");
        let lives = std::process::Command::new("pgrep").args(["-f", "^sleep 600$"]).output();
        assert!(lives.is_ok_and(|output| output.stdout.is_empty()), "{shell}: something lives on");
        // Whoever gave nothing is left alone for an hour, also where the disk lacks space.
        stage.fill();
        let _ = stage.calls();
        let again = stage.host.guard(&["stores", "--store", "ccache", "--json"]).expect_code(&[0]);
        assert_eq!(store(&again)["reason"], "rests", "{shell}");
        assert!(!stage.calls().iter().any(|call| call.contains("--cleanup")), "{shell}");
    }
}

#[test]
fn a_cap_holds_without_pressure_and_a_floor_under_it() {
    if !kit::sees_everything() {
        return;
    }
    let mut stage = Stage::new();
    let _runner = stage.host.runner("actions-runner-1").build();
    stage.host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    stage.entry("ccache", "");
    assert_eq!((&stage.stores()["reason"], stage.files()), (&"not-needed".into(), FILES));
    stage.entry("ccache", "max_size = \"50MiB\"");
    let found = stage.stores();
    assert_eq!((&found["outcome"], &found["reason"]), (&"collected".into(), &"size".into()), "{found:#}");
    assert!((48..=50).contains(&stage.files()), "{}", stage.files());
    // All of it is wanted, and a part stays.
    stage.host.configure(|settings| settings.want_everything());
    stage.entry("ccache", "keep = \"40MiB\"");
    assert_eq!(stage.stores()["outcome"], "collected");
    assert!((39..=41).contains(&stage.files()), "{}", stage.files());
    stage.entry("ccache", "keep = \"50MiB\"");
    assert_eq!(stage.stores()["reason"], "at-its-floor");
    // One that can only be emptied goes when others do not suffice, and not otherwise.
    stage.fill();
    stage.host.configure(|settings| (settings.high, settings.low, settings.critical) = (85, 75, 95));
    let (whole, bounded) = (stage.text_of("go", ""), stage.text_of("ccache", ""));
    stage.configure(&format!("{whole}{bounded}"));
    let plan: Value = serde_json::from_slice(&stage.host.guard(&["plan", "--json"]).stdout).expect("JSON");
    let reasons: Vec<&Value> =
        plan["stores"].as_array().expect("a list").iter().map(|s| &s["reason"]).collect();
    assert_eq!(reasons, ["not-needed", "pressure"], "{plan:#}");
    stage.configure(&whole);
    assert_eq!(stage.stores()["outcome"], "collected");
    assert_eq!(stage.files(), 0);
}

#[test]
fn a_tool_runs_as_the_stores_owner_and_root_only_what_root_alone_can_write() {
    if !kit::sees_everything() {
        return;
    }
    let mut stage = Stage::new();
    let _runner = stage.host.runner("actions-runner-1").build();
    let own = |path: &Path, user: u32| {
        std::os::unix::fs::chown(path, Some(user), Some(user)).expect("root gives away")
    };
    let refused = |stage: &Stage, why: &str| {
        let found = stage.stores();
        assert_eq!(found["reason"], "unusable", "{found:#}");
        assert!(found["detail"].as_str().expect("text").contains(why), "{found:#}");
        assert_eq!(stage.files(), FILES);
        assert!(!stage.calls().iter().any(|call| call.contains("--cleanup")));
    };
    // Others could exchange what root would run.
    stage.entry("ccache", "");
    own(&stage.tool.join("tool"), 1234);
    refused(&stage, "root does not run");
    own(&stage.tool.join("tool"), 0);
    // Others could lead root to another place.
    let home = stage.host.base.join("home");
    std::fs::create_dir(&home).expect("a directory");
    std::os::unix::fs::symlink(&stage.store, home.join("link")).expect("a link");
    let configure = |stage: &mut Stage, path: &Path| {
        let text = stage.text_of("ccache", "");
        let from = stage.store.display().to_string();
        stage.configure(
            &text.replace(&format!("path = {from:?}"), &format!("path = {:?}", path.display().to_string())),
        );
    };
    configure(&mut stage, &home.join("link"));
    refused(&stage, "leads through a link");
    let moved = home.join("moved");
    std::fs::create_dir(&moved).expect("a directory");
    own(&home, 1234);
    configure(&mut stage, &moved);
    refused(&stage, "is root's, but");
    configure(&mut stage, &home.join("nowhere"));
    refused(&stage, "cannot be opened");
    // As its owner the tool has no more rights than that.
    stage.entry("ccache", "");
    own(&stage.store, 1234);
    own(&stage.tool.join("tool"), 1234);
    assert_eq!(stage.stores()["outcome"], "collected");
    let calls = stage.calls();
    assert!(
        calls.iter().any(|call| call.starts_with("--cleanup") && call.ends_with("uid=1234")),
        "{calls:?}"
    );
    assert!(stage.files() < FILES);
}

#[test]
fn it_is_in_plan_sweep_status_history_why_and_metrics() {
    if !kit::sees_everything() {
        return;
    }
    let mut stage = Stage::new();
    let _runner = stage.host.runner("actions-runner-1").build();
    stage.entry("ccache", "name = \"compiler\"");
    let plan = flat(&stage.host.guard(&["plan"]).stdout());
    assert!(plan.contains("compiler (ccache, 58 MiB): would be collected, its disk lacks space"), "{plan}");
    let dry = stage.host.guard(&["sweep", "--dry-run", "--json"]);
    assert_eq!((&store(&dry)["outcome"], stage.files()), (&"planned".into(), FILES));
    let left = stage.host.guard(&["sweep", "--no-stores", "--json"]);
    assert_eq!((store(&left), stage.files()), (Value::Null, FILES));
    let before = stage.host.status();
    assert_eq!(before.0["stores"], Value::Null, "nothing has run yet");
    let sweep = stage.host.guard(&["sweep", "--json"]);
    assert_eq!((&store(&sweep)["outcome"], stage.files() < FILES), (&"collected".into(), true));
    let status = stage.host.status();
    assert_eq!(
        (&status.0["stores"][0]["name"], &status.0["stores"][0]["outcome"]),
        (&"compiler".into(), &"collected".into())
    );
    let shown = stage.host.guard(&["status"]).stdout();
    assert!(shown.contains("Store            compiler (ccache): "), "{shown}");
    let history = flat(&stage.host.guard(&["history"]).expect_code(&[0]).stdout());
    assert!(history.contains("collected 10 MiB - pressure stores"), "{history}");
    let why = stage.host.guard(&["why", stage.store.join("a00").to_str().expect("UTF-8"), "--json"]);
    assert_eq!(why.report().0["verdict"], "collected");
    let why = stage.host.guard(&["why", stage.store.join("a00").to_str().expect("UTF-8")]).stdout();
    assert!(flat(&why).contains("a store that its own tool collected"), "{why}");
    let metrics = stage.host.guard(&["metrics"]).stdout();
    for line in [
        "disk_guard_store_bytes{store=\"compiler\",kind=\"ccache\"} ",
        "disk_guard_store_freed_bytes_total{kind=\"ccache\"} ",
        "disk_guard_store_failures_total{kind=\"ccache\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(stage.host.guard(&["stores", "--store", "nobody"]).code == Some(2));
}

#[test]
fn a_record_that_is_damaged_or_of_the_future_harms_nothing() {
    if !kit::sees_everything() {
        return;
    }
    let mut stage = Stage::new();
    let _runner = stage.host.runner("actions-runner-1").build();
    stage.entry("ccache", "");
    let directory = stage.host.state_dir().join("stores");
    std::fs::create_dir_all(&directory).expect("a directory");
    let mut text = String::new();
    write!(text, "{{\"schema\":1,\"stores\":[{{\"name\":\"ccache\",\"kind\":\"ccache\",\"time\":{0},\"rests_until\":{0},\"outcome\":\"x\"}}]}}", u64::MAX / 4).expect("text");
    for record in ["{", "[]", &"x".repeat(2 << 20), &text] {
        stage.fill();
        std::fs::write(directory.join("last.json"), record).expect("a file");
        assert_eq!(stage.stores()["outcome"], "collected", "{}", &record[..record.len().min(100)]);
        assert!(stage.files() < FILES);
    }
}
