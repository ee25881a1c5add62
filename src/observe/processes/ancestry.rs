//! The job that a process belongs to: that of the nearest Worker among its ancestors. A process that has left its parents belongs to none.

use super::lineage::DEPTH;
use crate::model::{Holder, Pid, ProcessId, StartTime, WorkerSeen};
use crate::sys::process_dir::Processes;
use std::collections::HashMap;

/// Assigns each holder to its job.
pub(super) fn under_workers(
    processes: &Processes,
    mut holders: Vec<Holder>,
    workers: &[WorkerSeen],
) -> Vec<Holder> {
    if workers.is_empty() {
        return holders;
    }
    let mut parents = HashMap::new();
    for holder in &mut holders {
        holder.under = nearest(processes, holder.process, workers, &mut parents);
    }
    holders
}

fn nearest(
    processes: &Processes,
    process: ProcessId,
    workers: &[WorkerSeen],
    parents: &mut HashMap<Pid, Option<(StartTime, Pid)>>,
) -> Option<ProcessId> {
    let (mut next, mut younger) = (process.pid, process.start);
    for _ in 0..DEPTH {
        let looked = parents.entry(next).or_insert_with(|| {
            let identity = processes.process(next).and_then(|dir| dir.identify()).ok()?;
            Some((identity.id.start, identity.parent))
        });
        let (start, parent) = (*looked)?;
        // A parent is never younger than its child: that would be another process with a reused pid.
        if start > younger {
            return None;
        }
        let here = ProcessId { pid: next, start };
        if workers.iter().any(|worker| worker.process == here) {
            return Some(here);
        }
        (next, younger) = (parent, start);
        if next.0 <= 0 {
            return None;
        }
    }
    None
}
