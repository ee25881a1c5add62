//! `drain` and `resume`, and a sweep's part for runners that are out of service.

use super::{Context, complain, now, overview, print};
use crate::report::events::{Event, EventKind};
use crate::report::exit::Exit;
use crate::service::{Service, ServiceError};
use crate::setup::drain::Drained;
use crate::setup::state::{Kept, StateDir};
use crate::text::escape;

/// Takes a runner out of service.
pub(super) fn drain(context: &Context, name: &str) -> Exit {
    say(with(context, |service| service.drain(name)))
}

/// Brings it back.
pub(super) fn resume(context: &Context, name: &str) -> Exit {
    say(with(context, |service| service.resume(name)))
}

/// The sweep's part. Costs nothing where no runner is marked and `drain.auto` is off.
pub(super) fn enforce(context: &Context) {
    let state = StateDir::at(&context.config.paths.state_dir);
    let drained = match state.load_all::<Drained>(Kept::Drained) {
        Ok(drained) => drained,
        Err(error) => return complain(&error),
    };
    if drained.is_empty() && !context.config.drain_auto {
        return;
    }
    if let Err(why) = with(context, |service| service.enforce(&drained)) {
        Event::new(EventKind::Error, format!("drained runners cannot be dealt with: {why}")).emit();
        complain(&why);
    }
}

fn with<T>(
    context: &Context,
    act: impl FnOnce(&Service<'_>) -> Result<T, ServiceError>,
) -> Result<T, ServiceError> {
    let look = || overview::alive(&context.snapshot());
    act(&Service::open(&context.config, &look, now)?)
}

fn say(result: Result<String, ServiceError>) -> Exit {
    match result {
        Ok(text) => {
            print(&format!("{}\n", escape::log_line(&text)));
            Exit::Done
        }
        Err(why) => {
            complain(&format_args!("{why}; nothing was done"));
            Exit::Error
        }
    }
}
