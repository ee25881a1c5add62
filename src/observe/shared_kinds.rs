//! The types of filesystems in which processes of other hosts may work.

/// Types by their names in mountinfo, without any suffix after a dot. Network, cluster and pass-through filesystems.
const SHARED: [&str; 36] = [
    "9p",
    "acfs",
    "afs",
    "auristorfs",
    "autofs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "cvfs",
    "davfs",
    "fuse",
    "fuseblk",
    "gfs",
    "gfs2",
    "glusterfs",
    "gpfs",
    "kafs",
    "lustre",
    "mmfs",
    "ncpfs",
    "nfs",
    "nfs3",
    "nfs4",
    "ocfs2",
    "orangefs",
    "panfs",
    "prl_fs",
    "pvfs2",
    "smb2",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
    "wekafs",
];

/// Whether processes of other hosts may use a filesystem of this type.
pub(crate) fn is_shared(kind: &str) -> bool {
    let family = kind.split_once('.').map_or(kind, |(family, _)| family);
    SHARED.contains(&family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filesystems_served_by_a_server_or_a_program_are_shared() {
        for kind in [
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "ceph",
            "9p",
            "virtiofs",
            "fuse",
            "fuse.sshfs",
            "fuse.fuse-overlayfs",
            "fuseblk",
            "lustre",
            "gpfs",
            "afs",
            "ocfs2",
            "gfs2",
            "fuse.glusterfs",
        ] {
            assert!(is_shared(kind), "{kind}");
        }
        for kind in
            ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "bcachefs", "f2fs", "", "nfsd", "fusectl"]
        {
            assert!(!is_shared(kind), "{kind}");
        }
    }
}
