use super::*;

fn us(config: Option<&str>) -> Shown {
    Shown::Us(RunsUs { config: config.map(Into::into) })
}

#[test]
fn a_script_with_our_hook_as_first_command_runs_it() {
    for (text, config) in [
        (SHIPPED, None),
        ("#!/bin/bash\nexec /usr/bin/disk-guard hook started\n", None),
        ("disk-guard --config /etc/x.toml hook started || true", Some("/etc/x.toml")),
        ("exec \"$bin/disk-guard\" \\\n  hook started", None),
        ("set -eu\nexport LANG=C\nA=1\numask 022\necho begins >&2\ndisk-guard hook started", None),
        ("disk-guard --log-level debug hook started >> /var/log/x 2>&1\nrm -f /tmp/x", None),
        ("RUST_LOG=x '/opt/a b/disk-guard' --config=/c hook started && echo ok; exit 0", Some("/c")),
        ("disk-guard hook started # ours", None),
    ] {
        assert_eq!(first_command(text), us(config), "{text}");
    }
    for (text, script) in [
        ("bash -e /opt/h/job-started.sh\n", "/opt/h/job-started.sh"),
        ("set -e\n. /opt/job-started.sh", "/opt/job-started.sh"),
        ("exec /opt/my-hook.sh", "/opt/my-hook.sh"),
        (
            "set +e\nif [ -r '/a/job-started.sh' ]; then \"${BASH:-sh}\" -e '/a/job-started.sh' || exit; fi\nexec x",
            "/a/job-started.sh",
        ),
        (
            &format!(
                "set +e\ntrap : HUP INT TERM\n{}\ncode=127\n[ -r '/a/job-started.sh' ] && {{ \"${{BASH:-sh}}\" -e \
                     '/a/job-started.sh'; code=$?; }}\ncase $code in 0) ;; 1) exit 1 ;; *) fence_in_time ;; esac\nexec x",
                fence()
            ),
            "/a/job-started.sh",
        ),
    ] {
        assert_eq!(first_command(text), Shown::Script(script.into()), "{text}");
    }
}

/// Each contains our name, and no job need run our hook.
#[test]
fn a_script_that_only_names_us_is_not_taken_for_one_that_runs_us() {
    for text in [
        "# disk-guard hook started",
        "",
        "disk-guard hook completed",
        "disk-guard hook",
        "disk-guard hook started &",
        "disk-guard hook started | tee log",
        "exit 0\ndisk-guard hook started",
        "[ -n \"$CI_GUARD\" ] && disk-guard hook started",
        "if false; then disk-guard hook started; fi",
        "if [ -r /x ]; then disk-guard hook started || exit; fi",
        "guard() {\n  disk-guard hook started\n}",
        "true || disk-guard hook started",
        "echo ok; exit; disk-guard hook started",
        "cat <<END\ndisk-guard hook started\nEND",
        "echo 'quoted\ndisk-guard hook started\n'",
        "exec true\ndisk-guard hook started",
        "source /etc/profile.d/ci && disk-guard hook started",
        "(disk-guard hook started &)",
        "x=$(disk-guard hook started)",
        "disk-guard hook started --runner-root /srv/r",
        "disk-guard check hook started",
        "echo disk-guard hook started",
        "trap 'disk-guard hook started' EXIT",
        "PATH=/tmp\ndisk-guard hook started",
        "timeout 1 disk-guard hook started || true",
        "nohup disk-guard hook started",
    ] {
        let shown = first_command(text);
        assert!(!matches!(shown, Shown::Us(_)), "{text}: {shown:?}");
    }
}

#[test]
fn javascript_that_calls_us_is_ours_and_a_job_has_to_show_it() {
    let temp = tempfile::tempdir().unwrap();
    let hook = temp.path().join("pre.js");
    for (text, is) in [
        (
            "require('child_process').execFileSync('/usr/bin/disk-guard', ['hook', 'started'], {stdio: 'inherit'})",
            true,
        ),
        (
            "const {execSync: x} = require('child_process');\nx(`/usr/bin/disk-guard --config /c.toml hook started`)",
            true,
        ),
        ("spawnSync(\n  \"disk-guard\", // ours\n  [\"hook\",\n   \"started\"])", true),
        ("spawnSync('bash', ['-e', '/usr/lib/disk-guard/hooks/job-started.sh'])", true),
        ("// execSync('disk-guard hook started')", false),
        ("/* disk-guard\n hook started */ console.log('x')", false),
        ("execSync('disk-guard hook completed')", false),
        ("console.log('https://disk-guard/')", false),
        ("", false),
    ] {
        std::fs::write(&hook, text).unwrap();
        assert_eq!(is_ours(HookVariable::JobStarted, &hook), is, "{text}");
        let why = runs_us(&hook).unwrap_err().to_string();
        assert_eq!(why.contains("first job"), is, "{why}");
    }
}

#[test]
fn the_owner_of_a_script_is_recognised_by_its_text() {
    for yes in
        ["timeout 9 disk-guard hook started || true", "if x; then\n disk-guard --config c hook started; fi"]
    {
        assert!(names_us(yes, "started"), "{yes}");
    }
    for no in ["# disk-guard hook started", "echo hello", "disk-guard hook completed", "disk-guard hook", ""]
    {
        assert!(!names_us(no, "started"), "{no}");
    }
}
