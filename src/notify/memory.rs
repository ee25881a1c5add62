//! Which incidents were reported: `notify/told.json` in the state directory, for root alone. On a full disk it cannot be written there.
//! It is then kept in the shared directory, beside the host lock, so that the full disk is not reported every quarter of an hour. Of
//! two files the later one counts.

use crate::model::incident::Memory;
use crate::run_dir::RunDir;
use crate::setup::place;
use crate::setup::place::own;
use crate::setup::state::{StateDir, StateError};
use crate::sys::dir::Dir;
use std::io;
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "notify";
const FILE: &str = "told.json";
const BESIDE: &str = "told.json";

/// The guard writes no larger file.
const MAX_BYTES: u64 = 1 << 20;

/// What was reported; nothing where the file cannot be read or understood, and then incidents are reported once more.
pub fn read(state: &StateDir, run: &Path) -> Memory {
    let kept = state.read_file(DIRECTORY, FILE, MAX_BYTES).ok().flatten();
    let beside = read_beside(run).ok().flatten();
    let memories = [kept, beside].into_iter().flatten();
    let memories = memories.filter_map(|bytes| serde_json::from_slice::<Memory>(&bytes).ok());
    memories.max_by_key(|memory| memory.at).unwrap_or_default()
}

/// Only a file of this user with one name: the directory belongs to root.
fn read_beside(run: &Path) -> io::Result<Option<Vec<u8>>> {
    let dir = Dir::follow(run)?;
    let found = place::read_up_to(&dir, BESIDE, MAX_BYTES)?;
    Ok(found.filter(|found| found.attributes.user == own(0).user).map(|found| found.bytes))
}

/// It can be written in neither place.
#[derive(Debug, thiserror::Error)]
#[error("{state}; it cannot be written to {} either: {beside}", run.display())]
pub struct MemoryError {
    state: StateError,
    run: PathBuf,
    beside: String,
}

/// Writes it.
///
/// # Errors
/// [`MemoryError`].
pub fn write(state: &StateDir, run: &Path, memory: &Memory) -> Result<(), MemoryError> {
    let bytes = serde_json::to_vec(memory).expect("our records have string keys");
    let Err(error) = state.write_file(DIRECTORY, FILE, &bytes) else { return Ok(()) };
    let beside = RunDir::open(run).map_err(|error| error.to_string()).and_then(|_| {
        let dir = Dir::follow(run).map_err(|error| error.to_string())?;
        place::replace(&dir, BESIDE, &bytes, own(0o600)).map_err(|error| error.to_string())
    });
    beside.map_err(|beside| MemoryError { state: error, run: run.to_owned(), beside })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_notifications_are_remembered_without_a_writable_state_directory_and_the_later_record_counts() {
        let temp = tempfile::tempdir().unwrap();
        let (state_path, run) = (temp.path().join("state"), temp.path().join("run"));
        RunDir::open(&run).unwrap();
        let state = StateDir::at(&state_path);
        let memory = |at| Memory { at, ..Memory::default() };
        assert_eq!(read(&state, &run), Memory::default());
        write(&state, &run, &memory(5)).unwrap();
        assert_eq!(read(&state, &run), memory(5));
        // A file in the directory's place: nothing can be written there, as on a full disk.
        let nowhere = StateDir::at(&temp.path().join("file"));
        std::fs::write(temp.path().join("file"), "").unwrap();
        write(&nowhere, &run, &memory(9)).unwrap();
        assert_eq!((read(&nowhere, &run).at, read(&state, &run).at), (9, 9));
        write(&state, &run, &memory(12)).unwrap();
        assert_eq!(read(&state, &run).at, 12);
        let error = write(&nowhere, Path::new("/proc/no/run"), &memory(1)).unwrap_err();
        assert!(error.to_string().contains("it cannot be written to /proc/no/run either"), "{error}");
    }

    #[test]
    fn a_foreign_file_is_not_used_as_memory() {
        let temp = tempfile::tempdir().unwrap();
        let (state, run) = (StateDir::at(&temp.path().join("state")), temp.path().join("run"));
        RunDir::open(&run).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", run.join(BESIDE)).unwrap();
        state.write_file(DIRECTORY, FILE, b"{\"at\":\"x\"}").unwrap();
        assert_eq!(read(&state, &run), Memory::default());
        state
            .write_file(DIRECTORY, FILE, &serde_json::to_vec(&Memory { at: 3, ..Memory::default() }).unwrap())
            .unwrap();
        assert_eq!(read(&state, &run).at, 3, "the control");
    }
}
