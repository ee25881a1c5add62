//! The ledger: a permanent record of what the guards of this host have done.
//!
//! It has two places, and every action is written to both. The journal is more reliable: journald records who wrote an entry. The files in
//! `paths.state_dir` survive a volatile journal, and exist where no journald runs.
//!
//! - `ledger.jsonl`, written by root (or by whoever owns the state directory); `ledger.jsonl.1` is its older generation.
//! - `ledger.d/UID.jsonl`, written by the hooks of other users, where root has made that sticky directory.
//!
//! # Trust
//!
//! The reader determines only who wrote an entry: in the journal by the fields that journald adds itself; of a file by its owner, and only
//! where nobody else could have written or placed it. The content of an entry is judged in `policy::ledger`, against its writer.
//!
//! # When things fail
//!
//! Writing never fails a run. An entry that cannot be written now, because the disk is full, is kept and tried again with the next entry
//! and at the end of the run, when there is room again. The reader reports unreadable parts as a gap.

pub(crate) mod answer;
mod file;
pub(crate) mod journal;
pub(crate) mod line;
mod writer;

pub mod when;

pub use file::read_files;
pub use journal::Journal;
pub use writer::{LedgerWriter, WriteOutcome};

use crate::model::ledger::{Entry, LedgerReach};

/// One generation of a file is at most about this long.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// The file, its older generation and the directory of other users' files.
const FILE: &str = "ledger.jsonl";
const OLDER: &str = "ledger.jsonl.1";
const OTHERS: &str = "ledger.d";

/// The content of one place.
#[derive(Debug)]
pub struct LedgerPart {
    /// Its entries, in no order.
    pub entries: Vec<Entry>,
    /// How far it reaches.
    pub reach: LedgerReach,
}
