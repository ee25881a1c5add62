//! Runner names complete on TAB, in each shell by its own means. A shell that is not installed is skipped, and said.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::Host;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What a shell offers for each of these lines; nothing where there is no such shell.
fn offered(host: &Host, shell: &str, script: &str) -> Option<String> {
    let bin = host.base.join("completions");
    std::fs::create_dir_all(&bin).expect("a directory");
    let program = bin.join("disk-guard");
    let text =
        format!("#!/bin/sh\nexec {} --config {} \"$@\"\n", host.program().display(), host.config().display());
    std::fs::write(&program, text).expect("a script");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("it is ours");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/completions");
    let said = Command::new(shell)
        .args(["-c", script])
        .env("PATH", path)
        .env("COMPLETIONS", file)
        .env("HOME", &bin)
        .output();
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
