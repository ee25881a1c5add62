//! Whether journalctl shows this user the entries of everybody.
//!
//! To a user who may not read all of the journal it shows a part, and says so on standard error. It is silent about that with
//! `--quiet`, and with `-o json` as well (`arg_quiet` in systemd's journalctl.c). So the question is asked in its usual format.

use super::program::{Bounds, Call, ProgramEnd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What journalctl says of entries that it does not show.
pub const HIDDEN: [&str; 2] = ["not seeing messages", "insufficient permissions"];

/// False also when that cannot be found out.
pub fn shows_everybody(program: &Path, time: Duration) -> bool {
    let places = ["/usr/bin", "/bin"].map(PathBuf::from);
    let arguments = ["--no-pager", "-o", "short", "--lines=0"];
    let mut call = Call::new(program.to_owned(), &arguments, &places, Bounds::new(time, 0));
    call.environment.push(("LC_ALL", "C.UTF-8".into()));
    call.run().is_ok_and(|run| {
        matches!(run.end, ProgramEnd::Itself(_)) && !HIDDEN.iter().any(|words| run.complaint.contains(words))
    })
}
