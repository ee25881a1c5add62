//! `status --json`.

use super::forecast::FiguresDoc;
use super::{Document, Layout};
use crate::as_json;
use crate::model::dedupe::DedupeRecord;
use crate::model::reap::{ReapCounts, ReapEntryRecord};
use crate::model::stores::StoreRecord;
use crate::model::{
    Capacity, DeclaredStatus, Disk, DiskForecast, FilesystemStatus, HostStatus, Level, LockView, RootMatches,
    RuleStatus, RunnerStatus, SpaceHolder, TargetView, Visibility,
};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::Path;
use std::time::SystemTime;

#[derive(Serialize, JsonSchema)]
pub(super) struct StatusDoc<'a> {
    host: &'a str,
    #[serde(with = "as_json::Time")]
    time: SystemTime,
    visibility: VisibilityDoc<'a>,
    lock: &'a LockView,
    trash_bytes: u64,
    filesystems: Vec<FilesystemDoc<'a>>,
    other_disks: Vec<DiskDoc<'a>>,
    runners: &'a [RunnerStatus],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    declared: &'a [DeclaredStatus],
    capacity: &'a Capacity,
    #[serde(skip_serializing_if = "Option::is_none")]
    reap: Option<Vec<RecordDoc<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stores: Option<Vec<StoreLineDoc<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedupe: Option<DedupeDoc<'a>>,
    root_matches: &'a [RootMatches],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rules: &'a [RuleStatus],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    holding: &'a [SpaceHolder],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    targets: &'a [TargetView],
    notes: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct VisibilityDoc<'a> {
    state: &'static str,
    reasons: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct FilesystemDoc<'a> {
    #[serde(flatten, with = "as_json::AtMount")]
    mount: &'a Path,
    fs_type: &'a str,
    total_bytes: u64,
    available_bytes: u64,
    used_percent: u8,
    inodes_total: u64,
    inodes_free: u64,
    level: Level,
    #[serde(skip_serializing_if = "Option::is_none")]
    forecast: Option<FiguresDoc>,
}

#[derive(Serialize, JsonSchema)]
struct DiskDoc<'a> {
    #[serde(flatten, with = "as_json::AtMount")]
    mount: &'a Path,
    fs_type: &'a str,
    total_bytes: u64,
    available_bytes: u64,
}

impl<'a> VisibilityDoc<'a> {
    fn new(visibility: &'a Visibility) -> Self {
        match visibility {
            Visibility::Complete => Self { state: "complete", reasons: &[] },
            Visibility::Partial(reasons) => Self { state: "partial", reasons },
        }
    }
}

impl<'a> FilesystemDoc<'a> {
    fn new(status: &'a FilesystemStatus, forecasts: &[DiskForecast]) -> Self {
        let forecast = forecasts.iter().find(|disk| disk.filesystem.id == status.filesystem.id);
        let (filesystem, usage) = (&status.filesystem, &status.filesystem.usage);
        Self {
            mount: &filesystem.mount,
            fs_type: &filesystem.fs_type,
            total_bytes: usage.total_bytes,
            available_bytes: usage.available_bytes,
            used_percent: usage.used_percent(),
            inodes_total: usage.inodes_total,
            inodes_free: usage.inodes_free,
            level: status.level,
            forecast: forecast.map(FiguresDoc::new),
        }
    }
}

impl<'a> DiskDoc<'a> {
    fn new(disk: &'a Disk) -> Self {
        let mount = &disk.mount;
        let (total_bytes, available_bytes) = (disk.usage.total_bytes, disk.usage.available_bytes);
        Self { mount, fs_type: &disk.fs_type, total_bytes, available_bytes }
    }
}

/// The result of a store in the last run.
#[derive(Serialize, JsonSchema)]
struct StoreLineDoc<'a> {
    name: &'a str,
    kind: &'a str,
    #[serde(with = "as_json::Time")]
    time: SystemTime,
    bytes: Option<u64>,
    outcome: &'a str,
    freed_bytes: u64,
    #[serde(with = "as_json::OptionalTime")]
    collected: Option<SystemTime>,
    detail: Option<&'a str>,
}

impl<'a> StoreLineDoc<'a> {
    fn new(store: &'a StoreRecord) -> Self {
        Self {
            name: &store.name,
            kind: &store.kind,
            time: store.time,
            bytes: store.bytes,
            outcome: &store.outcome,
            freed_bytes: store.freed_bytes,
            collected: store.collected.map(|collected| collected.0),
            detail: store.detail.as_deref(),
        }
    }
}

/// The reaper's last result: the record of it in the state directory has its time in seconds.
#[derive(Serialize, JsonSchema)]
struct RecordDoc<'a> {
    name: &'a str,
    kind: &'a str,
    #[serde(with = "as_json::Time")]
    time: SystemTime,
    #[serde(flatten)]
    counts: &'a ReapCounts,
}

impl<'a> RecordDoc<'a> {
    fn new(entry: &'a ReapEntryRecord) -> Self {
        Self { name: &entry.name, kind: &entry.kind, time: entry.time, counts: &entry.counts }
    }
}

/// The last sweep's result of sharing blocks: of `pair_bytes` in second copies `sharing_bytes` are stored once.
#[derive(Serialize, JsonSchema)]
struct DedupeDoc<'a> {
    #[serde(with = "as_json::Time")]
    time: SystemTime,
    pair_bytes: u64,
    sharing_bytes: u64,
    shared_bytes: u64,
    freed_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'a str>,
}

impl<'a> DedupeDoc<'a> {
    fn new(record: &'a DedupeRecord) -> Self {
        Self {
            time: record.time,
            pair_bytes: record.pair_bytes,
            sharing_bytes: record.sharing_bytes,
            shared_bytes: record.shared_bytes,
            freed_bytes: record.freed_bytes,
            ended: record.ended.as_deref(),
        }
    }
}

/// The document for `status`.
pub fn status(host: &HostStatus, layout: Layout) -> String {
    Document::of(
        StatusDoc {
            host: &host.host,
            time: host.time,
            visibility: VisibilityDoc::new(&host.visibility),
            lock: &host.lock,
            trash_bytes: host.trash_bytes,
            filesystems: host
                .filesystems
                .iter()
                .map(|seen| FilesystemDoc::new(seen, &host.forecasts))
                .collect(),
            other_disks: host.other_disks.iter().map(DiskDoc::new).collect(),
            runners: &host.runners,
            declared: &host.declared,
            capacity: &host.capacity,
            reap: host.reap.as_ref().map(|record| record.entries.iter().map(RecordDoc::new).collect()),
            stores: host.stores.as_ref().map(|record| record.stores.iter().map(StoreLineDoc::new).collect()),
            dedupe: host.dedupe.as_ref().map(DedupeDoc::new),
            root_matches: &host.root_matches,
            rules: &host.rules,
            holding: &host.holding,
            targets: &host.targets,
            notes: &host.notes,
        },
        layout,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_host() {
        let mut host = samples::host();
        host.runners.truncate(2);
        insta::assert_snapshot!(status(&host, Layout::Pretty), @r#"
        {
          "schema": 1,
          "host": "ci-host-07",
          "time": "2026-03-04T14:25:10Z",
          "visibility": {
            "state": "partial",
            "reasons": [
              "processes of uid 1002 are not readable: run as root"
            ]
          },
          "lock": {
            "held": true,
            "holders": [
              {
                "pid": 77,
                "process": "disk-guard",
                "since": "2026-03-04T14:25:07Z"
              }
            ]
          },
          "trash_bytes": 1288490188,
          "filesystems": [
            {
              "mount": "/home",
              "fs_type": "ext4",
              "total_bytes": 251255586816,
              "available_bytes": 22548578304,
              "used_percent": 92,
              "inodes_total": 1000,
              "inodes_free": 880,
              "level": "high"
            },
            {
              "mount": "/srv/ci",
              "fs_type": "ext4",
              "total_bytes": 107374182400,
              "available_bytes": 2147483648,
              "used_percent": 98,
              "inodes_total": 1000,
              "inodes_free": 880,
              "level": "critical"
            }
          ],
          "other_disks": [
            {
              "mount": "/",
              "fs_type": "ext4",
              "total_bytes": 53687091200,
              "available_bytes": 39728447488
            }
          ],
          "runners": [
            {
              "name": "runner-1",
              "root": "/home/ci/runner-1",
              "work": "/home/ci/runner-1/_work",
              "state": "busy",
              "guarded": true,
              "drained": null,
              "evidence": [
                {
                  "kind": "worker-process",
                  "detail": "Worker pid 4711"
                },
                {
                  "kind": "visibility",
                  "detail": "process 991 of uid 1002 cannot be examined: its open files may lie here"
                }
              ],
              "job": {
                "repository": "acme/app",
                "run_id": "1234567890",
                "job": "build",
                "since": "2026-03-04T14:02:10Z"
              },
              "caches": [
                {
                  "path": "/home/ci/runner-1/_work/app/app/target",
                  "rule": "cargo-target",
                  "bytes": 13242815829,
                  "files": 6386,
                  "newest": "2026-03-04T14:23:00Z",
                  "complete": true
                }
              ],
              "reclaimable_bytes": 0,
              "blocked_bytes": 13242815829
            },
            {
              "name": "runner-2",
              "root": "/home/ci/runner-2",
              "work": "/home/ci/runner-2/_work",
              "state": "idle",
              "guarded": true,
              "drained": {
                "by": "hand",
                "since": "2026-03-04T12:25:10Z"
              },
              "evidence": [],
              "job": null,
              "caches": [
                {
                  "path": "/home/ci/runner-2/_work/app/app/target",
                  "rule": "cargo-target",
                  "bytes": 8724152320,
                  "files": 6386,
                  "newest": "2026-03-01T14:25:10Z",
                  "complete": true
                },
                {
                  "path": "/home/ci/runner-2/_work/lib/lib/target",
                  "rule": "cargo-target",
                  "bytes": 314572800,
                  "files": 6386,
                  "newest": "2026-02-20T14:25:10Z",
                  "complete": true
                }
              ],
              "reclaimable_bytes": 9038725120,
              "blocked_bytes": 0
            }
          ],
          "capacity": {
            "verdict": "the real limit: 9800 of 10000 open files of the whole host (`Too many open files in system`, ENFILE); also short: bytes of /home",
            "limits": [
              {
                "resource": "files",
                "subject": null,
                "used_ratio": 0.98,
                "level": "critical",
                "said": "9800 of 10000 open files of the whole host (`Too many open files in system`, ENFILE)",
                "advice": "raise fs.file-max; a process's own limit (EMFILE) is another one: LimitNOFILE= of the runner's unit"
              },
              {
                "resource": "bytes",
                "subject": "/home",
                "used_ratio": 0.9103,
                "level": "high",
                "said": "92 % of the bytes of /home are used, 21.0 GiB available",
                "advice": "disk-guard plan shows what would be removed"
              },
              {
                "resource": "group-memory",
                "subject": "runner-1",
                "used_ratio": 0.375,
                "level": "ok",
                "said": "3.00 GiB of the 8.00 GiB that runner-1's own control group may use (peak 7.00 GiB), independent of the host",
                "advice": "raise MemoryMax= of the runner's unit, or build with fewer jobs"
              },
              {
                "resource": "inodes",
                "subject": "/home",
                "used_ratio": 0.12,
                "level": "ok",
                "said": "880 of 1000 inodes of /home are left, and 21.0 GiB of bytes (without inodes: `No space left on device` as well)",
                "advice": "disk-guard plan; caches of many small files are removed first"
              }
            ],
            "holdings": [
              {
                "kind": "deleted-files",
                "subject": "java (pid 4242)",
                "bytes": 15032385536,
                "reclaimable_bytes": null,
                "said": "java (pid 4242) holds 14.0 GiB of deleted files open on /home, the largest /home/ci/\u001b[31mheap.bin: df counts them, du does not",
                "advice": "the space comes back when pid 4242 closes them or ends"
              }
            ],
            "groups": [
              {
                "runner": "runner-1",
                "group": "/system.slice/actions.runner.acme.runner-1.service",
                "memory_bytes": 3221225472,
                "memory_limit_bytes": 8589934592,
                "memory_peak_bytes": 7516192768,
                "oom_kills": 0,
                "tasks": 40,
                "tasks_limit": null,
                "forks_refused": null
              }
            ]
          },
          "root_matches": [
            {
              "root": "/home/*/*runner*",
              "runners": 5
            }
          ],
          "notes": [
            "runner-9 vanished while it was looked at"
          ]
        }
        "#);
    }

    #[test]
    fn a_line_is_one_line() {
        let line = status(&samples::host(), Layout::Line);
        assert_eq!(line.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["schema"], 1);
        assert_eq!(value["runners"][4]["name"], "日本\u{202e}語\n::error::", "names are exact in JSON");
        assert_eq!(value["runners"][2]["caches"][0]["complete"], false);
    }
}
