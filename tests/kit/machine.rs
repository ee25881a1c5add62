//! The computer that all tests share.
//!
//! The guard looks at every process: a Worker of one test makes idleness unprovable for every other one. So a test that
//! needs proof of it has the computer alone, and one that merely starts a Worker shares it with its like.

use super::processes::workers;
use super::wait::until;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;

/// Waits until no other test uses the computer; none does while this is held.
pub(super) fn take() -> Flock<File> {
    lock(FlockArg::LockExclusive)
}

/// Waits until no test has the computer alone; none takes it while this is held.
pub(crate) fn share() -> Flock<File> {
    lock(FlockArg::LockShared)
}

fn lock(how: FlockArg) -> Flock<File> {
    let path = std::env::temp_dir().join("disk-guard-tests.lock");
    // Reading is enough for flock, and in a sticky directory nobody may open another's file with O_CREAT.
    let file = File::open(&path).or_else(|_| {
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        file.set_permissions(PermissionsExt::from_mode(0o644))?;
        Ok::<_, std::io::Error>(file)
    });
    Flock::lock(file.expect("the tests' lock can be opened"), how)
        .map_err(|(_, error)| error)
        .expect("the tests' lock can be waited for")
}

/// Workers that are none of ours make every runner's idleness unprovable: waits until they have gone.
pub(crate) fn wait_for_strangers() {
    until("every Runner.Worker that is not this test's to leave the computer", || {
        workers().is_empty().then_some(())
    });
}
