//! Runners out of service: what a person asks for, and what a sweep has to do for them.

use super::Host;
use crate::clock::now;
use crate::overview;
use crate::report::events::{Event, EventKind};
use crate::service::{Service, ServiceError};
use crate::setup::drain::Drained;
use crate::setup::state::{RecordKind, StateDir};

/// Acts on the runners of this host.
///
/// # Errors
/// See [`ServiceError`].
pub(crate) fn with<T>(
    host: &Host<'_>,
    act: impl FnOnce(&Service<'_>) -> Result<T, ServiceError>,
) -> Result<T, ServiceError> {
    let look = || overview::alive(&host.snapshot());
    act(&Service::open(host.config, &look, now)?)
}

/// The sweep's part. It costs nothing where no runner is marked and `drain.auto` is off.
pub(super) fn enforce(host: &Host<'_>) {
    let state = StateDir::at(&host.config.paths.state_dir);
    let drained = match state.load_all::<Drained>(RecordKind::Drained) {
        Ok(drained) => drained,
        Err(error) => return (host.complain)(&error),
    };
    if drained.is_empty() && !host.config.drain_auto {
        return;
    }
    if let Err(why) = with(host, |service| service.enforce(&drained)) {
        Event::new(EventKind::Error, format!("drained runners cannot be dealt with: {why}")).emit();
        (host.complain)(&why);
    }
}
