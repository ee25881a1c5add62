//! Docker's build cache: BuildKit removes what was not used for longest, and never what a build holds.

use crate::stores::tool::{Tool, Turn};
use crate::sys::program::ProgramError;

/// Has it keep so many bytes. The option's name changed with buildx 0.17; which one this Docker understands it says itself.
pub(super) fn collect(tool: &Tool, keep: u64, turn: &Turn<'_>) -> Result<(), ProgramError> {
    let prune = |option: &str| {
        let keep = format!("--{option}={keep}");
        tool.collect(&["builder", "prune", "--force", &keep], turn)
    };
    match prune("keep-storage") {
        Err(ProgramError::Failed { complaint, .. }) if complaint.contains("unknown flag") => {
            prune("max-used-space")
        }
        result => result,
    }
}
