//! The paths that one process holds in work directories, bounded in number.

use super::prefixes::Prefixes;
use crate::model::HeldBy;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// The maximum of paths that are recorded of one process, runner and way of holding. A process that holds more also gets an unnamed one,
/// which represents all.
const NAMED: usize = 32;

/// Records that the current process holds `path`, if that is in a work directory.
pub(super) fn note(
    held: &mut Vec<(usize, HeldBy, PathBuf)>,
    shared: &Prefixes,
    local: &Prefixes,
    how: HeldBy,
    path: &[u8],
) {
    let mut keep = |runner| {
        let path = PathBuf::from(OsStr::from_bytes(path));
        let known = held.iter().filter(|(of, by, _)| (*of, *by) == (runner, how));
        let (count, is_known) =
            known.fold((0, false), |(n, found), (_, _, known)| (n + 1, found || *known == path));
        match count {
            _ if is_known => {}
            ..NAMED => held.push((runner, how, path)),
            NAMED => held.push((runner, how, PathBuf::new())),
            _ => {}
        }
    };
    shared.each_holding(path, &mut keep);
    local.each_holding(path, &mut keep);
}
