//! Setting a host up, and taking runners out of service: changes to runners, not to their caches.
//!
//! `env_file`, `wiring` and `drain`'s decisions are pure. The rest has effects: `.env` files beneath a handle of the runner's root,
//! records and chain scripts in the state directory, systemd and the group file through their own programs, found by absolute path in
//! `paths.programs` and never through a variable. Everything below a runner's root belongs to its user: a link, a second hard link or a
//! foreign owner is refused, and `.service` is trusted only when systemd reports that the unit works in that root.

pub mod drain;
pub mod env_file;
pub mod group;
pub mod install;
pub mod place;
pub mod state;
pub mod units;
pub mod wiring;
