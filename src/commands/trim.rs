//! `trim`: what of a cargo target directory could go, and what that would cost.

use super::{Context, Format, complain, present};
use crate::config::units::Size;
use crate::model::{TrimOffer, TrimTier};
use crate::observe::cargo_target::{self, TargetError, reference};
use crate::observe::sharing::Counted;
use crate::policy::trim;
use crate::report::exit::Exit;
use crate::report::{escape, human, json};
use crate::sys::dir::Dir;
use std::path::Path;
use std::time::{Duration, Instant};

/// Reading a target takes some ten milliseconds; a hostile one is given up.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Reads the directory and says what would go first.
pub(super) fn run(context: &Context, path: &Path, free: Option<Size>, format: Format) -> Exit {
    let offer = match read(context, path) {
        Ok(offer) => offer,
        Err(problem) => {
            complain(&format_args!(
                "{} is not examined as a cargo target directory: {problem}",
                escape::path(path)
            ));
            return Exit::Error;
        }
    };
    let steps = match free {
        Some(Size(bytes)) => offer.steps_for(bytes, TrimTier::Live),
        None => offer.steps_for(u64::MAX, TrimTier::Leftover),
    };
    present(
        &context.screen,
        format,
        || json::trim(path, &offer, steps),
        || human::trim(path, &offer, steps, super::now(), &context.screen),
    );
    Exit::Done
}

/// What the target directory at a path holds, and in which order it would go.
pub(super) fn read(context: &Context, path: &Path) -> Result<TrimOffer, TargetError> {
    let deadline = Instant::now() + TIME_LIMIT;
    let (dir, _) = Dir::resolve(path).map_err(TargetError::Unopened)?;
    let counted = Counted::under(&context.config.dedupe);
    let target = cargo_target::read(&dir, counted, deadline)?;
    // Tried on the directory itself, whose access time is not used for builds.
    Ok(trim::offer(&target, reference::access_times(&dir)))
}
