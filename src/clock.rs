//! The wall clock; the one place where it is read. Decisions take the time as an argument.

use std::time::SystemTime;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
