//! The host's name and its disks, for orientation. sysinfo reads every mount, hides tmpfs and network filesystems and has
//! no inodes, so nothing is decided by it.

use crate::model::Disk;
use sysinfo::{DiskRefreshKind, Disks, System};

/// The host's name.
pub fn host_name() -> String {
    System::host_name().unwrap_or_else(|_| "unknown host".to_owned())
}

/// The disks, by mount point; one that is mounted in several places is there once.
pub fn disks() -> Vec<Disk> {
    let Ok(list) = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage()) else {
        return Vec::new();
    };
    let mut disks: Vec<(std::ffi::OsString, Disk)> = list
        .iter()
        .map(|disk| {
            let found = Disk {
                mount: disk.mount_point().to_owned(),
                fs_type: disk.file_system().to_string_lossy().into_owned(),
                total_bytes: disk.total_space(),
                available_bytes: disk.available_space(),
            };
            (disk.name().to_owned(), found)
        })
        .collect();
    disks.sort_by(|a, b| (&a.0, &a.1.mount).cmp(&(&b.0, &b.1.mount)));
    disks.dedup_by(|later, earlier| later.0 == earlier.0);
    let mut disks: Vec<Disk> = disks.into_iter().map(|(_, disk)| disk).collect();
    disks.sort_by(|a, b| a.mount.cmp(&b.mount));
    disks
}
