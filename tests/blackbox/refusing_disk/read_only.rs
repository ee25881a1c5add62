//! Filesystems that are remounted read-only.

use super::scene::Scene;
use crate::kit::{Canary, Fs, needs_root};
use nix::mount::{MsFlags, mount};

#[test]
fn a_read_only_disk_is_reported_and_freed_once_it_is_writable_again() {
    if !needs_root("mounts small filesystems") {
        return;
    }
    for fs in [
        Fs::Ext4 { mib: 64, inodes: 1500 },
        Fs::Xfs { mib: 300 },
        Fs::Btrfs { mib: 128 },
        Fs::Tmpfs { mib: 64, inodes: 1500 },
    ] {
        let scene = Scene::on(fs);
        let disk = scene.host.runners();
        let remount = |flags| {
            let flags = MsFlags::MS_REMOUNT | flags;
            mount(None::<&str>, &disk, None::<&str>, flags, None::<&str>).expect("it can be remounted");
        };
        remount(MsFlags::MS_RDONLY);
        let canaries = [Canary::of(&scene.victim), Canary::of(&scene.control)];
        let run = scene.host.guard(&["sweep", "--json"]).expect_code(&[20]);
        for cache in [&scene.victim, &scene.control] {
            assert_eq!(run.report().outcome(cache), "failed", "{fs:?}: {:#}", run.report().0);
            let detail = run.report().action(cache)["detail"].to_string();
            assert!(detail.contains("Read-only file system"), "{fs:?}: {detail}");
        }
        let root = scene.runner.root.to_str().expect("UTF-8");
        let hook = scene.host.guard(&["hook", "started", "--runner-root", root]).expect_code(&[0]);
        assert!(hook.stdout().contains("Read-only"), "{fs:?}: {}", hook.stdout());
        canaries.iter().for_each(Canary::assert_intact);
        remount(MsFlags::empty());
        let sweep = scene.host.sweep();
        assert_eq!(sweep.outcome(&scene.victim), "removed", "{fs:?}: {:#}", sweep.0);
        scene.recovers(&format!("{fs:?}"));
    }
}
