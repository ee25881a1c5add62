use super::contains;
use crate::observe::listener_log::{PendingJob, pending_in};

/// An id that other lines of a log contain only if they are about this job.
const JOB: &str = "5d4c8a52-77f1-4d0e-9a3b-0c1f6e2d9b84";

/// A received job remains pending after any text that does not name the job, and after any earlier text.
pub fn listener_log(noise: &[u8]) {
    let _ = pending_in(noise);
    let received = format!(
        "[2026-01-02 03:04:05Z INFO JobDispatcher] Job request 7 for plan 1-2-3 job {JOB} received.\n"
    );
    let behind = [received.as_bytes(), noise].concat();
    if !contains(noise, JOB.as_bytes()) {
        let pending = pending_in(&behind);
        assert!(matches!(pending, PendingJob::Received { .. }), "{:?}", String::from_utf8_lossy(noise));
    }
    // So does an acknowledged job, until a part of the runner that could report its end writes a line.
    if !contains(noise, b"Runner] ") && !contains(noise, b" received.") {
        let acknowledged =
            "[2026-01-02 03:04:05Z INFO BrokerMessageListener] Acknowledging runner request '7'.\n"
                .as_bytes();
        assert!(matches!(pending_in(&[acknowledged, noise].concat()), PendingJob::Received { .. }));
    }
    let before = [noise, b"\n", received.as_bytes()].concat();
    assert!(matches!(pending_in(&before), PendingJob::Received { .. }));
}
