//! Whether a runner's jobs pass through our started-hook.
//!
//! Only then is the order between a claim and a job's start certain. The Listener reads `<root>/.env` once, at its own
//! start: a hook that was written there later is not in force yet. The runner's user can write all of these files; lying
//! in them harms nobody else, and never frees anything of another runner.

use super::processes::HookVariable;
use crate::model::{Guarded, ListenerSeen, Runner};
use crate::sys::dir::Dir;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The variable that names the hook.
pub const STARTED_VARIABLE: &str = "ACTIONS_RUNNER_HOOK_JOB_STARTED";

/// Where packages install our hook; a script there is ours even where it cannot be read.
const INSTALLED: [&str; 2] = ["/usr/lib/disk-guard/hooks", "/usr/local/lib/disk-guard/hooks"];

/// `.env` files and hook scripts are short.
const MAX_BYTES: u64 = 256 * 1024;

/// A Listener's start is known to the clock tick, but only relative to a boot time in whole seconds.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// Judges one runner. `listener` is its running Listener with the hook that its own environment names, if any.
pub fn judge(runner: &Runner, listener: Option<(&ListenerSeen, Option<PathBuf>)>) -> Guarded {
    let from_environment = listener.as_ref().and_then(|(_, hook)| hook.as_deref());
    if from_environment.is_some_and(|hook| runs_us(hook).is_guarded()) {
        return Guarded::Yes;
    }
    let env = match read_env(runner) {
        Ok(env) => env,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Guarded::No(format!("it has no `.env`, so no {STARTED_VARIABLE}"));
        }
        Err(error) => return Guarded::No(format!("its `.env` cannot be read: {error}")),
    };
    let Some(hook) = env.hook else {
        return Guarded::No(format!("its `.env` names no {STARTED_VARIABLE}"));
    };
    match (runs_us(&hook), listener) {
        (Guarded::Yes, Some((listener, _))) if env.written > listener.started + CLOCK_SLACK => {
            Guarded::No(format!(
                "its `.env` is newer than its Listener (pid {}), which reads it only when it starts: restart it",
                listener.process.pid
            ))
        }
        (judgement, _) => judgement,
    }
}

struct Env {
    hook: Option<PathBuf>,
    written: std::time::SystemTime,
}

fn read_env(runner: &Runner) -> io::Result<Env> {
    let root = Dir::open(&runner.root)?;
    let written = root.status_of(".env")?.modified;
    let bytes = root.read_file(".env", MAX_BYTES)?;
    Ok(Env { hook: hook_in(&bytes), written })
}

/// The hook that a `.env` names: literal `KEY=VALUE` lines without quotes or comments, the last one counts.
pub(crate) fn hook_in(env: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    env.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter_map(|line| line.strip_prefix(STARTED_VARIABLE.as_bytes())?.strip_prefix(b"="))
        .next_back()
        .map(<[u8]>::trim_ascii)
        .filter(|path| !path.is_empty())
        .map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

/// Whether a script is a hook of ours, or runs one.
pub fn is_ours(variable: HookVariable, hook: &Path) -> bool {
    hook_of_ours(variable, hook).is_guarded()
}

fn runs_us(hook: &Path) -> Guarded {
    hook_of_ours(HookVariable::JobStarted, hook)
}

/// Whether a hook script runs us: it is the installed one, or its text runs `disk-guard ... hook started`, or the script of
/// ours that does, as the chain scripts of `install` do.
fn hook_of_ours(variable: HookVariable, hook: &Path) -> Guarded {
    let (file, word) = match variable {
        HookVariable::JobStarted => ("job-started.sh", "started"),
        HookVariable::JobCompleted => ("job-completed.sh", "completed"),
    };
    if is_installed(hook, file) {
        return Guarded::Yes;
    }
    let no = |what: String| Guarded::No(format!("its {word}-hook {} {what}", hook.display()));
    let text = match read_script(hook) {
        Ok(text) => text,
        Err(error) => return no(format!("cannot be read: {error}")),
    };
    let through = |script: &Path| {
        is_installed(script, file) || read_script(script).is_ok_and(|text| script_runs_us(&text, word))
    };
    if script_runs_us(&text, word) || scripts_named(&text, file).any(|script| through(&script)) {
        return Guarded::Yes;
    }
    no(format!("does not run `disk-guard hook {word}`"))
}

fn is_installed(hook: &Path, file: &str) -> bool {
    INSTALLED.iter().any(|installed| hook == Path::new(installed).join(file)) && hook.exists()
}

fn read_script(hook: &Path) -> io::Result<String> {
    // O_NONBLOCK: a FIFO in a script's place is not waited for.
    let file = std::fs::File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(hook)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'))
}

pub(crate) fn script_runs_us(text: &str, word: &str) -> bool {
    commands(&text.replace("\\\n", " ")).any(|line| {
        line.split_once("disk-guard").is_some_and(|(_, rest)| {
            let words: Vec<&str> = rest.split_whitespace().collect();
            words.windows(2).any(|pair| pair[0] == "hook" && pair[1].trim_end_matches([';', '"']) == word)
        })
    })
}

/// The absolute paths of scripts of this name that a script runs with a shell.
fn scripts_named(text: &str, file: &str) -> impl Iterator<Item = PathBuf> {
    commands(text)
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_matches(['\'', '"', ';']))
        .filter(move |word| word.starts_with('/') && Path::new(word).file_name() == Some(file.as_ref()))
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileId, Pid, ProcessId, StartTime, Uid, Work};
    use std::fs::{create_dir_all, write};
    use std::time::SystemTime;

    #[test]
    fn the_hook_is_the_last_one_that_the_file_names() {
        let hook = |text: &str| hook_in(text.as_bytes()).map(|path| path.to_str().unwrap().to_owned());
        assert_eq!(hook("LANG=C\r\nACTIONS_RUNNER_HOOK_JOB_STARTED=/a.sh\r\n").as_deref(), Some("/a.sh"));
        assert_eq!(
            hook("ACTIONS_RUNNER_HOOK_JOB_STARTED=/a\nACTIONS_RUNNER_HOOK_JOB_STARTED=/b").as_deref(),
            Some("/b")
        );
        assert_eq!(hook("#ACTIONS_RUNNER_HOOK_JOB_STARTED=/a\nACTIONS_RUNNER_HOOK_JOB_STARTED=\n"), None);
        assert_eq!(hook("ACTIONS_RUNNER_HOOK_JOB_STARTED_X=/a"), None);
    }

    #[test]
    fn a_script_runs_us_only_when_it_does() {
        for yes in [
            "#!/bin/bash\nexec /usr/bin/disk-guard hook started\n",
            "disk-guard --config /etc/x.toml hook started || true",
            "exec \"$bin/disk-guard\" \\\n  hook started",
        ] {
            assert!(script_runs_us(yes, "started"), "{yes}");
        }
        for no in
            ["# disk-guard hook started", "echo hello", "disk-guard hook completed", "disk-guard hook", ""]
        {
            assert!(!script_runs_us(no, "started"), "{no}");
        }
    }

    #[test]
    fn a_runner_is_guarded_by_what_its_listener_has_read() {
        let temp = tempfile::tempdir().unwrap();
        let root = Dir::resolve(temp.path()).unwrap().1.join("actions-runner-1");
        create_dir_all(&root).unwrap();
        let runner = Runner {
            name: "one".into(),
            root: root.clone(),
            root_id: FileId { dev: 0, ino: 0 },
            owner: Uid(0),
            work: Work::Absent { path: root.join("_work") },
        };
        let started = |offset: i64| ListenerSeen {
            process: ProcessId { pid: Pid(1), start: StartTime(1) },
            runner: 0,
            started: if offset < 0 {
                std::fs::metadata(root.join(".env")).unwrap().modified().unwrap()
                    - Duration::from_secs(offset.unsigned_abs())
            } else {
                SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX))
            },
        };
        assert!(!judge(&runner, None).is_guarded(), "no .env");
        write(root.join("ours.sh"), "exec disk-guard hook started").unwrap();
        write(root.join("other.sh"), "echo").unwrap();
        let name = |script: &str| {
            write(root.join(".env"), format!("{STARTED_VARIABLE}={}\n", root.join(script).display()))
                .unwrap();
        };
        for (script, guarded) in [("other.sh", false), ("missing.sh", false), ("ours.sh", true)] {
            name(script);
            assert_eq!(judge(&runner, None).is_guarded(), guarded, "{script}");
        }
        assert!(judge(&runner, Some((&started(1), None))).is_guarded(), "the Listener is newer");
        let stale = started(-60);
        assert!(!judge(&runner, Some((&stale, None))).is_guarded(), "the Listener has not read it");
        assert!(
            judge(&runner, Some((&stale, Some(root.join("ours.sh"))))).is_guarded(),
            "its environment names it"
        );
    }
}
