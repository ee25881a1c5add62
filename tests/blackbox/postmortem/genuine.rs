//! Logs of the genuine runner, 2.336.0: four jobs whose ends are known. Lines that tell of paths and settings alone are left out.

use crate::kit::Host;
use std::path::Path;

#[test]
fn what_the_genuine_runner_leaves_is_understood() {
    let host = Host::new();
    let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/blackbox/postmortem/genuine");
    for (name, ended, cause) in [
        // The disk was full, `_diag` included: no log holds the words.
        ("enospc-0", "abruptly", "disk-full"),
        ("enospc-2", "abruptly", "disk-full"),
        // A step's script and its display name hold `No space left on device`; the step failed, another job was cancelled.
        ("words-1", "cleanly", "clean-end"),
        ("words-3", "cleanly", "cancelled"),
    ] {
        let runner = host.runner(name).build();
        let diag = runner.root.join("_diag");
        std::fs::create_dir_all(&diag).expect("ours");
        for log in std::fs::read_dir(logs.join(name)).expect("they are in the repository") {
            let log = log.expect("an entry");
            std::fs::copy(log.path(), diag.join(log.file_name())).expect("ours");
        }
        let asked = ["postmortem", "--runner", &runner.name, "--since", "2026-01-01", "--json"];
        let death = host.guard(&asked).expect_code(&[0]).report().0["deaths"][0].clone();
        assert_eq!((&death["ended"], &death["cause"]), (&ended.into(), &cause.into()), "{name}: {death:#}");
        assert_ne!(death["worker_pid"], serde_json::Value::Null, "{name}: the Listener names it");
    }
}
