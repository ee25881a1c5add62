//! What monitoring reads: the counts of all runs, and the file for node_exporter's text file collector.

use super::Host;
use crate::clock::now;
use crate::counters::{CountersError, believed};
use crate::cycle::StaleUnits;
use crate::model::RunReport;
use crate::observe::snapshot::Snapshot;
use crate::overview;
use crate::overview::status::HolderSearch;
use crate::report::events::{Event, EventKind};
use crate::report::{escape, prometheus};
use crate::run_dir::RunDir;
use crate::setup::place;

/// All metrics of this host, in Prometheus' text format. If the counts cannot be read they are left out, and `complain` gets the reason.
pub(crate) fn exposition(
    snapshot: &Snapshot<'_>,
    run: Option<&RunDir>,
    complain: impl FnOnce(&CountersError),
) -> String {
    let host = overview::status::collect(snapshot, HolderSearch::Unasked, StaleUnits::Read);
    let counted = believed::counted(snapshot, run, now()).inspect_err(|error| complain(error)).ok();
    let trends = counted.as_ref().map(|counted| believed::trends(&host, counted, host.time));
    prometheus::host(&host, counted.as_ref().map(|counted| &counted.totals), &trends.unwrap_or_default())
}

/// The message about missing counts.
pub(crate) fn without_counts(error: &CountersError) -> String {
    format!("the counts of earlier runs are left out: {error}")
}

/// At the end of a sweep: takes in what all runs have counted, this one included, and writes the text file. A failure is reported and
/// does not fail the sweep.
pub(super) fn after_sweep(host: &Host<'_>, snapshot: &Snapshot<'_>, run: &RunDir, report: &RunReport) {
    if let Err(error) = believed::fold_in(snapshot, run, report, now()) {
        let place = run.path().display();
        fail(host, &format!("the counts of this run remain in {place} for the next sweep: {error}"));
    }
    let Some(path) = &snapshot.config.metrics_textfile else { return };
    let text = exposition(snapshot, Some(run), |error| {
        fail(host, &format!("metrics.textfile: {}", without_counts(error)));
    });
    if let Err(error) = place::replace_at(path, text.as_bytes()) {
        fail(host, &format!("metrics.textfile: {} could not be written: {error}", escape::path(path)));
    }
}

fn fail(host: &Host<'_>, text: &str) {
    (host.complain)(&text);
    Event::new(EventKind::Error, text).emit();
}
