//! The host's name.

use sysinfo::System;

/// The host's name.
pub fn host_name() -> String {
    System::host_name().unwrap_or_else(|| "unknown host".to_owned())
}
