//! Counters that outlive runs and reboots, hooks of unprivileged users included.
//!
//! Every run, a sweep as well, leaves one small record in `counters/` of the shared directory: one file, one write. A hook
//! may write there and nowhere else, it costs it three system calls, and there is room when the disk has none. A sweep folds
//! the records into `counters/totals.json` of the state directory, which is its own alone, and removes them. What is told is
//! the totals and what is still pending.
//!
//! # Each record once
//!
//! The totals name the records that the last fold has taken in. A fold that was ended between writing the totals and removing
//! the records leaves records that are known, and are not counted again. A name is known together with its owner, so
//! that nobody can use up another's. Only one fold runs at a time: it holds a lock on a file that nobody else can open.
//! Records that have not been folded when the host shuts down are lost.
//!
//! # Hostile records
//!
//! Members of the group can write records, in a sticky directory, each their own. A record counts as its file's owner's; what
//! is believed of it is decided by `policy::counting`. A fold reads a bounded number of records of a bounded length, and
//! removes other files. Totals have a bounded number of series and never overflow.
//!
//! # When things fail
//!
//! A run whose record cannot be written is not counted, and continues. Totals that cannot be written leave the records where they
//! are. Totals that cannot be understood are begun anew.

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
