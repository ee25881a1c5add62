//! The kernel's own tables: open files, tasks, memory, and how long tasks wait.

use crate::model::{Share, Stall};
use crate::sys::process::Proc;
use crate::sys::stalls;
use procfs::{FromBufRead as _, Meminfo};
use std::fs::File;
use std::io::BufReader;

/// `/proc/sys/fs/file-nr`: allocated, free, and the most there may be.
pub fn files(proc: &Proc) -> Option<Share> {
    let [allocated, unused, of] = numbers(proc, "sys/fs/file-nr")?[..] else { return None };
    Some(Share { used: allocated.saturating_sub(unused), of })
}

/// Processes and threads against the smaller of the two limits that fork(2) meets.
pub fn tasks(proc: &Proc) -> Option<Share> {
    let load = std::fs::read_to_string(proc.root().join("loadavg")).ok()?;
    let used = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    let limits = ["sys/kernel/pid_max", "sys/kernel/threads-max"];
    let of = limits.iter().filter_map(|file| numbers(proc, file)?.first().copied()).min()?;
    Some(Share { used, of })
}

/// The unavailable part of all memory, in bytes.
pub fn memory(proc: &Proc) -> Option<Share> {
    let info = meminfo(proc)?;
    Some(Share { used: info.mem_total.saturating_sub(info.mem_available?), of: info.mem_total })
}

/// Swap in use, where there is swap.
pub fn swap(proc: &Proc) -> Option<Share> {
    let info = meminfo(proc)?;
    (info.swap_total > 0)
        .then(|| Share { used: info.swap_total.saturating_sub(info.swap_free), of: info.swap_total })
}

/// How long tasks wait, averaged over the last minute; nothing where the kernel was built or started without that.
pub fn stalls(proc: &Proc) -> Vec<Stall> {
    let stall = |resource| {
        let stalls = stalls::of(proc, resource)?;
        // For the whole host `full` means nothing for the processor.
        let full = if resource == "cpu" { 0.0 } else { stalls.full.minute };
        Some(Stall { resource, some: stalls.some.minute, full })
    };
    ["cpu", "memory", "io"].into_iter().filter_map(stall).collect()
}

fn meminfo(proc: &Proc) -> Option<Meminfo> {
    let file = File::open(proc.root().join("meminfo")).ok()?;
    Meminfo::from_buf_read(BufReader::new(file)).ok()
}

fn numbers(proc: &Proc, file: &str) -> Option<Vec<u64>> {
    let text = std::fs::read_to_string(proc.root().join(file)).ok()?;
    text.split_whitespace().map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proc_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Proc) {
        let temp = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = temp.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let proc = Proc::new(temp.path());
        (temp, proc)
    }

    #[test]
    fn kernel_tables_are_read_and_missing_ones_are_left_out() {
        let (_temp, proc) = proc_with(&[
            ("sys/fs/file-nr", "1238\t38\t9000\n"),
            ("loadavg", "0.10 0.20 0.30 2/812 4711\n"),
            ("sys/kernel/pid_max", "4194304\n"),
            ("sys/kernel/threads-max", "192000\n"),
            (
                "meminfo",
                "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 250 kB\nBuffers: 1 kB\nCached: 1 kB\nSwapCached: 0 kB\nActive: 1 kB\nInactive: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 0 kB\nSlab: 0 kB\nCommitted_AS: 0 kB\nVmallocTotal: 0 kB\nVmallocUsed: 0 kB\nVmallocChunk: 0 kB\n",
            ),
            (
                "pressure/memory",
                "some avg10=1.00 avg60=12.50 avg300=0.00 total=536\nfull avg10=0.00 avg60=7.25 avg300=0.00 total=377\n",
            ),
        ]);
        assert_eq!(files(&proc), Some(Share { used: 1200, of: 9000 }));
        assert_eq!(tasks(&proc), Some(Share { used: 812, of: 192_000 }));
        assert_eq!(memory(&proc), Some(Share { used: 750 << 10, of: 1000 << 10 }));
        assert_eq!(swap(&proc), None);
        assert_eq!(stalls(&proc), [Stall { resource: "memory", some: 12.5, full: 7.25 }]);
        let (_temp, empty) = proc_with(&[("sys/fs/file-nr", "nonsense")]);
        assert_eq!((files(&empty), tasks(&empty), memory(&empty)), (None, None, None));
        assert!(stalls(&empty).is_empty());
    }

    #[test]
    fn this_machine_has_all_of_them() {
        let proc = Proc::new(std::path::Path::new("/proc"));
        for share in [files(&proc), tasks(&proc), memory(&proc)] {
            assert!(share.is_some_and(|share| share.used > 0 && share.used <= share.of), "{share:?}");
        }
    }
}
