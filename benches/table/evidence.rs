//! A full proof for twenty runners on a host with many processes, against one `pgrep -f Runner.Worker`, in turns within one run:
//! beside processes that hold nothing, and beside such that hold files and mappings. As root, for otherwise only one's own
//! processes are examined.

use super::figures::{Goal, Row, setting, time};
use super::stage::Crowd;
use disk_guard::model::{FilesystemId, Runner, Uid, Visibility, Work, WorkDir};
use disk_guard::observe::processes::{Given, observe, workers};
use disk_guard::sys::dir::Dir;
use disk_guard::sys::process::Proc;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) fn rows() -> Vec<Row> {
    let size = setting("PROCESSES", 5_000);
    let holding = setting("HOLDING_PROCESSES", 1_000);
    let mut rows = beside(Crowd::asleep(size), &format!("{size} sleeping processes"), 0.29, true);
    for (files, mappings, goal) in [(15, 54, 0.35), (63, 164, 0.6)] {
        if let Some(crowd) = Crowd::holding(holding, files, mappings) {
            let what = format!("{holding} processes with {files} files and {mappings} mappings each");
            rows.extend(beside(crowd, &what, goal, false));
        }
    }
    rows
}

fn beside(_crowd: Crowd, what: &str, goal: f64, with_workers: bool) -> Vec<Row> {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let runners: Vec<Runner> = (1..=20).map(|number| runner(temp.path(), number)).collect();
    let proc = Proc::new(Path::new("/proc"));
    let (mut full, mut names, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setting("ROUNDS", 5) * 2 {
        full.push(time(|| {
            let facts = observe(&proc, &runners, Given::default());
            assert_eq!(facts.holders, [], "nobody holds the stand-in runners");
            if let Visibility::Partial(reasons) = facts.visibility {
                eprintln!("not a full proof: {reasons:?}");
            }
        }));
        names.push(time(|| drop(workers(&proc, &runners, Given::default()))));
        peer.push(time(pgrep));
    }
    let mut rows = vec![Row::beside(
        format!("full proof for 20 runners beside {what}"),
        "`pgrep -f`",
        &peer,
        &full,
        Goal::OfAnchor(goal),
    )];
    if with_workers {
        rows.push(Row::beside(
            "the second look under the lock, beside the same",
            "`pgrep -f`",
            &peer,
            &names,
            Goal::None,
        ));
    }
    rows
}

fn pgrep() {
    let status = Command::new("pgrep").args(["-f", "Runner.Worker"]).stdout(Stdio::null()).status();
    assert!(status.is_ok(), "pgrep is installed (procps)");
}

fn runner(host: &Path, number: u32) -> Runner {
    let root = host.join(format!("actions-runner-{number}"));
    std::fs::create_dir_all(root.join("_work")).expect("a stand-in runner");
    let (root_dir, root) = Dir::resolve(&root).expect("its root");
    let (work_dir, work) = Dir::resolve(&root.join("_work")).expect("its work directory");
    let work = WorkDir {
        path: work,
        id: work_dir.status().expect("its status").id,
        owner: Uid::ROOT,
        filesystem: FilesystemId { major: 0, minor: 0 },
    };
    Runner {
        name: format!("runner-{number}"),
        root,
        root_id: root_dir.status().expect("its status").id,
        owner: Uid::ROOT,
        work: Work::Present(work),
    }
}
