//! Docker's build cache: BuildKit removes the least recently used parts, and never those that a build uses.

use crate::stores::tool::{CollectionTime, StoreTool};
use crate::sys::program::ProgramError;

/// Makes it keep this many bytes. The option's name changed with buildx 0.17; Docker's own help shows which one it knows.
pub(super) fn collect(tool: &StoreTool, keep: u64, turn: &CollectionTime<'_>) -> Result<(), ProgramError> {
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
