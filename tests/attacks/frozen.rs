//! Frozen disks (fsfreeze(8)), as while a snapshot is taken: they can be read, and whoever changes them waits until they are thawed.

use crate::kit::{Fs, Host, MIB, SHARED_GID, Settings, needs_root};
use crate::scene::{DAY, bounded};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk that is frozen until this is dropped.
struct Frozen(PathBuf);

impl Frozen {
    fn at(point: &Path) -> Self {
        let frozen = Command::new("fsfreeze").arg("-f").arg(point).status().expect("util-linux has it");
        assert!(frozen.success(), "{}", point.display());
        Self(point.to_owned())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).status();
    }
}

#[test]
fn a_frozen_disk_blocks_no_verb_and_no_other_runner() {
    if !needs_root("freezes a disk") {
        return;
    }
    let mut host = Host::new();
    host.configure(Settings::want_everything);
    let at = host.runners().join("actions-runner-frozen");
    std::fs::create_dir(&at).expect("a directory");
    host.mount(Fs::Ext4 { mib: 64, inodes: 4096 }, &at);
    let on_it = host.runner_at(&at).user(12_041, SHARED_GID).build();
    let other = host.runner("actions-runner-other").user(12_042, SHARED_GID).build();
    let kept = on_it.cache("acme/widgets", "target", MIB / 4, 2 * DAY);
    let trash = on_it.work.join(".disk-guard/trash/slot-1-1/tree");
    std::fs::create_dir_all(&trash).expect("a directory");
    on_it.own(&on_it.work.join(".disk-guard"));

    let frozen = Frozen::at(&at);
    for verb in [&["plan", "--json"][..], &["doctor", "--json"], &["sweep", "--json"]] {
        let control = other.cache("acme/widgets", "target", MIB / 4, 2 * DAY);
        let run = bounded(&host.call(verb)).run;
        assert!(run.stdout().contains("is frozen and accepts no changes"), "{verb:?}: {run:?}");
        if verb[0] == "sweep" {
            let report = run.expect_code(&[0, 20]).report();
            assert_eq!(report.outcome(&control), "removed", "{:#}", report.0);
        }
    }
    assert!(kept.exists() && trash.exists());
    drop(frozen);
    // The control: what was frozen alone kept it.
    assert_eq!(host.sweep().outcome(&kept), "removed");
    assert!(!trash.exists());
}
