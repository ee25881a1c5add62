//! The hooks on a healthy disk, as whole processes and as the runner starts them, against the shell line that they replace and
//! against `df` alone. Their system calls are counted in tests/blackbox/fast_path.rs.
//!
//! What packages ship (`cargo packaged`) is built first. The build that `cargo bench` makes has more in it than a release, because
//! features that only tests want are unified into it.

use super::figures::{Goal, Row, setting};
use super::kit::Host;
use super::stage::{self, arguments};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SHELL_LINE: &str = "df --output=pcent / | tail -1 | tr -d ' %'";

pub(crate) fn rows() -> Vec<Row> {
    let rounds = setting("HOOK_ROUNDS", 200);
    let packaged = packaged();
    let mut host = Host::new();
    // Healthy, whatever the disk of this computer is like.
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let run = tempfile::Builder::new().prefix("dg-bench-").tempdir_in("/dev/shm").expect("tmpfs at /dev/shm");
    let config = fs::read_to_string(host.config()).expect("a file of the stage");
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    fs::write(host.config(), config.replace(&quoted(&host.run_dir()), &quoted(run.path())))
        .expect("a file of the stage");
    let root = stage::plant_runner(&host, 1);
    for number in 0..setting("LOGS", 5_000) {
        let name = format!("_diag/Worker_20260101-{number:06}-utc.log");
        fs::write(root.join(name), "[2026-01-01 00:00:00Z INFO Worker] Job completed.\n".repeat(20))
            .expect("a log of the stage");
    }
    let script = |which: &str| {
        let path = host.base.join(format!("packaged-{which}.sh"));
        let line = format!("exec {} --config {} hook {which}\n", packaged.display(), host.config().display());
        fs::write(&path, line).expect("a hook script");
        path
    };
    let bash = |rest: &[&str]| {
        let rest = rest.iter().map(Into::into).collect::<Vec<_>>();
        stage::below_worker(&root, Path::new("bash"), &rest)
    };
    let hook = |program: &Path, which: &str| {
        stage::below_worker(&root, program, &arguments(&host.config(), &["hook", which]))
    };
    let by_script = |path: &Path| bash(&["-e", path.to_str().expect("UTF-8")]);
    let scripts = [script("started"), script("completed")];
    let line = host.base.join("line.sh");
    fs::write(&line, SHELL_LINE).expect("a hook script");
    let measured: [&dyn Fn() -> Command; 8] = [
        &|| by_script(&line),
        &|| stage::below_worker(&root, Path::new("df"), &["-P".into(), "/".into()]),
        &|| by_script(&scripts[0]),
        &|| by_script(&scripts[1]),
        &|| hook(&packaged, "started"),
        &|| hook(&packaged, "completed"),
        &|| hook(&host.program(), "started"),
        &|| bash(&["-c", "true"]),
    ];
    let mut times: [Vec<Duration>; 8] = Default::default();
    for _ in 0..rounds {
        for (times, command) in times.iter_mut().zip(measured) {
            times.push(stage::timed(command()));
        }
    }
    let [line, df, started, completed, bare_started, bare_completed, dynamic, bash] = times;
    let anchor = "the bash line";
    vec![
        Row::beside("`bash -c true`", anchor, &line, &bash, Goal::None),
        Row::beside(
            "started-hook as the runner starts it, packaged",
            anchor,
            &line,
            &started,
            Goal::OfAnchor(0.6),
        ),
        Row::beside(
            "completed-hook likewise, 5,000 logs in `_diag`",
            anchor,
            &line,
            &completed,
            Goal::OfAnchor(0.6),
        ),
        Row::beside("started-hook alone, packaged", "`df -P /`", &df, &bare_started, Goal::OfAnchor(1.0)),
        Row::beside("started-hook alone, as `cargo bench` builds it", "`df -P /`", &df, &dynamic, Goal::None),
        Row::beside(
            "completed-hook alone, packaged",
            "the started one",
            &bare_started,
            &bare_completed,
            Goal::OfAnchor(1.1),
        ),
    ]
}

/// Builds what packages ship.
fn packaged() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    let status = cargo.args(["-q", "packaged"]).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(status.expect("cargo starts").success());
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/packaged/release/disk-guard")
}
