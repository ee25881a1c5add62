//! A disk on which not one byte, or not one inode, is left: freeing space needs neither.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{self, Fs, Host, MIB, SHARED_GID, fill_bytes, fill_inodes, usage};
use std::path::Path;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const ALICE: u32 = 12_001;

#[derive(Debug, Clone, Copy)]
enum Lack {
    Bytes,
    Inodes,
}

impl Lack {
    fn cause(self, disk: &Path) {
        match self {
            Self::Bytes => {
                fill_bytes(&disk.join("ballast.bin"));
                // xfs and btrfs keep some for themselves.
                assert!(usage(disk).0 >= 99, "not one byte is left: {:?}", usage(disk));
                assert!(std::fs::write(disk.join("one-more"), [1; 65_536]).is_err(), "not one byte is left");
                let _ = std::fs::remove_file(disk.join("one-more"));
            }
            Self::Inodes => {
                fill_inodes(&disk.join("ballast"));
                assert!(std::fs::write(disk.join("one-more"), "").is_err(), "not one inode is left");
            }
        }
    }
}

#[test]
fn a_hook_and_a_sweep_still_free_space() {
    if !kit::needs_root("mounts and fills small filesystems") {
        return;
    }
    for fs in [Fs::Ext4 { mib: 64, inodes: 1500 }, Fs::Tmpfs { mib: 64, inodes: 1500 }] {
        for lack in [Lack::Bytes, Lack::Inodes] {
            for user in [None, Some((ALICE, SHARED_GID))] {
                on_a_full_disk(fs, lack, user);
            }
        }
    }
}

fn on_a_full_disk(fs: Fs, lack: Lack, user: Option<(u32, u32)>) {
    let case = format!("{fs:?}, {lack:?}, {user:?}");
    let mut host = Host::on(fs);
    host.runner_user = user;
    host.configure(|settings| settings.min_free_inodes = 50);
    let own = host.runner("actions-runner-1").build();
    let sibling = host.runner("actions-runner-2").build();
    let caches = [&own, &sibling].map(|runner| runner.cache("acme/widgets", "target", 4 * MIB, 2 * DAY));
    // The runner itself could not begin a job on a full disk; this one fills while the job waits for its hook.
    let mut listener = own.listen();
    let mut job = listener.begin_job("acme/app");
    lack.cause(&host.runners());
    let hook = job.hook_started().expect_ok();
    assert!(!caches[0].exists(), "{case}: the hook frees its own\n{}", hook.text());
    assert!(usage(&host.runners()).1 > 0, "{case}");
    assert!(std::fs::write(host.runners().join("one-more"), "x").is_ok(), "{case}: there is room again");
    job.finish(&mut listener);

    if caches[1].exists() {
        std::fs::remove_file(host.runners().join("one-more")).expect("our own file");
        let _ = std::fs::remove_dir_all(host.runners().join("ballast"));
        lack.cause(&host.runners());
        let sweep = host.sweep();
        assert_eq!(sweep.outcome(&caches[1]), "removed", "{case}: {:#}", sweep.0);
        assert!(!caches[1].exists(), "{case}");
    }
    assert!(sibling.work.join("widgets/widgets/Cargo.toml").exists(), "{case}");
}

#[test]
fn a_sweep_alone_does_it_too_and_leaves_nothing_behind() {
    if !kit::needs_root("mounts and fills small filesystems") {
        return;
    }
    let both = [Lack::Bytes, Lack::Inodes].as_slice();
    for (fs, lacks) in [
        (Fs::Ext4 { mib: 64, inodes: 1500 }, both),
        (Fs::Tmpfs { mib: 64, inodes: 1500 }, both),
        // These make inodes for as long as there are bytes.
        (Fs::Xfs { mib: 320 }, &[Lack::Bytes]),
        (Fs::Btrfs { mib: 128 }, &[Lack::Bytes]),
    ] {
        for &lack in lacks {
            let mut host = Host::on(fs);
            host.configure(|settings| settings.min_free_inodes = 50);
            let runner = host.runner("actions-runner-1").build();
            let cache = runner.cache("acme/widgets", "target", 4 * MIB, 2 * DAY);
            lack.cause(&host.runners());
            let sweep = host.sweep();
            assert_eq!(sweep.outcome(&cache), "removed", "{fs:?}, {lack:?}: {:#}", sweep.0);
            let checkout = cache.parent().expect("the checkout");
            let left: Vec<String> = std::fs::read_dir(checkout)
                .expect("the checkout")
                .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
                .filter(|name| name.contains("disk-guard"))
                .collect();
            assert!(left.is_empty(), "{fs:?}, {lack:?}: {left:?}");
            assert_eq!(host.status().0["trash_bytes"], 0);
        }
    }
}
