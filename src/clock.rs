//! The wall clock; the one place where it is read. Who decides something gets the time handed down.

use std::time::SystemTime;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
