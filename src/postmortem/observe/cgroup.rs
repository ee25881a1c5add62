//! The counters of cgroups and the kernel's stall information, for a runner that may have died.

use crate::model::postmortem::{MemoryEvents, Observed, PressureFigures, TaskEvents};
use crate::sys::cgroup::{Group, Hierarchies};
use crate::sys::process::Proc;
use crate::sys::stalls;

/// How often a task could not be started in the first of these groups that exists.
pub fn task_events(hierarchies: &Hierarchies, groups: &[Group]) -> Option<TaskEvents> {
    let count = groups.iter().find_map(|group| hierarchies.place(group).forks_refused().ok())?;
    Some(TaskEvents { file: count.file.display().to_string(), refused: count.value })
}

/// How often processes of the first of these groups that exists were killed because of the memory limit.
pub fn memory_events(hierarchies: &Hierarchies, groups: &[Group]) -> Observed<MemoryEvents> {
    let mut silent = Vec::new();
    for group in groups {
        match hierarchies.place(group).oom_kills() {
            Ok(count) => {
                return Observed::Known(MemoryEvents {
                    group: group.path_of(&count).to_owned(),
                    file: count.file.display().to_string(),
                    oom_kills: count.value,
                    counts_below: count.is_unified,
                });
            }
            Err(files) => silent.extend(files.iter().map(|file| file.display().to_string())),
        }
    }
    let what = match (groups, silent.as_slice()) {
        ([], _) => {
            "the runner's cgroup: neither its unit nor its Listener exists, so it cannot be identified"
                .to_owned()
        }
        ([group, ..], []) => {
            format!("the cgroup {}: it is in no hierarchy that is mounted here", group.path())
        }
        (_, silent) => format!("the cgroup's count of kills: {} cannot be read", silent.join(", ")),
    };
    Observed::missing(
        what,
        "run the runner as a systemd unit (`svc.sh install`): its cgroup outlives its processes",
    )
}

/// Stall information of the whole host.
pub fn pressure(proc: &Proc) -> Observed<PressureFigures> {
    let full = |resource: &str| Some(stalls::of(proc, resource)?.full.five_minutes);
    match (full("memory"), full("io")) {
        (Some(memory), Some(io)) => Observed::Known(PressureFigures { memory, io }),
        _ => Observed::missing(
            "pressure stall information: this kernel does not provide it",
            "boot with psi=1 (CONFIG_PSI)",
        ),
    }
}
