//! `metrics`, and the file that a sweep writes for node_exporter's text file collector.

use super::{Context, complain, now, output, overview, print};
use crate::counters::{CountersError, believed};
use crate::cycle::Stale;
use crate::model::RunReport;
use crate::observe::snapshot::Snapshot;
use crate::overview::status::Holders;
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::report::{escape, prometheus};
use crate::run_dir::RunDir;

/// Prints what monitoring is told.
pub(super) fn run(context: &Context) -> Exit {
    let run = RunDir::open_existing(&context.config.paths.run_dir).ok().flatten();
    match exposition(&context.snapshot(), run.as_ref()) {
        Ok(text) => {
            print(&text);
            Exit::Done
        }
        Err(error) => {
            complain(&error);
            Exit::Error
        }
    }
}

/// At the end of a sweep: takes in what all runs have counted, this one included, and writes the text file. None of it fails
/// the sweep.
pub(super) fn after_sweep(snapshot: &Snapshot<'_>, run: &RunDir, report: &RunReport) {
    if let Err(error) = believed::fold_in(snapshot, run, report, now()) {
        fail(&format!("what was counted stays in {} for the next sweep: {error}", run.path().display()));
    }
    let Some(path) = &snapshot.config.metrics_textfile else { return };
    let written = exposition(snapshot, Some(run))
        .map_err(|error| error.to_string())
        .and_then(|text| output::write(path, text.as_bytes()).map_err(|error| error.to_string()));
    if let Err(error) = written {
        fail(&format!("metrics.textfile: {} could not be written: {error}", escape::path(path)));
    }
}

fn fail(text: &str) {
    complain(&text);
    Event::new(EventKind::Error, text).emit();
}

fn exposition(snapshot: &Snapshot<'_>, run: Option<&RunDir>) -> Result<String, CountersError> {
    let host = overview::status::collect(snapshot, Holders::Unasked, Stale::Read);
    let told = believed::counted(snapshot, run, now())?;
    let trends = believed::trends(&host, &told, host.time);
    Ok(prometheus::host(&host, &told.totals, &trends))
}
