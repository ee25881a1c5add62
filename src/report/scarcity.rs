//! What a disk lacks, in words.

use crate::config::Watermarks;
use crate::model::Filesystem;
use crate::policy::pressure;
use crate::text::{escape, words};

/// By the marks that it has reached: a disk that lacks only inodes is not "full".
pub fn of(filesystem: &Filesystem, marks: &Watermarks) -> String {
    let usage = &filesystem.usage;
    let reached = pressure::reached(usage, marks);
    let full = reached.high.then(|| format!("is {} % full", usage.used_percent()));
    let bytes = reached.min_free.then(|| format!("has {} available", words::size(usage.available_bytes)));
    let inodes = reached
        .min_free_inodes
        .then(|| format!("has {} of {} inodes free", usage.inodes_free, usage.inodes_total));
    let causes: Vec<String> = [full, bytes, inodes].into_iter().flatten().collect();
    format!("{} {}", escape::path(&filesystem.mount), causes.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::model::{FilesystemId, Usage};

    #[test]
    fn each_mark_that_is_reached_is_named_and_no_other() {
        const GIB: u64 = 1 << 30;
        let marks = Config::default().watermarks;
        let told = |used: u64, available: u64, inodes_free: u64| {
            let usage = Usage {
                used_bytes: used * GIB,
                available_bytes: available * GIB,
                inodes_total: 1000,
                inodes_free,
                total_bytes: (used + available) * GIB,
            };
            let id = FilesystemId { major: 0, minor: 0 };
            of(&Filesystem { id, mount: "/srv".into(), fs_type: "ext4".into(), usage }, &marks)
        };
        assert_eq!(told(900, 100, 500), "/srv is 90 % full");
        assert_eq!(told(10, 990, 12), "/srv has 12 of 1000 inodes free");
        assert_eq!(told(20, 10, 500), "/srv has 10.0 GiB available");
        assert_eq!(
            told(98, 2, 12),
            "/srv is 98 % full and has 2.00 GiB available and has 12 of 1000 inodes free"
        );
    }
}
