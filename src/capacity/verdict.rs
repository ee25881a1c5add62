//! Judges the facts: how near each limit is, how a job notices that it is reached, and which one binds first.

use crate::model::{
    Capacity, CapacityFacts, DeletedFile, Filesystem, FilesystemStatus, Holding, Level, Limit, RunnerGroup,
    Share,
};
use crate::text::words::size;
use std::collections::BTreeMap;

/// From this share on a table of the kernel's is short; from the second on it is at its end.
const SHORT: f64 = 0.85;
const AT_ITS_END: f64 = 0.97;

/// All tasks waited for this share of the last minute (systemd-oomd acts at 60 % for 30 s).
const STALLED: f64 = 0.10;
const STUCK: f64 = 0.50;

/// Resources that may be used up without a shortage: a host works with a busy processor and with full swap.
const NEVER_SHORT: [&str; 2] = ["stall-cpu", "swap"];

/// A holding is notable above this share of its filesystem, or where that is not known above a GiB.
const NOTABLE: f64 = 0.05;
const GIB: u64 = 1 << 30;

/// Judges everything. `filesystems` are those of the work directories, already judged by the configured watermarks.
pub fn judge(facts: &CapacityFacts, filesystems: &[FilesystemStatus]) -> Capacity {
    let mut limits: Vec<Limit> = filesystems.iter().flat_map(disk).collect();
    limits.extend(host(facts));
    limits.extend(facts.stalls.iter().map(|stall| {
        // Waiting for the processor means that it is busy, not that it is short.
        let ratio = if stall.resource == "cpu" { stall.some } else { stall.full } / 100.0;
        let level = if stall.resource == "cpu" { Level::Ok } else { by(ratio, STALLED, STUCK) };
        let (resource, who, advice) = match stall.resource {
            "cpu" => ("stall-cpu", "some task waited for a processor", "fewer runners, or more cores"),
            "memory" => {
                ("stall-memory", "every task waited for memory", "fewer jobs at once, or more memory")
            }
            _ => ("stall-io", "every task waited for a disk", "fewer jobs at once, or a faster disk"),
        };
        let said =
            format!("{who} for {:.0} % of the last minute: builds are slow, not broken", ratio * 100.0);
        Limit { resource, subject: None, ratio, level, said, advice }
    }));
    limits.extend(facts.groups.iter().flat_map(group));
    limits.sort_by(|one, other| other.level.cmp(&one.level).then(other.ratio.total_cmp(&one.ratio)));

    let mut holdings = deleted(&facts.deleted, filesystems);
    holdings.extend(containers(facts, filesystems));
    holdings.extend(facts.journals.iter().map(|(directory, bytes)| Holding {
        kind: "journal",
        subject: directory.display().to_string(),
        bytes: *bytes,
        reclaimable: None,
        is_notable: *bytes >= 4 * GIB,
        said: format!("the journal takes {} in {}", size(*bytes), directory.display()),
        advice: "journalctl --vacuum-size=1G; SystemMaxUse= in journald.conf keeps it there".to_owned(),
    }));
    holdings.extend(filesystems.iter().filter_map(|status| reserved(&status.filesystem)));
    holdings.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.subject.cmp(&other.subject)));
    let verdict = real_limit(&limits);
    Capacity { limits, holdings, groups: facts.groups.clone(), verdict }
}

/// Which limit is the real one.
fn real_limit(limits: &[Limit]) -> String {
    let short: Vec<&Limit> = limits.iter().filter(|limit| limit.level > Level::Ok).collect();
    let nearest = limits.iter().find(|limit| !NEVER_SHORT.contains(&limit.resource));
    match (short.first(), nearest) {
        (Some(first), _) if short.len() == 1 => {
            format!("the real limit: {}; nothing else is short", first.said)
        }
        (Some(first), _) => {
            let others: Vec<String> = short[1..].iter().map(|limit| name(limit)).collect();
            format!("the real limit: {}; also short: {}", first.said, others.join(", "))
        }
        (None, Some(nearest)) => {
            format!("no limit is near; the nearest is {} at {:.0} %", name(nearest), nearest.ratio * 100.0)
        }
        (None, None) => "nothing could be read".to_owned(),
    }
}

/// `bytes of /home`, `memory`.
fn name(limit: &Limit) -> String {
    let resource = limit.resource.replace('-', " ");
    limit.subject.as_ref().map_or(resource.clone(), |subject| format!("{resource} of {subject}"))
}

/// Bytes and inodes are two limits with one error message.
fn disk(status: &FilesystemStatus) -> Vec<Limit> {
    let (mount, usage) = (status.filesystem.mount.display().to_string(), &status.filesystem.usage);
    let used_inodes =
        Share { used: usage.inodes_total.saturating_sub(usage.inodes_free), of: usage.inodes_total };
    // The level is the worse of the two: it belongs to the one that is nearer to its end.
    let bytes_are_nearer = usage.used_ratio() >= used_inodes.ratio();
    let level = |is_nearer: bool| if is_nearer { status.level } else { Level::Ok };
    let bytes = Limit {
        resource: "bytes",
        ratio: usage.used_ratio(),
        level: level(bytes_are_nearer),
        said: format!(
            "{} % of the bytes of {mount} are used, {} available",
            usage.used_percent(),
            size(usage.available_bytes)
        ),
        advice: "disk-guard plan shows what would be removed",
        subject: Some(mount.clone()),
    };
    let inodes = (usage.inodes_total > 0).then(|| Limit {
        resource: "inodes",
        ratio: used_inodes.ratio(),
        level: level(!bytes_are_nearer),
        said: format!(
            "{} of {} inodes of {mount} are left, and {} of bytes (without inodes: `No space left on device` as well)",
            usage.inodes_free,
            usage.inodes_total,
            size(usage.available_bytes)
        ),
        advice: "disk-guard plan; caches of many small files are removed first",
        subject: Some(mount.clone()),
    });
    [Some(bytes), inodes].into_iter().flatten().collect()
}

fn host(facts: &CapacityFacts) -> Vec<Limit> {
    let limit = |resource, share: Option<Share>, said: fn(Share) -> String, advice| {
        let share = share?;
        let ratio = share.ratio();
        let level = by(ratio, SHORT, AT_ITS_END);
        Some(Limit { resource, subject: None, ratio, level, said: said(share), advice })
    };
    let swap = facts.swap.map(|share| Limit {
        resource: "swap",
        subject: None,
        ratio: share.ratio(),
        // Full swap with free memory is normal on Linux; the limit of memory covers both.
        level: Level::Ok,
        said: format!("{} of {} of swap are in use", size(share.used), size(share.of)),
        advice: "nothing by itself",
    });
    [
        limit(
            "files",
            facts.files,
            |share| {
                format!("{} of {} open files of the whole host (`Too many open files in system`, ENFILE)", share.used, share.of)
            },
            "raise fs.file-max; a process's own limit (EMFILE) is another one: LimitNOFILE= of the runner's unit",
        ),
        limit(
            "tasks",
            facts.tasks,
            |share| {
                format!("{} of {} processes and threads (`fork: Resource temporarily unavailable`)", share.used, share.of)
            },
            "raise kernel.pid_max and kernel.threads-max, or find the process that forks",
        ),
        limit(
            "memory",
            facts.memory,
            |share| {
                format!("{} of {} of memory are taken (at its end the kernel kills the largest process)", size(share.used), size(share.of))
            },
            "fewer jobs at once, or MemoryMax= for each runner's unit, so that one job cannot exhaust the host",
        ),
        swap,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A runner's own limits, which look like the host's from inside a job.
fn group(group: &RunnerGroup) -> Vec<Limit> {
    let subject = Some(group.runner.clone());
    let mut limits = Vec::new();
    if let Some(memory) = group.memory.filter(|memory| memory.of > 0) {
        let peak = group.memory_peak.unwrap_or(0).max(memory.used);
        limits.push(Limit {
            resource: "group-memory",
            subject: subject.clone(),
            ratio: memory.ratio(),
            level: by(memory.ratio(), SHORT, AT_ITS_END),
            said: format!(
                "{} of the {} that {}'s own control group may use (peak {}), independent of the host",
                size(memory.used),
                size(memory.of),
                group.runner,
                size(peak)
            ),
            advice: "raise MemoryMax= of the runner's unit, or build with fewer jobs",
        });
    }
    if let Some(kills @ 1..) = group.oom_kills {
        limits.push(Limit {
            resource: "group-oom",
            subject: subject.clone(),
            ratio: 1.0,
            level: Level::High,
            said: format!(
                "killed for memory since its unit started: {} of {} (exit code 137, without a message of its own)",
                if kills == 1 { "a process".to_owned() } else { format!("{kills} processes") },
                group.runner
            ),
            advice: "disk-guard postmortem shows which; raise MemoryMax= or build with fewer jobs",
        });
    }
    if let Some(tasks) = group.tasks.filter(|tasks| tasks.of > 0) {
        let refused = group.forks_refused.filter(|refused| *refused > 0);
        let refused = refused.map_or_else(String::new, |times| format!(", {times} forks were refused"));
        limits.push(Limit {
            resource: "group-tasks",
            subject,
            ratio: tasks.ratio(),
            level: by(tasks.ratio(), SHORT, AT_ITS_END),
            said: format!(
                "{} of the {} tasks that {}'s own control group may have{refused}",
                tasks.used, tasks.of, group.runner
            ),
            advice: "raise TasksMax= of the runner's unit",
        });
    }
    limits
}

/// One entry a process: it is the process that has to let go.
fn deleted(files: &[DeletedFile], filesystems: &[FilesystemStatus]) -> Vec<Holding> {
    let mut processes: BTreeMap<i32, Vec<&DeletedFile>> = BTreeMap::new();
    files.iter().for_each(|file| processes.entry(file.pid.0).or_default().push(file));
    processes
        .into_values()
        .map(|files| {
            let (first, bytes) = (files[0], files.iter().map(|file| file.bytes).sum());
            let status = filesystems.iter().find(|status| status.filesystem.mount == first.mount);
            Holding {
                kind: "deleted-files",
                subject: format!("{} (pid {})", first.comm, first.pid),
                bytes,
                reclaimable: None,
                is_notable: is_notable(bytes, status),
                said: format!(
                    "{} (pid {}) holds {} of deleted files open on {}, the largest {}: df counts them, du does not",
                    first.comm,
                    first.pid,
                    size(bytes),
                    first.mount.display(),
                    first.path.display()
                ),
                advice: format!("the space comes back when pid {} closes them or ends", first.pid),
            }
        })
        .collect()
}

fn containers(facts: &CapacityFacts, filesystems: &[FilesystemStatus]) -> Vec<Holding> {
    let holding = |store: &crate::model::ContainerStore| {
        // The longest mount point that the data root lies below.
        let on = filesystems.iter().filter(|status| store.root.starts_with(&status.filesystem.mount));
        let status = on.max_by_key(|status| status.filesystem.mount.as_os_str().len());
        let unused =
            store.reclaimable.map_or_else(String::new, |bytes| format!(", {} of it unused", size(bytes)));
        Holding {
            kind: "containers",
            subject: store.engine.to_owned(),
            bytes: store.bytes,
            reclaimable: store.reclaimable,
            is_notable: is_notable(store.reclaimable.unwrap_or(store.bytes), status),
            said: format!(
                "images and containers of {} take {} in {}{unused}",
                store.engine,
                size(store.bytes),
                store.root.display()
            ),
            advice: match store.engine {
                "containerd" => "the kubelet's image garbage collection; crictl rmi --prune".to_owned(),
                engine => format!(
                    "{engine} image prune --filter until=168h; never -a: it removes images of stopped services"
                ),
            },
        }
    };
    facts.stores.iter().map(holding).collect()
}

/// Blocks that only root may take: users meet ENOSPC while root's processes go on.
fn reserved(filesystem: &Filesystem) -> Option<Holding> {
    let usage = &filesystem.usage;
    let free = usage.total_bytes.saturating_sub(usage.used_bytes);
    let bytes = free.saturating_sub(usage.available_bytes);
    (bytes > 0).then(|| {
        let mount = filesystem.mount.display();
        Holding {
            kind: "reserved",
            subject: mount.to_string(),
            bytes,
            reclaimable: None,
            is_notable: false,
            said: format!(
                "{} of {mount} are reserved for root ({:.1} %): users get `No space left on device` that much earlier",
                size(bytes),
                100.0 * bytes as f64 / usage.total_bytes.max(1) as f64
            ),
            advice: "tune2fs -m 1 on a data disk of ext4; keep it on the system's own".to_owned(),
        }
    })
}

fn is_notable(bytes: u64, status: Option<&FilesystemStatus>) -> bool {
    match status {
        Some(status) => bytes as f64 >= NOTABLE * status.filesystem.usage.total_bytes as f64,
        None => bytes >= GIB,
    }
}

fn by(ratio: f64, high: f64, critical: f64) -> Level {
    if ratio >= critical {
        Level::Critical
    } else if ratio >= high {
        Level::High
    } else {
        Level::Ok
    }
}

#[cfg(test)]
mod tests;
