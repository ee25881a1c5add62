//! Which filesystems other hosts, or other programs, may work in beside this one.
//!
//! `/proc` and `/run` show this host only. On a filesystem that a server or a program provides, a job of another host may be at work
//! without any trace here: no process, no lease, no lock. The use of such a filesystem is not known from its type, so every one counts,
//! unless the configuration declares its runners as this host's only (`runners.local`).

use super::filesystems::MountTable;
use crate::model::{PathGlob, Runner};

/// The runner's place on such a filesystem that is not configured as this host's only: for people; none if there is none.
pub fn beyond_this_host(runner: &Runner, mounts: &MountTable, local: &[PathGlob]) -> Option<String> {
    let places = [(&*runner.root, "its directory"), (runner.work_path(), "its work directory")];
    places.into_iter().find_map(|(path, what)| {
        let kind = mounts.shared_with_others(path)?;
        (!local.iter().any(|glob| glob.covers(path))).then(|| {
            format!(
                "{what} {} is on {kind}: jobs of other hosts may work there unseen; if only this host uses it, add it to runners.local",
                path.display()
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileId, FilesystemId, Uid, Work, WorkDir};
    use std::path::Path;

    fn runner(root: &str, work: &str) -> Runner {
        Runner {
            name: "r".into(),
            root: root.into(),
            root_id: FileId { dev: 1, ino: 1 },
            owner: Uid(1),
            work: Work::Present(WorkDir {
                path: work.into(),
                id: FileId { dev: 1, ino: 2 },
                owner: Uid(1),
                filesystem: FilesystemId { major: 0, minor: 9 },
            }),
        }
    }

    #[test]
    fn a_runner_is_beyond_this_host_where_any_of_its_directories_is() {
        let mounts = MountTable::parse(
            b"1 0 8:1 / / rw - ext4 /dev/a rw\n\
              2 1 0:40 / /home rw - nfs4 server:/home rw\n\
              3 1 0:41 / /big rw - fuse.sshfs x rw\n\
              4 1 0:42 / /merged rw - overlay o rw,lowerdir=/opt/l,upperdir=/home/u,workdir=/home/w\n\
              5 1 0:43 / /plain rw - overlay o rw,lowerdir=/opt/l,upperdir=/opt/u,workdir=/opt/w\n\
              6 2 8:2 / /home/ci/local rw - xfs /dev/b rw\n",
        );
        let told = |root: &str, work: &str, local: &[&str]| {
            let local: Vec<PathGlob> = local.iter().map(|glob| PathGlob::parse(glob).unwrap()).collect();
            beyond_this_host(&runner(root, work), &mounts, &local)
        };
        for (root, work, local, shared) in [
            ("/opt/r", "/opt/r/_work", &[][..], None),
            ("/home/ci/r", "/home/ci/r/_work", &[], Some("nfs4")),
            ("/home/ci/r", "/opt/_work", &[], Some("nfs4")),
            ("/opt/r", "/big/_work", &[], Some("fuse.sshfs")),
            ("/merged/r", "/merged/r/_work", &[], Some("nfs4")),
            ("/plain/r", "/plain/r/_work", &[], None),
            ("/home/ci/local/r", "/home/ci/local/r/_work", &[], None),
            ("/home/ci/r", "/home/ci/r/_work", &["/home/*"], None),
            ("/home/ci/r", "/home/ci/r/_work", &["/home/ci/r"], None),
            ("/home/ci/r", "/home/ci/r/_work", &["/home/other/*", "/big"], Some("nfs4")),
            ("/home/ci/r", "/big/_work", &["/home/ci/*"], Some("fuse.sshfs")),
            ("/home/ci/r", "/big/_work", &["/home/ci/*", "/big"], None),
        ] {
            let said = told(root, work, local);
            match shared {
                Some(kind) => {
                    assert!(said.as_deref().is_some_and(|said| said.contains(kind)), "{root} {work} {said:?}")
                }
                None => assert_eq!(said, None, "{root} {work}"),
            }
        }
        assert_eq!(
            mounts.shared_with_others(Path::new("/homestead/x")),
            None,
            "no neighbour of a mount point"
        );
    }
}
