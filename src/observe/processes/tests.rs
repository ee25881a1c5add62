//! The scan over a procfs made of plain files, for cases that cannot be made with real processes, such as vanishing during the scan.

use super::*;
use crate::model::{FilesystemId, HeldBy, Uid, Work, WorkDir};
use crate::sys::dir::Dir;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const OWN: i32 = 4_000_001;
/// `PF_KTHREAD`
const KERNEL: u32 = 0x0020_0000;

/// A procfs with pid 1 and this process in it, and one runner beside it.
struct FakeProc {
    temp: tempfile::TempDir,
    runner: Runner,
}

impl FakeProc {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("r/_work/repo")).unwrap();
        let (root, path) = Dir::resolve(&temp.path().join("r")).unwrap();
        let (work, work_path) = Dir::resolve(&path.join("_work")).unwrap();
        let work = WorkDir {
            path: work_path,
            id: work.status().unwrap().id,
            owner: Uid::ROOT,
            filesystem: FilesystemId { major: 0, minor: 0 },
        };
        let runner = Runner {
            name: "r".into(),
            root: path,
            root_id: root.status().unwrap().id,
            owner: Uid::ROOT,
            work: Work::Present(work),
        };
        let fake = Self { temp, runner };
        fake.process(1, "init");
        fake.process(OWN, "disk-guard");
        symlink(OWN.to_string(), fake.at("self")).unwrap();
        symlink("/proc/self/ns/pid", fake.at("self/ns/pid")).unwrap();
        fake
    }

    fn at(&self, name: &str) -> PathBuf {
        self.temp.path().join("proc").join(name)
    }

    fn process(&self, pid: i32, comm: &str) -> PathBuf {
        self.tree(&pid.to_string(), pid, comm, 'S', 0)
    }

    fn tree(&self, place: &str, pid: i32, comm: &str, state: char, flags: u32) -> PathBuf {
        let dir = self.at(place);
        for name in ["fd", "ns", &format!("task/{pid}")] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        fs::write(dir.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(dir.join("stat"), stat(pid, comm, state, flags)).unwrap();
        fs::write(dir.join("maps"), "1-2 r-xp 00000000 00:01 7 /usr/bin/x\n").unwrap();
        fs::write(dir.join("mountinfo"), mountinfo::read_own(Path::new("/proc")).unwrap()).unwrap();
        for (name, target) in [("cwd", "/"), ("root", "/"), ("exe", "/usr/bin/x"), ("ns/mnt", "mnt:[1]")] {
            symlink(target, dir.join(name)).unwrap();
        }
        dir
    }

    fn relink(&self, path: &str, target: impl AsRef<Path>) {
        self.forget(path);
        symlink(target, self.at(path)).unwrap();
    }

    fn forget(&self, path: &str) {
        std::process::Command::new("rm").arg("-rf").arg(self.at(path)).status().unwrap();
    }

    /// A file in place of a link: it cannot be read as one, even by root.
    fn hide(&self, path: &str) {
        self.forget(path);
        fs::write(self.at(path), "hidden").unwrap();
    }

    fn facts(&self) -> ProcessFacts {
        observe(&Proc::new(&self.at("")), std::slice::from_ref(&self.runner), Given::default())
    }

    fn reasons(&self) -> String {
        match self.facts().visibility {
            // The test itself may run in a container.
            Visibility::Partial(reasons) => reasons
                .into_iter()
                .filter(|reason| !reason.contains("pid namespace"))
                .collect::<Vec<_>>()
                .join("\n"),
            Visibility::Complete => String::new(),
        }
    }

    fn holders(&self) -> Vec<(i32, HeldBy)> {
        let mut holders: Vec<_> =
            self.facts().holders.iter().map(|holder| (holder.process.pid.0, holder.how)).collect();
        holders.sort();
        holders
    }
}

fn stat(pid: i32, comm: &str, state: char, flags: u32) -> String {
    let rest = vec!["0"; 30].join(" ");
    format!("{pid} ({comm}) {state} 1 0 0 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 {} {rest}\n", 1000 + pid)
}

#[test]
fn a_host_on_which_nobody_holds_anything() {
    let fake = FakeProc::new();
    fake.process(70, "idle");
    assert_eq!(fake.reasons(), "");
    let facts = fake.facts();
    assert_eq!((facts.holders, facts.mounts, facts.workers, facts.unlocated), Default::default());
}

#[test]
fn holders_are_found_by_text() {
    let fake = FakeProc::new();
    let inside = fake.runner.work_path().join("repo");
    fake.process(70, "by cwd");
    fake.relink("70/cwd", &inside);
    fake.process(71, "by file");
    fake.relink("71/fd/5", inside.join("x (deleted)"));
    fake.relink("71/fd/6", "socket:[7]");
    fake.process(72, "by mapping");
    let device = own_device();
    fs::write(fake.at("72/maps"), format!("1-2 r--s 0 {device} 7    {}/lib.so\n", inside.display())).unwrap();
    fake.process(73, "beside");
    fake.relink("73/cwd", format!("{}shop", fake.runner.work_path().display()));
    assert_eq!(fake.holders(), [(70, HeldBy::Cwd), (71, HeldBy::OpenFile), (72, HeldBy::Mapping)]);
    assert_eq!(fake.reasons(), "");
}

/// The superblock of the temporary directory as `maps` shows it.
fn own_device() -> String {
    let temp = tempfile::tempdir().unwrap();
    let id = Dir::resolve(temp.path()).unwrap().0.status().unwrap().mount_id;
    let text = mountinfo::read_own(Path::new("/proc")).unwrap();
    let mounts = mountinfo::parse(&text).unwrap();
    let device = mounts.iter().find(|mount| mount.id == id).unwrap().device;
    format!("{:02x}:{:02x}", device.major, device.minor)
}

#[test]
fn a_process_that_ends_during_the_scan_is_neither_evidence_nor_an_error() {
    for gone in ["70", "70/comm", "70/cwd", "70/exe", "70/fd", "70/maps", "70/root"] {
        let fake = FakeProc::new();
        fake.process(70, "leaving");
        fake.forget(gone);
        if gone != "70" {
            // Only a process that has ended lacks these.
            fake.forget("70/task");
            fs::write(fake.at("70/stat"), stat(70, "leaving", 'Z', 0)).unwrap();
        }
        assert_eq!((fake.reasons(), fake.holders()), (String::new(), vec![]), "{gone}");
    }
}

#[test]
fn an_unreadable_process_is_reported() {
    for hidden in ["70/cwd", "70/exe", "70/fd", "70/fd/3", "70/ns/mnt"] {
        let fake = FakeProc::new();
        fake.process(70, "secretive");
        if hidden == "70/ns/mnt" {
            // Another root than the one that was seen before.
            fake.relink("70/root", fake.runner.root.parent().unwrap());
        }
        fake.hide(hidden);
        let reasons = fake.reasons();
        assert!(
            reasons.contains("1 process cannot be examined (pid 70 secretive, uid "),
            "{hidden}: {reasons}"
        );
    }
    let fake = FakeProc::new();
    for pid in 70..80 {
        fake.process(pid, "secretive");
        fake.hide(&format!("{pid}/exe"));
    }
    assert!(fake.reasons().contains("10 processes cannot be examined (e.g. pid 7"), "{}", fake.reasons());
}

#[test]
fn a_kernel_thread_has_nothing_to_hide() {
    let fake = FakeProc::new();
    fake.tree("70", 70, "kworker/0:1", 'I', KERNEL);
    fake.forget("70/exe");
    fake.tree("71", 71, "kworker/0:2", 'I', KERNEL);
    fake.hide("71/exe");
    fake.hide("71/cwd");
    assert_eq!((fake.reasons(), fake.holders()), (String::new(), vec![]));
}

#[test]
fn threads_of_a_dead_leader_still_count() {
    let fake = FakeProc::new();
    fake.tree("70", 70, "leader", 'Z', 0);
    for gone in ["70/cwd", "70/root", "70/exe"] {
        fake.forget(gone);
    }
    assert_eq!(fake.holders(), [], "the control: a plain zombie");
    fake.tree("70/task/75", 75, "thread", 'S', 0);
    fake.relink("70/task/75/cwd", fake.runner.work_path());
    assert_eq!(fake.holders(), [(70, HeldBy::Cwd)]);
    fake.hide("70/task/75/fd");
    assert!(fake.reasons().contains("pid 70"), "{}", fake.reasons());
}

#[test]
fn a_worker_without_a_visible_executable_is_unattributed() {
    let fake = FakeProc::new();
    fake.process(70, "Runner.Worker");
    fake.hide("70/exe");
    let facts = fake.facts();
    let [worker] = facts.workers.as_slice() else { panic!("{facts:?}") };
    assert!(matches!(&worker.attribution, Attribution::Unattributed(why) if why.contains("cannot be read")));
    let (seen, _) = workers(&Proc::new(&fake.at("")), std::slice::from_ref(&fake.runner), Given::default());
    assert_eq!(seen, facts.workers);
}

#[test]
fn an_incomplete_list_is_noticed() {
    let fake = FakeProc::new();
    fake.forget("1");
    assert!(fake.reasons().contains("pid 1 is not visible"), "{}", fake.reasons());

    let fake = FakeProc::new();
    fake.forget("self");
    assert!(fake.reasons().contains("we are not in"), "{}", fake.reasons());

    let fake = FakeProc::new();
    fake.relink("self", "5");
    assert!(fake.reasons().contains("does not list ourselves, pid 5"), "{}", fake.reasons());

    let nowhere = observe(&Proc::new(Path::new("/nonexistent")), &[], Given::default());
    assert!(matches!(nowhere.visibility, Visibility::Partial(_)));
}

#[test]
fn a_work_directory_that_was_replaced_is_not_located() {
    let mut fake = FakeProc::new();
    if let Work::Present(work) = &mut fake.runner.work {
        work.id.ino += 1;
    }
    let facts = fake.facts();
    assert_eq!(facts.unlocated.len(), 1, "{facts:?}");
}
