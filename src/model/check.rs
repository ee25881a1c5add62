//! What `doctor` finds.

use strum::IntoStaticStr;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What: a name that stays, and after a colon which one of several.
    pub id: String,
    /// How it is.
    pub state: CheckState,
    /// What was seen.
    pub detail: String,
    /// What to do about it; none when there is nothing to be done.
    pub fix: Option<String>,
}

impl Check {
    /// As it should be.
    pub fn ok(id: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { id: id.into(), state: CheckState::Ok, detail: detail.into(), fix: None }
    }

    /// The guard works, but not as well as it could.
    pub fn warn(id: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { id: id.into(), state: CheckState::Warn, detail: detail.into(), fix: Some(fix.into()) }
    }

    /// The guard does not work.
    pub fn fail(id: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { id: id.into(), state: CheckState::Fail, detail: detail.into(), fix: Some(fix.into()) }
    }
}

/// Green, yellow or red.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum CheckState {
    /// Green.
    Ok,
    /// Yellow.
    Warn,
    /// Red.
    Fail,
}

impl CheckState {
    /// For JSON and people.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
