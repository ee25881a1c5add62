//! What `status`, `plan` and `check` share: one observation of the host, with the plan that a sweep would make. Nothing is changed.

pub(crate) mod check;
pub(crate) mod forecast;
pub(crate) mod past;
pub(crate) mod status;

use crate::cycle::{Preview, PreviewScope, StaleUnits, preview};
use crate::forecast::HostForecast;
use crate::model::Runner;
use crate::observe::host::{CacheScope, Leases};
use crate::observe::remembered::{self, RememberedSizes};
use crate::observe::snapshot::Snapshot;
use crate::run_dir::{RunDir, RunDirError};
use crate::setup::state::StateDir;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a person waits for sizes. What is not sized by then is shown as such.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where sizes are remembered: names of directories in private builds, for root alone to read.
const SIZES: &str = "sizes";
const SIZES_FILE: &str = "trees";

/// Observes the host and the caches that `whose` chooses. This process may not be allowed to read the shared directory: then leases are
/// unknown, and visibility records that.
pub(crate) fn at(
    snapshot: &Snapshot<'_>,
    whose: impl FnOnce(&[Runner]) -> CacheScope,
) -> (Preview, Option<RunDir>) {
    let run = open(snapshot);
    let scope = PreviewScope { whose, rooms: &[], stale: StaleUnits::Leave, memory: None };
    (seen(snapshot, &run, scope), run.ok().flatten())
}

/// The whole host, as a sweep would see it: with what live jobs need, and what is stale in targets.
pub(crate) fn whole(
    snapshot: &Snapshot<'_>,
    patience: Duration,
    stale: StaleUnits,
) -> (Preview, Option<RunDir>, HostForecast) {
    recalling(snapshot, (patience, stale), None)
}

/// The same with remembered sizes, which are also written for the next observation where this process may do so.
pub(crate) fn whole_recalled(
    snapshot: &Snapshot<'_>,
    patience: Duration,
    stale: StaleUnits,
) -> (Preview, Option<RunDir>, HostForecast) {
    let state = StateDir::at(&snapshot.config.paths.state_dir);
    let kept = state.read_file(SIZES, SIZES_FILE, remembered::MAX_BYTES as u64).ok().flatten();
    let memory = Mutex::new(RememberedSizes::from_bytes(&kept.unwrap_or_default()));
    let look = recalling(snapshot, (patience, stale), Some(&memory));
    if let Some(bytes) = memory.into_inner().unwrap_or_else(PoisonError::into_inner).into_bytes() {
        // This fails on a full disk and for ordinary users: the next observation measures again.
        let _ = state.write_private_soon(SIZES, SIZES_FILE, &bytes);
    }
    look
}

fn recalling(
    snapshot: &Snapshot<'_>,
    (patience, stale): (Duration, StaleUnits),
    memory: Option<&Mutex<RememberedSizes>>,
) -> (Preview, Option<RunDir>, HostForecast) {
    let run = open(snapshot);
    let survey = forecast::survey(snapshot, run.as_ref().ok().and_then(Option::as_ref), patience);
    let rooms = survey.rooms();
    let scope = PreviewScope { whose: |_: &[Runner]| CacheScope::Everybody, rooms: &rooms, stale, memory };
    (seen(snapshot, &run, scope), run.ok().flatten(), survey)
}

fn open(snapshot: &Snapshot<'_>) -> Result<Option<RunDir>, RunDirError> {
    RunDir::open_existing(&snapshot.config.paths.run_dir)
}

fn seen(
    snapshot: &Snapshot<'_>,
    run: &Result<Option<RunDir>, RunDirError>,
    scope: PreviewScope<'_, impl FnOnce(&[Runner]) -> CacheScope>,
) -> Preview {
    let reason = run.as_ref().err().map(RunDirError::in_brief).unwrap_or_default();
    let leases = match run {
        Ok(Some(run)) => Leases::In(run),
        Ok(None) => Leases::NoneYet,
        Err(_) => Leases::Hidden(&reason),
    };
    preview(snapshot, leases, Instant::now() + PATIENCE, scope)
}

/// The runners with their evidence, without caches.
pub(crate) fn alive(snapshot: &Snapshot<'_>) -> Preview {
    at(snapshot, |_| CacheScope::Nobody).0
}
