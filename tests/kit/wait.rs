//! Waiting for a condition, with a deadline.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// After this long a condition that should have come true never will. A long form runs for hours beside whatever else its host does,
/// and one build that is slow must not end it.
pub(crate) fn deadline() -> Duration {
    static IS_LONG: LazyLock<bool> = LazyLock::new(|| std::env::var_os("DISK_GUARD_SOAK").is_some());
    Duration::from_secs(if *IS_LONG { 900 } else { 60 })
}

/// Polls until `probe` answers. Panics at the deadline, naming `what`.
pub(crate) fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let (limit, begun) = (deadline(), Instant::now());
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
