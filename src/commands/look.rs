//! What `status`, `plan` and `check` have in common: one look at the host, with the same plan as a sweep's.

use super::{Context, now};
use crate::cycle::{Preview, preview};
use crate::model::{Evidence, HostFacts, Runner};
use crate::observe::filesystems::MountTable;
use crate::observe::host::{Leases, Look, Whose};
use crate::observe::runners;
use crate::policy::liveness;
use crate::run_dir::RunDir;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a person waits for sizes. What is not sized by then is shown as such.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks, at the caches that `whose` chooses among the runners. The shared directory may be closed to us: then leases are
/// unknown, and visibility says so.
pub(super) fn at(context: &Context, whose: impl FnOnce(&[Runner]) -> Whose) -> (Preview, Option<RunDir>) {
    let run = RunDir::open_existing(&context.config.paths.run_dir).map_err(|error| error.to_string());
    let leases = leases(&run);
    let preview = preview(&context.config, &context.proc, leases, now(), Instant::now() + PATIENCE, whose);
    (preview, run.ok().flatten())
}

fn leases(run: &Result<Option<RunDir>, String>) -> Leases<'_> {
    match run {
        Ok(Some(run)) => Leases::In(run),
        Ok(None) => Leases::NoneYet,
        Err(reason) => Leases::Hidden(reason),
    }
}

/// Who lives, and on what evidence: a look without caches and sizes. With it, how many runners each glob matched.
pub(super) struct Alive {
    pub(super) facts: HostFacts,
    pub(super) evidence: Vec<Vec<Evidence>>,
    pub(super) root_matches: Vec<(String, usize)>,
}

/// Looks at liveness alone.
pub(super) fn alive(context: &Context) -> Alive {
    let run = RunDir::open_existing(&context.config.paths.run_dir).map_err(|error| error.to_string());
    let mounts = MountTable::read(&context.proc);
    let mut discovery = runners::discover(&context.config.runners.roots, &mounts);
    discovery.note_empty_globs(context.config.runners.are_built_in);
    let root_matches = discovery.matches.clone();
    let look = Look {
        proc: &context.proc,
        leases: leases(&run),
        mounts: &mounts,
        rules: &context.config.caches,
        now: now(),
        deadline: Instant::now() + PATIENCE,
    };
    let facts = look.at(discovery, Whose::Nobody);
    let evidence = liveness::evidence(&facts, liveness::Exempt::default());
    Alive { facts, evidence, root_matches }
}

/// The one runner of this name, or with this root.
pub(super) fn named(runners: &[Runner], name: &str) -> Result<usize, String> {
    let is_meant = |runner: &Runner| runner.name == name || runner.root.as_path() == Path::new(name);
    let matching: Vec<usize> = (0..runners.len()).filter(|index| is_meant(&runners[*index])).collect();
    match matching[..] {
        [index] => Ok(index),
        [] => {
            let known: Vec<&str> = runners.iter().map(|runner| runner.name.as_str()).collect();
            Err(format!("there is no runner {name}; known are: {}", known.join(", ")))
        }
        _ => Err(format!("{} runners are called {name}: name one by its root directory", matching.len())),
    }
}
