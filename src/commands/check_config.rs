//! `check-config`: validates, and prints the effective configuration.

use super::{config_failed, print};
use crate::config::{DEFAULT_PATH, Named};
use crate::observe::declared;
use crate::report::exit::Exit;
use crate::report::human::{self, ConfigOrigin};
use std::path::Path;

/// Checks the file that is named, else the default one, which may be missing.
pub(super) fn run(named: Option<&Path>) -> Exit {
    let path = named.unwrap_or(Path::new(DEFAULT_PATH));
    let how = if named.is_some() { Named::ByHand } else { Named::ByDefault };
    match declared::load_at(path, how) {
        Ok(config) => {
            let origin = if path.exists() { ConfigOrigin::File(path) } else { ConfigOrigin::Defaults(path) };
            print(&human::config(origin, &config));
            Exit::Done
        }
        Err(error) => config_failed(&error),
    }
}
