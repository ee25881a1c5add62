use super::*;

fn tool(command: &[&str], timeout: Duration) -> Tool {
    let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    Tool::new(&words, &["/nonexistent".into(), "/usr/bin".into(), "/bin".into()], timeout)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_tool_answers_without_our_environment_and_without_a_shell() {
    let said = tool(&["env"], LONG).run(&[], b"").unwrap();
    let text = String::from_utf8(said.output).unwrap();
    assert!(said.is_success && text.contains("LC_ALL=C") && text.contains("HOME="), "{text}");
    assert!(!text.contains("CARGO"), "{text}");
    let output = tool(&["printf", "%s|"], LONG).output(&["$HOME", "a b", "`id`"]).unwrap();
    assert_eq!(output, b"$HOME|a b|`id`|");
    assert_eq!(tool(&["cat"], LONG).output_of(&[], b"given").unwrap(), b"given");
    assert_eq!(tool(&["cat"], LONG).output(&[]).unwrap(), b"", "no standard input");
}

#[test]
fn failures_say_what_was_called_and_what_it_said() {
    let error = tool(&["sh", "-c", "echo no >&2; exit 3"], LONG).output(&["x"]).unwrap_err().to_string();
    assert!(
        error.contains("`sh -c echo no >&2; exit 3 x`") && error.contains("no (exit status: 3)"),
        "{error}"
    );
    let error = tool(&["no-such-tool"], LONG).output(&[]).unwrap_err().to_string();
    assert!(error.contains("no-such-tool is in none of /nonexistent, /usr/bin, /bin"), "{error}");
}

/// The program and its children go, whatever they do with signals and pipes.
#[test]
fn one_that_hangs_is_ended_with_all_its_children() {
    let temp = tempfile::tempdir().unwrap();
    let pids = temp.path().join("pids");
    let script = format!(
        "trap '' TERM INT HUP; (trap '' TERM; echo $$ >>{0}; exec sleep 600) & echo $! >>{0}; wait; sleep 600",
        pids.display()
    );
    let error = tool(&["sh", "-c", &script], Duration::from_millis(400)).output(&[]).unwrap_err();
    assert!(matches!(error, ProgramError::TimedOut { .. }), "{error}");
    let text = std::fs::read_to_string(&pids).unwrap();
    assert!(!text.trim().is_empty());
    // Killed is not gone yet: a grandchild is nobody's to wait for.
    let is_gone = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ") || status.contains("State:\tX")
    };
    let deadline = Instant::now() + LONG;
    while !text.split_whitespace().all(is_gone) {
        assert!(Instant::now() < deadline, "one of {text:?} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A background child holds the pipe: the answer may go on, so it is none; and the child does not outlive the call.
#[test]
fn an_answer_whose_end_is_not_seen_is_none() {
    let error = tool(&["sh", "-c", "sleep 600 & echo $! >&2; echo '[]'"], LONG).output(&[]).unwrap_err();
    assert!(matches!(error, ProgramError::TimedOut { .. }), "{error}");
}

#[test]
fn an_endless_answer_is_cut_and_is_none() {
    let begun = read_all(io::repeat(b'x').take(100), 64).finish(LONG);
    assert!(begun.is_cut && !begun.is_whole);
    let whole = read_all(&b"12345678"[..], 8).finish(LONG);
    assert!(whole.is_whole && whole.bytes == b"12345678");
}

#[test]
fn root_runs_only_what_root_alone_can_write() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let program = temp.path().join("tool");
    std::fs::copy("/bin/true", &program).unwrap();
    let run = || tool(&[program.to_str().unwrap()], LONG).output(&[]).map_err(|error| error.to_string());
    let set = |mode| std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o755);
    run().expect("the control");
    set(0o775);
    assert!(run().unwrap_err().contains("mode 0775"));
    set(0o755);
    std::os::unix::fs::chown(&program, Some(12_345), None).unwrap();
    assert!(run().unwrap_err().contains("uid 12345"));
    std::os::unix::fs::chown(&program, Some(0), None).unwrap();
    let other = tempfile::tempdir().unwrap();
    let link = other.path().join("link");
    std::os::unix::fs::symlink(&program, &link).unwrap();
    let by_link = || tool(&[link.to_str().unwrap()], LONG).output(&[]).map_err(|error| error.to_string());
    by_link().expect("the control: a link");
    std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(run().unwrap_err().contains("mode 0777"), "the directory counts");
    assert!(by_link().unwrap_err().contains("mode 0777"), "also behind a link");
}
