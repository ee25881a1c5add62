//! Counters that survive runs and reboots and include the hooks of unprivileged users.
//!
//! Every run, also a sweep, leaves one small record in `counters/` of the shared directory: one file, one write. A hook may write there and
//! nowhere else, it takes three system calls, and it works when the disk is full. A sweep adds the records to `counters/totals.json` in the
//! state directory, which only the sweep writes, and removes them. This is called a fold. Reports show the totals plus the pending records.
//!
//! # Each record once
//!
//! The totals name the records of the last fold. If a fold is killed after it has written the totals and before it has removed the records,
//! the next fold knows these records and does not count them again. A name counts together with its owner, so that nobody can use up the
//! name of another user's record. Only one fold runs at a time: it locks a file that no other user can open. Records that are pending when
//! the host shuts down are lost.
//!
//! # Hostile records
//!
//! Members of the group can write records, each their own, in a sticky directory. A record counts as its file owner's;
//! `policy::counting` decides what of it is trusted. A fold reads a bounded number of records of a bounded length, and removes other files.
//! Totals have a bounded number of series and never overflow.
//!
//! # When things fail
//!
//! A run whose record cannot be written is not counted, and continues. If the totals cannot be written, the records remain. Totals that
//! cannot be parsed are started anew.

pub(crate) mod believed;
pub(crate) mod record;
mod totals;

pub use totals::{CountersError, CountersSnapshot, FoldWork, fold, read, samples};

use crate::model::metrics::Tally;
use crate::run_dir::{Records, RunDir, RunDirError};

/// Series in one record: with labels as long as they may be it stays shorter than a record may be.
const PER_RECORD: usize = 6;

/// Leaves what a run has counted. `name` is the run's, unique on this host.
///
/// # Errors
/// [`RunDirError`].
pub fn leave(run: &RunDir, name: &str, tally: &Tally) -> Result<(), RunDirError> {
    for (number, part) in record::parts(tally, PER_RECORD).iter().enumerate() {
        let name = if number == 0 { name.to_owned() } else { format!("{name}-{number}") };
        run.drop_off(Records::Counters, &name, &record::write(part))?;
    }
    Ok(())
}
