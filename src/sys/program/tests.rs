use super::child::{mark_each, reap, spawn};
use super::*;
use crate::model::Uid;
use crate::sys::testing::{self, NOBODY};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Instant;

const LONG: Duration = Duration::from_secs(60);
/// Long enough for a script's first output on a busy machine.
const SHORT: Duration = Duration::from_secs(1);

fn places() -> [PathBuf; 3] {
    ["/nonexistent", "/usr/bin", "/bin"].map(PathBuf::from)
}

fn call<'a>(arguments: &[&str], bounds: Bounds) -> Call<'a> {
    let program = Programs(&places()).find(arguments[0]).unwrap();
    Call::new(program, &arguments[1..], &places(), bounds)
}

/// A shell's run with a kilobyte for each output.
fn shell(script: &str, time: Duration) -> ProgramRun {
    call(&["sh", "-c", script], Bounds { time, output: 1000, complaint: 1000 }).run().unwrap()
}

fn code(run: &ProgramRun) -> Option<i32> {
    match run.end {
        ProgramEnd::Itself(status) => status.code(),
        _ => None,
    }
}

/// Killed does not mean gone: nobody here can wait for a grandchild.
fn await_gone(pids: &str) {
    let is_gone = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ") || status.contains("State:\tX")
    };
    let begun = Instant::now();
    assert!(!pids.trim().is_empty());
    while !pids.split_whitespace().all(is_gone) {
        assert!(begun.elapsed() < LONG, "one of {pids:?} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_program_is_looked_up_in_the_given_directories_and_run_without_a_shell() {
    let programs = places();
    let programs = Programs(&programs);
    assert_eq!(programs.find("sh").unwrap(), Path::new("/usr/bin/sh"));
    assert_eq!(programs.find("/bin/sh").unwrap(), Path::new("/bin/sh"));
    let bounds = Bounds::new(LONG, 1000);
    assert_eq!(programs.text("printf", &["%s|", "$HOME", "a b", "`id`"], bounds).unwrap(), "$HOME|a b|`id`|");
    assert_eq!(programs.text("pwd", &[], bounds).unwrap(), "/");

    let error = programs.run("no-such-program", &[], bounds).unwrap_err().to_string();
    assert!(error.contains("no-such-program is in none of /nonexistent, /usr/bin, /bin; install"), "{error}");
    let temp = tempfile::tempdir().unwrap();
    let (blocked, places) = (temp.path().join("env"), [temp.path().into(), "/usr/bin".into()]);
    std::fs::write(&blocked, "").unwrap();
    assert_eq!(Programs(&places).find("env").unwrap(), Path::new("/usr/bin/env"), "one that can be run");
    let error = Programs(&places[..1]).find("env").unwrap_err().to_string();
    assert!(error.contains(&format!("{} is not executable (mode 06", blocked.display())), "{error}");
    assert!(error.contains("chmod +x"), "{error}");
}

#[test]
fn errors_say_what_was_called_what_was_found_and_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    let broken = temp.path().join("broken").display().to_string();
    // Made by another process: no fork of ours holds it open for writing.
    assert!(shell(&format!("echo '#!/nonexistent/sh' >{broken}; chmod 755 {broken}"), LONG).is_success());
    let error = call(&[&broken, "x"], Bounds::new(LONG, 0)).run().unwrap_err().to_string();
    assert!(error.contains(&format!("`{broken} x` cannot be started: No such file or directory")), "{error}");
    for (script, time, expected) in [
        ("echo no >&2; echo why >&2; exit 3", LONG, "failed (exit status: 3): no; why; run it by hand"),
        ("exit 4", LONG, "failed (exit status: 4); run it by hand"),
        ("kill -9 $$", LONG, "failed (signal: 9 (SIGKILL))"),
        ("echo waiting >&2; sleep 600", SHORT, "did not end within 1 s and was killed: waiting; run it"),
        ("yes", LONG, "printed more than 1000 bytes and was killed; ask it"),
        ("sleep 600 & exit 0", LONG, "ended and left a process that holds its output"),
    ] {
        let error = shell(script, time).success().unwrap_err().to_string();
        assert!(error.contains(&format!("`/usr/bin/sh -c {script}` {expected}")), "{error}");
        // Only another exit code than 0 is an answer as well.
        let is_answer = error.contains("failed (");
        assert_eq!(shell(script, time).ended().is_ok(), is_answer, "{script}");
    }
    let long = shell(&format!(": {}; head -c 900 /dev/zero | tr '\\0' x >&2; exit 1", "ä".repeat(900)), LONG);
    let error = long.success().unwrap_err().to_string();
    assert!(error.len() < 700 && error.contains("ä ...` failed") && error.contains("x ...;"), "{error}");
}

/// The program and its children are killed, whatever they do with signals and pipes.
#[test]
fn one_that_hangs_is_ended_with_all_its_children() {
    let script = "trap '' TERM INT HUP; echo $$; (trap '' TERM; exec sleep 600) & echo $!; wait; sleep 600";
    let run = shell(script, SHORT);
    assert_eq!(run.end, ProgramEnd::TimedOut);
    let text = run.text();
    assert_eq!(text.lines().count(), 2, "what it had said is there: {text}");
    let leader = text.lines().next().unwrap();
    assert!(!Path::new("/proc").join(leader).exists(), "a zombie is left");
    await_gone(&text);
}

#[test]
fn one_that_closes_its_outputs_is_waited_for_in_its_time() {
    let begun = Instant::now();
    let run = shell("exec >&- 2>&-; sleep 0.2; exit 4", LONG);
    assert_eq!(code(&run), Some(4));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(shell("exec >&- 2>&-; sleep 600", SHORT).end, ProgramEnd::TimedOut);
    assert!(begun.elapsed() < LONG);
}

/// A background child holds the pipe: the output may continue, so it is not complete; and the child does not outlive the call.
#[test]
fn processes_left_behind_by_a_program_are_ended_with_it() {
    let run = shell("sleep 600 & echo $!", LONG);
    assert!(matches!(run.end, ProgramEnd::Held(status) if status.success()), "{run:?}");
    await_gone(&run.text());
    let run = shell("sleep 600 >/dev/null & echo $!", LONG);
    assert_eq!(code(&run), Some(0), "its complaints alone are held");
    await_gone(&run.text());
}

#[test]
fn outputs_are_bounded_and_a_truncation_is_reported() {
    let whole = shell("head -c 1000 /dev/zero", LONG);
    assert_eq!((code(&whole), whole.output.len()), (Some(0), 1000));
    let cut = shell("head -c 1001 /dev/zero", LONG);
    assert_eq!((cut.end, cut.output.len()), (ProgramEnd::TooLong, 1000));
    let endless = shell("yes", LONG);
    assert_eq!((endless.end, endless.output.len()), (ProgramEnd::TooLong, 1000));
    // The rest of standard error is discarded, and the program continues.
    let loud = shell("yes | head -c 1000000 >&2; echo done; exit 3", LONG);
    assert_eq!((code(&loud), loud.text().as_str(), loud.complaint.len()), (Some(3), "done", 1004));
    assert!(loud.complaint.ends_with("y\n ..."), "{}", loud.complaint);
    let unread = call(&["sh", "-c", "yes | head -c 1000000"], Bounds::new(LONG, 0)).run().unwrap();
    assert_eq!((code(&unread), unread.output.len()), (Some(0), 0));
}

#[test]
fn a_program_reads_only_its_given_input() {
    let text = b"0123456789abcdef".repeat(1 << 16);
    let with = |arguments: &[&str], time, input: &[u8]| {
        let bounds = Bounds::new(time, text.len());
        Call { input, ..call(arguments, bounds) }.run().unwrap()
    };
    let run = with(&["cat"], LONG, &text);
    assert!(run.is_success() && run.output == text, "{:?}", run.end);
    assert!(with(&["true"], LONG, &text).is_success(), "one that does not read is not waited for");
    assert_eq!(with(&["sleep", "600"], SHORT, &text).end, ProgramEnd::TimedOut);
    let run = with(&["cat"], LONG, b"");
    assert!(run.is_success() && run.output.is_empty(), "{run:?}");
}

#[test]
fn nothing_unintended_is_inherited() {
    testing::in_own_process("sys::program::tests::nothing_unintended_is_inherited", || {
        let marker = tempfile::NamedTempFile::new().unwrap();
        let open = nix::unistd::dup(&marker).unwrap();
        // SAFETY: in a process of its own, in which nobody else reads the environment or handles signals.
        #[allow(unsafe_code)]
        let (set, ignore) = (
            |name: &str, value: &str| unsafe { std::env::set_var(name, value) },
            |number: Signal| unsafe { signal(number, SigHandler::SigIgn) }.map(drop).unwrap(),
        );
        set("LD_PRELOAD", "/nonexistent/poison.so");
        set("PATH", "/nonexistent/poison");
        ignore(Signal::SIGHUP);
        ignore(Signal::SIGCHLD);
        SigSet::from(Signal::SIGUSR1).thread_block().unwrap();
        let marker = marker.path().to_str().unwrap();
        // Those of the first 31: glibc keeps two for itself. The parent of the tests may ignore some, too.
        let ignored = |status: &str| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap_or("0");
            u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff
        };
        for (words, poison, clean) in [
            (&["env"][..], &["poison.so", "PATH=/nonexistent/poison"][..], "PATH=/nonexistent:/usr/bin:/bin"),
            (&["ls", "-l", "/proc/self/fd"], &[marker], "/dev/null"),
            (&["cat", "/proc/self/status"], &["SigBlk:\t0000000000000200"], "SigBlk:\t0000000000000000"),
        ] {
            let mut control = Command::new(Programs(&places()).find(words[0]).unwrap());
            let mut control = control.args(&words[1..]).stdout(std::process::Stdio::piped()).spawn().unwrap();
            let before = std::io::read_to_string(control.stdout.take().unwrap()).unwrap();
            let _ = control.wait();
            let run = call(words, Bounds::new(LONG, 1 << 20)).run().unwrap();
            assert!(run.is_success() && run.text().contains(clean), "{run:?}");
            let of_status = words[0] == "cat";
            assert!(!of_status || ignored(&before) & 0x1_0001 == 0x1_0001, "the control: {before}");
            assert_eq!(ignored(&run.text()), 0, "{run:?}");
            for poison in poison {
                assert!(before.contains(poison), "the control: {poison}\n{before}");
                assert!(!run.text().contains(poison), "{poison}\n{}", run.text());
            }
            // A process that ignores SIGCHLD does not learn how its children end.
            ignore(Signal::SIGCHLD);
        }
        // If the kernel cannot mark them all at once.
        let flags = || nix::fcntl::fcntl(&open, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags(), 0, "{}", open.as_raw_fd());
        mark_each();
        assert_eq!(flags(), nix::libc::FD_CLOEXEC);
    });
}

/// The death of a thread counts as that of a parent: its children get the signal.
#[test]
fn it_does_not_outlive_us() {
    let call = || call(&["sleep", "600"], Bounds::new(LONG, 0));
    let mut child = std::thread::spawn(move || spawn(&call()).unwrap()).join().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
    let mut stubborn = spawn(&call()).unwrap();
    let begun = Instant::now();
    assert!(reap(&mut stubborn).is_none(), "one that the kernel does not let go is not waited for");
    assert!(begun.elapsed() < LONG);
    stubborn.kill().unwrap();
    assert_eq!(reap(&mut stubborn).unwrap().signal(), Some(Signal::SIGKILL as i32));
}

#[test]
fn confined_it_is_in_its_directory_as_its_user_and_can_write_nothing() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let dir = testing::handle(temp.path());
    let user = if nix::unistd::geteuid().is_root() { NOBODY } else { nix::unistd::geteuid().as_raw() };
    let run = |script: &str| {
        let confinement = Sandbox { user: (Uid(user), user), dir: &dir, memory: 1 << 30, files: 64 };
        let bounds = Bounds::new(Duration::from_secs(20), 0);
        Call { confinement: Some(confinement), ..call(&["sh", "-c", script], bounds) }.run().unwrap()
    };
    let told = run("{ pwd; id -u; ulimit -n; ulimit -t; cat /proc/self/status; } >&2; echo x >file; exit 3");
    let expected = format!("{}\n{user}\n64\n20\n", temp.path().display());
    assert!(told.complaint.starts_with(&expected), "{told:?}");
    assert!(told.complaint.contains("NoNewPrivs:\t1"), "{told:?}");
    // SIGXFSZ for the shell itself, or an error from echo: in no case is anything written.
    assert!(!told.is_success());
    assert_eq!(std::fs::read(temp.path().join("file")).unwrap_or_default(), b"");
}

#[test]
fn root_runs_only_what_root_alone_can_write() {
    if !testing::is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (program, link) = (temp.path().join("tool"), other.path().join("link"));
    // Made by another process: no fork of ours holds it open for writing.
    assert!(testing::run("cp", &["/bin/true".as_ref(), program.as_ref()]));
    std::os::unix::fs::symlink(&program, &link).unwrap();
    let run = |path: &Path| {
        let run = Call::new(path.into(), &[], &[], Bounds::new(LONG, 0)).run();
        run.map(|run| assert!(run.is_success())).map_err(|error| error.to_string())
    };
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let own = |uid| std::os::unix::fs::chown(&program, Some(uid), None).unwrap();
    run(&program).expect("the control");
    run(&link).expect("the control: a link");
    set(&program, 0o775);
    assert!(run(&program).unwrap_err().contains("mode 0775"));
    set(&program, 0o755);
    own(12_345);
    assert!(run(&program).unwrap_err().contains("uid 12345"));
    own(0);
    set(temp.path(), 0o777);
    for path in [&program, &link] {
        assert!(run(path).unwrap_err().contains("mode 0777"), "the directory counts, also behind a link");
    }
    set(temp.path(), 0o755);
    run(&program).expect("the control");
    // A link to a link: the directory that holds the second one counts as well.
    let middle = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(temp.path(), middle.path().join("second")).unwrap();
    let first = other.path().join("first");
    std::os::unix::fs::symlink(middle.path().join("second"), &first).unwrap();
    run(&first.join("tool")).expect("the control");
    set(middle.path(), 0o777);
    assert!(run(&first.join("tool")).unwrap_err().contains("mode 0777"));
    // In a directory where everybody may write, an entry's owner can exchange it.
    set(middle.path(), 0o1777);
    run(&first.join("tool")).expect("root's own link there");
    std::os::unix::fs::lchown(middle.path().join("second"), Some(12_345), None).unwrap();
    assert!(run(&first.join("tool")).unwrap_err().contains("mode 1777"));
}
