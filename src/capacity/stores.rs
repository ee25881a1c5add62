//! What container engines and the journal keep on disk.
//!
//! An engine is asked through its own command line, found in `paths.programs`: only it knows what it can give back. One that
//! does not answer in time, or with an unknown answer, is left out.

use crate::model::ContainerStore;
use crate::sys::program::{Bounds, Programs};
use bytesize::ByteSize;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use serde_json::Value;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;
use walkdir::WalkDir;

const MAX_ANSWER: usize = 256 << 10;

/// What engines are asked with.
pub(crate) const DOCKER_USAGE: [&str; 4] = ["system", "df", "--format", "{{json .}}"];
pub(crate) const DOCKER_ROOT: [&str; 3] = ["info", "--format", "{{.DockerRootDir}}"];
pub(crate) const CONTAINERD_USAGE: [&str; 3] = ["imagefsinfo", "-o", "json"];

/// Container engines that think about their answers.
#[derive(Debug)]
pub struct EnginesAsked(Vec<JoinHandle<Option<ContainerStore>>>);

impl EnginesAsked {
    /// Asks all engines at the same time. Each has `patience` for each of its two answers.
    pub fn new(programs: &[PathBuf], patience: Duration) -> Self {
        let bounds = Bounds::new(patience, MAX_ANSWER);
        let asked: [fn(Programs<'_>, Bounds) -> Option<ContainerStore>; 3] = [docker, podman, containerd];
        let in_thread = |ask: fn(Programs<'_>, Bounds) -> Option<ContainerStore>| {
            let programs = programs.to_vec();
            std::thread::Builder::new().spawn(move || ask(Programs(&programs), bounds)).ok()
        };
        Self(asked.into_iter().filter_map(in_thread).collect())
    }

    /// Waits for the engines that answer.
    pub fn answers(self) -> Vec<ContainerStore> {
        self.0.into_iter().filter_map(|answer| answer.join().ok().flatten()).collect()
    }
}

fn docker(programs: Programs<'_>, bounds: Bounds) -> Option<ContainerStore> {
    let usage = ask(programs, "docker", &DOCKER_USAGE, bounds)?;
    let (bytes, reclaimable) = docker_usage(&usage)?;
    let root = ask(programs, "docker", &DOCKER_ROOT, bounds)?;
    Some(ContainerStore { engine: "docker", root: root.into(), bytes, reclaimable: Some(reclaimable) })
}

fn podman(programs: Programs<'_>, bounds: Bounds) -> Option<ContainerStore> {
    let usage = ask(programs, "podman", &["system", "df", "--format", "json"], bounds)?;
    let (bytes, reclaimable) = podman_usage(&usage)?;
    let root = ask(programs, "podman", &["info", "--format", "{{.Store.GraphRoot}}"], bounds)?;
    Some(ContainerStore { engine: "podman", root: root.into(), bytes, reclaimable: Some(reclaimable) })
}

fn containerd(programs: Programs<'_>, bounds: Bounds) -> Option<ContainerStore> {
    containerd_usage(&ask(programs, "crictl", &CONTAINERD_USAGE, bounds)?)
}

fn ask(programs: Programs<'_>, program: &str, arguments: &[&str], bounds: Bounds) -> Option<String> {
    programs.text(program, arguments, bounds).ok()
}

/// One JSON object a line, sizes in words: `{"Reclaimable":"1.2GB (50%)","Size":"2.4GB",...}`.
pub(crate) fn docker_usage(text: &str) -> Option<(u64, u64)> {
    docker_usage_of(text, None)
}

/// The same of one type alone (`Images`, `Build Cache`).
pub(crate) fn docker_usage_of(text: &str, kind: Option<&str>) -> Option<(u64, u64)> {
    let mut sums = (0_u64, 0_u64);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).ok()?;
        if kind.is_some_and(|kind| line["Type"] != kind) {
            continue;
        }
        let size = |key: &str| -> Option<u64> {
            let text = line[key].as_str()?;
            let figure = text.split_once(" (").map_or(text, |(figure, _)| figure);
            Some(figure.parse::<ByteSize>().ok()?.as_u64())
        };
        sums = (sums.0.saturating_add(size("Size")?), sums.1.saturating_add(size("Reclaimable")?));
    }
    (!text.is_empty()).then_some(sums)
}

/// A list, with exact figures beside the words: `[{"RawSize": 1, "RawReclaimable": 1, ...}]`.
pub(crate) fn podman_usage(text: &str) -> Option<(u64, u64)> {
    let list: Value = serde_json::from_str(text).ok()?;
    list.as_array()?.iter().try_fold((0_u64, 0_u64), |sums, entry| {
        let (size, reclaimable) = (entry["RawSize"].as_u64()?, entry["RawReclaimable"].as_u64()?);
        Some((sums.0.saturating_add(size), sums.1.saturating_add(reclaimable)))
    })
}

/// The CRI's ImageFsInfo: `{"status":{"imageFilesystems":[{"fsId":{"mountpoint":"/..."},"usedBytes":{"value":"1"}}]}}`.
pub(crate) fn containerd_usage(text: &str) -> Option<ContainerStore> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let filesystem = answer["status"]["imageFilesystems"].get(0)?;
    let bytes = &filesystem["usedBytes"]["value"];
    Some(ContainerStore {
        engine: "containerd",
        root: filesystem["fsId"]["mountpoint"].as_str()?.into(),
        bytes: bytes.as_u64().or_else(|| bytes.as_str()?.parse().ok())?,
        reclaimable: None,
    })
}

/// The journal's directories and their allocated bytes; those that are there and can be read.
pub fn journals() -> Vec<(PathBuf, u64)> {
    let directories = ["/var/log/journal", "/run/log/journal"].map(PathBuf::from);
    directories
        .into_iter()
        .filter(|directory| directory.is_dir())
        .map(|directory| {
            let files = WalkDir::new(&directory).max_depth(2).into_iter().flatten();
            let bytes = files.filter(|file| file.file_type().is_file()).filter_map(|file| {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                Some(statx(CWD, file.path(), flags, StatxFlags::BLOCKS).ok()?.stx_blocks * 512)
            });
            let bytes = bytes.sum();
            (directory, bytes)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_answers_of_engines_are_understood_or_left_out() {
        let docker = r#"{"Active":"1","Reclaimable":"1.5GB (60%)","Size":"2.5GB","TotalCount":"7","Type":"Images"}
{"Active":"0","Reclaimable":"0B","Size":"0B","TotalCount":"0","Type":"Containers"}
{"Active":"","Reclaimable":"300MB","Size":"300MB","TotalCount":"","Type":"Build Cache"}"#;
        assert_eq!(docker_usage(docker), Some((2_800_000_000, 1_800_000_000)));
        assert_eq!(docker_usage_of(docker, Some("Build Cache")), Some((300_000_000, 300_000_000)));
        for broken in
            ["", "{}", "Cannot connect to the Docker daemon", r#"{"Size":"much","Reclaimable":"0B"}"#]
        {
            assert_eq!(docker_usage(broken), None, "{broken}");
        }
        let podman = r#"[{"Type":"Images","RawSize":100,"RawReclaimable":40},{"Type":"Containers","RawSize":5,"RawReclaimable":0}]"#;
        assert_eq!(podman_usage(podman), Some((105, 40)));
        assert_eq!(podman_usage(r#"[{"Type":"Images"}]"#), None);
        let crictl = r#"{"status":{"imageFilesystems":[{"fsId":{"mountpoint":"/var/lib/containerd"},"usedBytes":{"value":"77"}}]}}"#;
        let store = containerd_usage(crictl).unwrap();
        assert_eq!(
            (store.root.to_str(), store.bytes, store.reclaimable),
            (Some("/var/lib/containerd"), 77, None)
        );
        assert_eq!(containerd_usage("{}"), None);
    }

    #[test]
    fn an_engine_that_hangs_or_fails_is_left_out_within_a_bounded_time() {
        let temp = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "docker",
                "case $1 in system) echo '{\"Size\":\"1GB\",\"Reclaimable\":\"1GB\"}';; *) echo /data;; esac",
            ),
            ("podman", "exec /bin/sleep 60"),
            ("crictl", "echo no >&2; exit 1"),
        ] {
            let path = temp.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let directories = [temp.path().to_owned()];
        let stores = EnginesAsked::new(&directories, Duration::from_secs(2)).answers();
        let found: Vec<_> = stores.iter().map(|store| (store.engine, store.bytes)).collect();
        assert_eq!(found, [("docker", 1_000_000_000)]);
    }
}
