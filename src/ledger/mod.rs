//! The ledger: what the guards of this host have done, kept so that it can be asked for later.
//!
//! It has two places, and every action is written to both. The journal is the more reliable: journald says who wrote an entry.
//! The files in `paths.state_dir` outlive a volatile journal, and are there where no journald runs.
//!
//! - `ledger.jsonl`, written by root (or by whoever owns the state directory); `ledger.jsonl.1` is its older generation.
//! - `ledger.d/UID.jsonl`, written by the hooks of other users, where root has made that sticky directory.
//!
//! # What is believed
//!
//! Reading knows who wrote an entry, and nothing else: of a journal's entry what journald adds by itself, of a file's its
//! owner, and that only where nobody else could have written or placed it. What an entry says is judged elsewhere
//! (`policy::ledger`), against its writer.
//!
//! # When things fail
//!
//! Writing never fails a run. What cannot be written now, because the disk is full, is kept and tried again with the next
//! entry and at the end of the run, when there is room again. Reading tells what it could not read as a gap.

pub(crate) mod answer;
mod file;
pub(crate) mod journal;
pub(crate) mod line;
mod writer;

pub mod when;

pub use file::read_files;
pub use journal::Journal;
pub use writer::{LedgerWriter, WriteOutcome};

use crate::model::ledger::{Entry, Reach};

/// One generation of a file is at most about this long.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// The file, its older generation and the directory of other users' files.
const FILE: &str = "ledger.jsonl";
const OLDER: &str = "ledger.jsonl.1";
const OTHERS: &str = "ledger.d";

/// What one place holds.
#[derive(Debug)]
pub struct LedgerPart {
    /// Its entries, in no order.
    pub entries: Vec<Entry>,
    /// How far it reaches.
    pub reach: Reach,
}
