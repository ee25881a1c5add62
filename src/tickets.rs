//! Tickets: caches of a runner that others needed under pressure and could not claim. The runner's own completed-hook removes them, at the
//! one moment when its job is over and no proof of idleness is needed.
//!
//! A ticket asks a runner only for what it may do anyway: it is a list of names, compared with the caches that the runner's own hook
//! discovers by its rules. A forged ticket makes a runner lose declared caches of its own while its disk is under pressure, which any
//! guard may cause; it reaches nothing else. An unreadable ticket asks for nothing.

use crate::model::{ActionResult, Decision, FileId, KeepReason, RunReport};
use crate::run_dir::{MAX_RECORD_BYTES, Records, RunDir, RunDirError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The maximum of caches that one runner is asked for at a time.
const MAX_CACHES: usize = 64;

#[derive(Debug, Default, Serialize, Deserialize)]
struct TicketFile {
    schema: u32,
    /// Relative to the work directory.
    caches: BTreeSet<PathBuf>,
}

/// The caches that a run would have removed, by runner, had they not been protected. `is_lacking` decides for a filesystem (by a runner's
/// work directory) whether it is still under pressure. Pure.
pub fn wanted(
    report: &RunReport,
    is_lacking: &dyn Fn(&crate::model::Runner) -> bool,
) -> BTreeMap<FileId, BTreeSet<PathBuf>> {
    let mut wanted: BTreeMap<FileId, BTreeSet<PathBuf>> = BTreeMap::new();
    for outcome in &report.outcomes {
        let action = &outcome.action;
        let is_protected = matches!(outcome.result, ActionResult::Restored(_))
            || matches!(action.decision, Decision::Keep(KeepReason::Protected(_)));
        // A hook deals only with caches in its work directory.
        if is_protected && action.cache.base.is_none() && is_lacking(&action.runner) {
            let caches = wanted.entry(action.runner.root_id).or_default();
            if caches.len() < MAX_CACHES {
                caches.insert(action.cache.below_work.clone());
            }
        }
    }
    wanted
}

fn name(root: FileId) -> String {
    format!("{:x}-{:x}", root.dev, root.ino)
}

/// Asks a runner for caches, in addition to those that others have asked for.
///
/// # Errors
/// [`RunDirError`].
pub fn leave(run: &RunDir, root: FileId, caches: &BTreeSet<PathBuf>) -> Result<(), RunDirError> {
    run.publish(Records::Tickets, &name(root), &text(caches))
}

/// The ticket that asks for `caches`, or for as many as fit.
pub(crate) fn text(caches: &BTreeSet<PathBuf>) -> Vec<u8> {
    let mut written = TicketFile { schema: 1, ..TicketFile::default() };
    let mut room = MAX_RECORD_BYTES as usize - 256;
    for cache in caches.iter().filter_map(|cache| cache.to_str()) {
        // Escapes in JSON take up to six bytes for one.
        let Some(left) = room.checked_sub(6 * cache.len() + 8) else { break };
        room = left;
        written.caches.insert(cache.into());
    }
    serde_json::to_vec(&written).expect("paths that are text serialise")
}

/// The caches that a runner is asked for; nothing without a readable ticket.
pub fn read(run: &RunDir, root: FileId) -> BTreeSet<PathBuf> {
    run.read(Records::Tickets, &name(root)).map(|content| understand(&content)).unwrap_or_default()
}

/// The caches that a ticket asks for.
pub(crate) fn understand(content: &[u8]) -> BTreeSet<PathBuf> {
    let written = serde_json::from_slice::<TicketFile>(content);
    let is_plain = |path: &PathBuf| path.is_relative() && is_beneath(path);
    written.unwrap_or_default().caches.into_iter().filter(is_plain).take(MAX_CACHES).collect()
}

fn is_beneath(path: &Path) -> bool {
    path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// Removes a ticket. Another user's ticket is kept for the next sweep: its caches are gone, so it has no effect.
pub fn withdraw(run: &RunDir, root: FileId) {
    let _ = run.remove(Records::Tickets, OsStr::new(&name(root)));
}

/// Removes all tickets: a sweep writes new ones for what is still needed.
pub fn withdraw_all(run: &RunDir) {
    let _ = run.take_all(Records::Tickets);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: FileId = FileId { dev: 7, ino: 9 };

    fn run() -> (tempfile::TempDir, RunDir) {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(&temp.path().join("run")).unwrap();
        (temp, run)
    }

    #[test]
    fn a_ticket_is_read_back_and_bounded() {
        let (_temp, run) = run();
        assert!(read(&run, ROOT).is_empty());
        let few: BTreeSet<PathBuf> = ["a/a/target", "b/b/target-x"].map(PathBuf::from).into();
        leave(&run, ROOT, &few).unwrap();
        assert_eq!(read(&run, ROOT), few);
        let many: BTreeSet<PathBuf> =
            (0..500).map(|n| PathBuf::from(format!("{n}/{}", "\u{1}".repeat(200)))).collect();
        leave(&run, ROOT, &many).unwrap();
        let found = read(&run, ROOT);
        assert!(!found.is_empty() && found.len() < 64, "{}", found.len());
        withdraw(&run, ROOT);
        assert!(read(&run, ROOT).is_empty());
    }

    #[test]
    fn an_invalid_ticket_requests_nothing() {
        let (temp, run) = run();
        leave(&run, ROOT, &BTreeSet::new()).unwrap();
        let file = temp.path().join("run/tickets").join(name(ROOT));
        for text in [
            "",
            "[]",
            "{\"schema\":1}",
            "{\"schema\":1,\"caches\":[\"/etc\",\"../x\",\"a/../../b\",\"\"]}",
            "{\"schema\":1,\"caches\":\"a\"}",
            &"x".repeat(100_000),
        ] {
            std::fs::write(&file, text).unwrap();
            let found = read(&run, ROOT);
            assert!(found.iter().all(|path| path.as_os_str().is_empty()), "{text:.60} {found:?}");
        }
    }
}
