//! Remarks for the host's administrator that do not concern a job.

/// Something about how the host is set up, with what to do about it. May hold names from disk: escape before printing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// For scripts: what it is about, and which.
    pub id: String,
    /// Whether the guard cannot do its work because of it.
    pub is_fault: bool,
    /// The observation.
    pub said: String,
    /// The fix; empty if none is needed.
    pub fix: String,
}

impl Remark {
    /// As one sentence, for reports.
    pub fn as_note(&self) -> String {
        match self.fix.as_str() {
            "" => self.said.clone(),
            fix => format!("{}; {fix}", self.said),
        }
    }
}
