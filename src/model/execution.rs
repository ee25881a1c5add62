//! Whether something is done or only shown.

/// One word for every command that has a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// Up to the plan: nothing is touched.
    DryRun,
    /// All the way.
    Apply,
}

impl Execution {
    /// As the command line says it.
    pub fn of(dry_run: bool) -> Self {
        if dry_run { Self::DryRun } else { Self::Apply }
    }

    /// Whether nothing is touched.
    pub fn is_dry_run(self) -> bool {
        self == Self::DryRun
    }
}
