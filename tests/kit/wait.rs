//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// After this long a condition that should have come true never will.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Polls until `probe` answers. Panics at the deadline, naming `what`.
pub(crate) fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
