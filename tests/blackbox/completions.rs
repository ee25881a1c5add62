//! Runner names complete on TAB, in each shell by its own means. A shell that is not installed is skipped, and said.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::Host;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A program that finds `disk-guard` of this host, and the shipped completions by `$COMPLETIONS`; its home is the first of these.
fn command(host: &Host, program: &str) -> (PathBuf, Command) {
    let bin = host.base.join("completions");
    std::fs::create_dir_all(&bin).expect("a directory");
    let ours = bin.join("disk-guard");
    let text =
        format!("#!/bin/sh\nexec {} --config {} \"$@\"\n", host.program().display(), host.config().display());
    // Once: a shell may be reading it.
    if !ours.exists() {
        std::fs::write(&ours, text).expect("a script");
        std::fs::set_permissions(&ours, PermissionsExt::from_mode(0o755)).expect("it is ours");
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/completions");
    let mut command = Command::new(program);
    command.env("PATH", path).env("COMPLETIONS", shipped).env("HOME", &bin);
    (bin, command)
}

/// What a shell offers for each of these lines; nothing where there is no such shell.
fn offered(host: &Host, shell: &str, script: &str) -> Option<String> {
    let said = command(host, shell).1.args(["-c", script]).output();
    match said {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped, {shell} is not installed");
            None
        }
        said => {
            let said = said.expect("it runs");
            assert!(said.status.success(), "{shell}: {}", String::from_utf8_lossy(&said.stderr));
            Some(String::from_utf8_lossy(&said.stdout).into_owned())
        }
    }
}

fn host() -> Host {
    let host = Host::new();
    for name in ["actions-runner-1", "actions-runner-2"] {
        host.runner(name).build();
    }
    host
}

#[test]
fn bash_offers_this_hosts_runners() {
    let host = host();
    for (line, expected) in [
        ("disk-guard drain actions", "actions-runner-1 actions-runner-2"),
        ("disk-guard resume actions-runner-2", "actions-runner-2"),
        ("disk-guard check --runner ''", "actions-runner-1 actions-runner-2"),
        ("disk-guard remediate actions-runner-1 ''", ""),
        ("disk-guard dra", "drain"),
        ("disk-guard drain --co", "--config --color"),
    ] {
        let script = format!(
            "source $COMPLETIONS/disk-guard.bash; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _disk_guard_runners disk-guard \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\"; complete -p disk-guard"
        );
        let Some(said) = offered(&host, "bash", &script) else { return };
        let first = said.lines().next().unwrap_or_default();
        if expected.is_empty() {
            assert!(!first.contains("actions-runner"), "{line}: {said}");
        } else {
            assert_eq!(first, expected, "{line}");
        }
        assert!(said.contains("-F _disk_guard_runners"), "it is what bash calls: {said}");
    }
}

#[test]
fn fish_offers_this_hosts_runners() {
    let host = host();
    for (line, expected) in [
        ("disk-guard drain ", vec!["actions-runner-1", "actions-runner-2"]),
        ("disk-guard why actions-runner-2", vec!["actions-runner-2"]),
        ("disk-guard check --runner ", vec!["actions-runner-1", "actions-runner-2"]),
        ("disk-guard status ", vec![]),
    ] {
        let script = format!("source $COMPLETIONS/disk-guard.fish; complete -C '{line}'");
        let Some(said) = offered(&host, "fish", &script) else { return };
        let names: Vec<&str> = said
            .lines()
            .filter_map(|line| line.split('\t').next())
            .filter(|name| name.starts_with("actions-runner"))
            .collect();
        assert_eq!(names, expected, "{line}: {said}");
    }
}

/// zsh's completion needs a terminal: the function that offers the names is called by itself, where it is named.
#[test]
fn zsh_offers_this_hosts_runners() {
    let host = host();
    let script = r#"compadd() { shift; print -l -- ${(P)1}; }
compdef() { :; }
_arguments() { return 1; }
source $COMPLETIONS/_disk-guard 2>/dev/null
_disk-guard_runners"#;
    let Some(said) = offered(&host, "zsh", script) else { return };
    assert_eq!(said.lines().collect::<Vec<_>>(), ["actions-runner-1", "actions-runner-2"], "{said}");
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/completions/_disk-guard"),
    )
    .expect("it is shipped");
    assert_eq!(
        text.matches(":_disk-guard_runners' \\").count(),
        5,
        "drain, resume, remediate, check, postmortem"
    );
}

/// A shell at a terminal of tmux's.
struct Terminal<'h> {
    host: &'h Host,
    socket: PathBuf,
}

impl Terminal<'_> {
    fn tmux(&self, arguments: &[&str]) -> String {
        let (_, mut tmux) = command(self.host, "tmux");
        tmux.env_remove("TMUX").args(["-f", "/dev/null", "-S"]).arg(&self.socket).args(arguments);
        String::from_utf8_lossy(&tmux.output().expect("tmux runs").stdout).into_owned()
    }

    /// Sends keys until the screen shows all of these.
    fn press_until(&self, key: &str, wanted: &[&str]) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            self.tmux(&["send-keys", key]);
            std::thread::sleep(Duration::from_millis(500));
            let screen = self.tmux(&["capture-pane", "-p"]);
            if wanted.iter().all(|text| screen.contains(text)) {
                return;
            }
            assert!(Instant::now() < until, "{wanted:?} should be on the screen after {key}:\n{screen}");
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// As a person does it: the shell's own start files load what is shipped, and TAB lists the runners.
fn tab_lists_the_runners(shell: &str, line: &str, file: &str, text: &str) {
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !is_there(shell) || Command::new("tmux").arg("-V").output().is_err() {
        eprintln!("skipped, {shell} or tmux is not installed");
        return;
    }
    let host = host();
    let (home, _) = command(&host, shell);
    std::fs::create_dir_all(home.join(file).parent().expect("a directory")).expect("a directory");
    std::fs::write(home.join(file), text).expect("a start file");
    let terminal = Terminal { host: &host, socket: home.join("tmux") };
    terminal.tmux(&["new-session", "-d", "-x", "100", "-y", "20", line]);
    // Empty lines, until the shell answers with its prompt.
    terminal.press_until("Enter", &["ready>"]);
    terminal.tmux(&["send-keys", "-l", "disk-guard drain actions-runner-"]);
    // fish shortens names in its list at their beginning.
    terminal.press_until("Tab", &["runner-1", "runner-2"]);
}

#[test]
fn tab_lists_the_runners_in_bash() {
    tab_lists_the_runners(
        "bash",
        "bash -i",
        ".bashrc",
        "PS1='ready> '\nsource $COMPLETIONS/disk-guard.bash\n",
    );
}

#[test]
fn tab_lists_the_runners_in_zsh() {
    let text = "PS1='ready> '\nfpath=($COMPLETIONS $fpath)\nautoload -Uz compinit\ncompinit -u -D\n";
    tab_lists_the_runners("zsh", "zsh -i", ".zshrc", text);
}

#[test]
fn tab_lists_the_runners_in_fish() {
    let text = "function fish_prompt; echo -n 'ready> '; end\nsource $COMPLETIONS/disk-guard.fish\n";
    tab_lists_the_runners("fish", "fish -i", ".config/fish/config.fish", text);
}
