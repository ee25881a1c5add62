//! The kit itself: a test that stands on a stand-in is worth what the stand-in is.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit;
use crate::kit::{Call, Canary, Fs, Holder, Host, MIB, Stopped, fill_bytes, fill_inodes, is_alive, usage};
use nix::libc;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

fn link(pid: i32, name: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/{name}")).expect("a test may look at its own processes")
}

fn words(pid: i32, name: &str) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/{name}")).expect("a test may look at its own processes");
    bytes.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

fn log(runner: &kit::Runner, kind: &str) -> String {
    let entries = std::fs::read_dir(runner.root.join("_diag")).expect("the log directory");
    let mut text = String::new();
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(kind) {
            text += &std::fs::read_to_string(entry.path()).expect("a log");
        }
    }
    text
}

/// Replaces the host's hook by one that shows what it was given.
fn show_hook(host: &Host, which: &str) {
    let script = if which == "started" { host.started_script() } else { host.completed_script() };
    let text = "env\necho CWD=$(pwd)\ncat\necho STDIN-ENDED\necho SCORE=$(cat /proc/self/oom_score_adj)\n";
    std::fs::write(script, text.to_owned() + "tr '\\0' ' ' </proc/$$/cmdline >&2\n").expect("our own script");
}

#[test]
fn a_job_looks_like_a_real_one_from_its_first_log_line_to_its_last() {
    let host = Host::new();
    show_hook(&host, "started");
    show_hook(&host, "completed");
    let runner = host.runner("actions-runner-1").named("builder-1").build();
    std::fs::write(runner.work.join("_temp/left-over"), "").expect("our own file");

    let mut listener = runner.listen();
    assert_eq!(
        std::fs::read_to_string(format!("/proc/{}/comm", listener.pid())).unwrap(),
        "Runner.Listener\n"
    );
    assert_eq!(link(listener.pid(), "exe"), runner.bin.join("Runner.Listener"));
    assert_eq!(link(listener.pid(), "cwd"), runner.root);

    listener.receive();
    assert!(log(&runner, "Runner_").contains(" received."));
    assert!(!log(&runner, "Runner_").contains("Running job"), "gap A: received, and no Worker yet");

    let mut job = listener.start_worker("acme/widgets");
    assert_eq!(std::fs::read_to_string(format!("/proc/{}/comm", job.pid)).unwrap(), "Runner.Worker\n");
    assert_eq!(link(job.pid, "exe"), runner.bin.join("Runner.Worker"));
    assert_eq!(link(job.pid, "cwd"), runner.bin);
    let arguments = words(job.pid, "cmdline");
    assert_eq!(arguments[0], runner.bin.join("Runner.Worker").to_str().unwrap());
    assert_eq!(arguments[1], "spawnclient");
    for fd in &arguments[2..4] {
        assert!(link(job.pid, &format!("fd/{fd}")).to_string_lossy().starts_with("pipe:"));
    }
    assert!(!words(job.pid, "environ").iter().any(|pair| pair.starts_with("RUNNER_TRACKING_ID")));
    assert!(runner.work.join("_temp/left-over").exists(), "gap B: the Worker has done nothing yet");

    assert_eq!(job.prepare(&[("GITHUB_REF", "refs/heads/topic")]), Vec::<String>::new());
    assert!(!runner.work.join("_temp/left-over").exists());
    assert!(runner.work.join("_PipelineMapping/acme/widgets/PipelineFolder.json").exists());

    let hook = job.hook_started();
    assert_eq!(hook.code, 0);
    let text = String::from_utf8(hook.stdout.clone()).unwrap();
    let env: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let workspace = runner.work.join("widgets/widgets");
    assert_eq!(env["CWD"], workspace.to_str().unwrap());
    assert_eq!(env["GITHUB_WORKSPACE"], workspace.to_str().unwrap());
    assert_eq!(env["RUNNER_NAME"], "builder-1");
    assert_eq!(env["RUNNER_TRACKING_ID"], job.tracking);
    assert_eq!(env["GITHUB_REF"], "refs/heads/topic");
    assert_eq!((env["CI"], env["GITHUB_ACTIONS"], env["SCORE"]), ("true", "true", "500"));
    assert!(text.contains("STDIN-ENDED"), "standard input is at its end");
    let command = format!("bash -e {} ", host.started_script().display());
    assert_eq!(String::from_utf8_lossy(&hook.stderr), command);

    // A step that leaves a process behind and puts a directory first in PATH.
    let steps =
        job.steps("sleep 300 >/dev/null 2>&1 </dev/null &\necho $!\necho /opt/first >>$GITHUB_PATH\n");
    let orphan: i32 = String::from_utf8_lossy(&steps.stdout).trim().parse().unwrap();
    assert!(is_alive(orphan));
    let completed = job.hook_completed();
    assert!(String::from_utf8_lossy(&completed.stdout).contains("\nPATH=/opt/first:"));
    let pid = job.pid;
    job.finish(&mut listener);
    kit::until("the end of the job and its orphans", || (!is_alive(pid) && !is_alive(orphan)).then_some(()));
    assert!(log(&runner, "Worker_").ends_with("Job completed.\n"));
    let log = log(&runner, "Runner_");
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("`{text}` in {log}"));
    assert!(at(" received.") < at("Running job: build"));
    assert!(at("Running job: build") < at("Worker finished for job") && log.contains("Code: 100"));
    assert!(log.contains("with result: Succeeded"));
}

#[test]
fn faults_leave_what_they_leave_on_a_real_runner() {
    let host = Host::new();
    show_hook(&host, "completed");
    std::fs::write(host.started_script(), "sleep 300 &\nread -r line <>/proc/self/fd/1 || true\n").unwrap();
    let runner = host.runner("actions-runner-1").plain_bin().build();
    assert_eq!(runner.bin, runner.root.join("bin"));

    // The Listener dies, the Worker does not, and a new Listener starts a second one.
    let mut first = runner.listen();
    let mut old = first.begin_job("acme/widgets");
    first.kill();
    assert!(is_alive(old.pid));
    let mut second = runner.listen();
    let new = second.begin_job("acme/widgets");
    assert!(is_alive(old.pid) && is_alive(new.pid));

    // The Worker dies while its child goes on writing.
    let file = runner.work.join("widgets/widgets/beat");
    let child = old.start_steps(&format!("while :; do echo x >>{}; done\n", file.display()));
    kit::until("the child to write", || file.exists().then_some(()));
    old.kill_worker();
    let before = std::fs::metadata(&file).unwrap().len();
    kit::until("the child to go on", || (std::fs::metadata(&file).unwrap().len() > before).then_some(()));
    drop(old);
    assert!(!is_alive(child), "what a job started goes with it");

    // A hook that hangs is not ended by a cancellation; a step is.
    let mut job = new;
    std::fs::write(host.started_script(), "sleep 300\n").unwrap();
    let hook = job.start_hook("started");
    job.cancel();
    assert!(job.poll_hook("started", Duration::from_millis(100)).is_none() && is_alive(hook));
    drop(job);
    assert!(!is_alive(hook));

    // A child that keeps the pipe delays the end by 5 s.
    std::fs::write(host.started_script(), "sleep 300 &\n").unwrap();
    let mut third = runner.listen();
    let mut job = third.begin_job("acme/widgets");
    let hook = job.hook_started();
    assert!(hook.held && hook.code == 0);
    drop(job);

    let mut idle = host.runner("actions-runner-2").build().listen();
    idle.update("2.337.0");
    let bin = host.runners().join("actions-runner-2/bin");
    assert_eq!(std::fs::read_link(&bin).unwrap(), Path::new("bin.2.337.0"));
    let job = idle.begin_job("acme/widgets");
    assert!(is_alive(job.pid));
}

#[test]
fn a_process_stops_at_the_system_call_and_continues_afterwards() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    let mv = |from: &str, to: &str| Call {
        program: "/bin/mv".into(),
        arguments: vec![at(from).into(), at(to).into()],
        user: None,
    };
    std::fs::write(at("a"), "").unwrap();
    let stopped = Stopped::at(&mv("a", "b"), |call| {
        [libc::SYS_renameat2, libc::SYS_renameat, libc::SYS_rename].contains(&call.number)
    });
    assert!(at("a").exists() && !at("b").exists(), "at the entry nothing has happened");
    stopped.to_exit();
    assert!(!at("a").exists() && at("b").exists(), "at the exit it has");
    assert_eq!(stopped.release().code, Some(0));

    let stopped =
        Stopped::at(&mv("b", "c"), |call| call.number == libc::SYS_renameat2 && call.text(1).ends_with("/b"));
    let run = stopped.kill();
    assert_eq!(run.signal, Some(libc::SIGKILL));
    assert!(at("b").exists() && !at("c").exists(), "killed before it happened");
    let run =
        Stopped::try_at(&mv("b", "c"), |call| call.number == libc::SYS_unlinkat).err().expect("no such call");
    assert_eq!(run.code, Some(0));
    assert!(at("c").exists());
}

#[test]
fn a_canary_notices_every_kind_of_touch() {
    let host = Host::new();
    let runner = host.runner("actions-runner-1").build();
    let target = runner.cache("acme/widgets", "target", MIB, 2 * DAY);
    let canary = Canary::of(&target);
    std::fs::read(target.join("CACHEDIR.TAG")).unwrap();
    canary.assert_intact();

    let aside = target.with_extension("aside");
    std::fs::rename(&target, &aside).unwrap();
    assert!(!canary.changes().is_empty());
    std::fs::rename(&aside, &target).unwrap();
    canary.assert_intact();

    let file = target.join("debug/deps/libwidget-0000.rlib");
    let (content, modified) =
        (std::fs::read(&file).unwrap(), std::fs::metadata(&file).unwrap().modified().unwrap());
    let mut other = content.clone();
    other[7] ^= 1;
    for bytes in [&other, &content] {
        std::fs::write(&file, bytes).unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
        assert_eq!(
            canary.changes().is_empty(),
            bytes == &content,
            "the content counts, whatever the times say"
        );
    }
    std::fs::remove_file(&file).unwrap();
    assert!(canary.changes().iter().any(|change| change.starts_with("gone: ")));
}

#[test]
fn every_test_filesystem_can_be_filled_and_is_removed() {
    if !kit::needs_root("mounts small filesystems") {
        return;
    }
    let mut base = PathBuf::new();
    for fs in [
        Fs::Tmpfs { mib: 24, inodes: 4000 },
        Fs::Ext4 { mib: 32, inodes: 4000 },
        Fs::Xfs { mib: 320 },
        Fs::Btrfs { mib: 128 },
    ] {
        let host = Host::on(fs);
        base = host.base.clone();
        let runner = host.runner("actions-runner-1").build();
        runner.cache("acme/widgets", "target", 4 * MIB, DAY);
        let (percent, available) = usage(&host.runners());
        assert!(percent < 100 && available > 0, "{fs:?}");
        if !matches!(fs, Fs::Xfs { .. } | Fs::Btrfs { .. }) {
            fill_inodes(&host.runners().join("ballast"));
            assert!(std::fs::write(host.runners().join("one-more"), "").is_err(), "{fs:?}: no inode is left");
            std::fs::remove_file(host.runners().join("ballast/000000")).unwrap();
            fill_bytes(&host.runners().join("ballast.bin"));
            assert_eq!(usage(&host.runners()), (100, 0), "{fs:?}");
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(base.to_str().unwrap()) && !base.exists());
}

#[test]
fn holders_hold_the_paths_they_claim() {
    let host = Host::new();
    let runner = host.runner("actions-runner-1").build();
    let target = runner.cache("acme/widgets", "target", MIB, DAY);
    let file = target.join("debug/deps/libwidget-0000.rlib");
    assert_eq!(link(Holder::new("cwd", &target).pid(), "cwd"), target);
    let open = Holder::new("open", &file);
    let fds = std::fs::read_dir(format!("/proc/{}/fd", open.pid())).unwrap().flatten();
    assert!(fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|path| path == file));
    let map = Holder::new("map", &file);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", map.pid())).unwrap();
    assert!(maps.contains(file.to_str().unwrap()));
    let lock = Holder::new("flock", &target);
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    assert!(locks.lines().any(|line| line.contains(&format!(" {} ", lock.pid()))));
    if kit::needs_root("changes a process's root") {
        assert_eq!(link(Holder::new("root", &target).pid(), "root"), target);
    }
}

#[test]
fn output_is_read_as_the_runner_reads_it() {
    let parse = |text: &str| kit::parse_as_runner(text.as_bytes(), b"");
    let safe = parse("::group::disk-guard\nplain :: text ::\n::endgroup::\n::warning title=x::full\n");
    safe.assert_safe();
    assert_eq!(safe.annotations.len(), 1);
    for text in ["::add-mask::x", "  ::set-env name=A::b", "a ##[add-mask]x", "plain\r::error::a\r::error::b"]
    {
        let read = parse(text);
        assert!(
            !read.unexpected.is_empty() || read.annotations.len() > 1,
            "{text:?} is obeyed by the runner"
        );
    }
}
