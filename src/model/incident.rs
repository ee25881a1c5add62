//! Incidents that are reported at once, and the record of earlier reports.

use crate::as_json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use strum::{IntoStaticStr, VariantArray};

/// The kinds of incidents, by their names in the configuration, in JSON and in the record.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum IncidentKind {
    /// A disk with work directories is above critical.
    CriticalDisk,
    /// A sweep could not free enough.
    GoalMissed,
    /// More than one repository is contaminated, so that sweeps repair none.
    WiderContamination,
    /// Leaked environments are not deleted.
    Leak,
    /// A job was refused because its disk was above critical.
    RefusedJob,
    /// Sweeps no longer run, or fail.
    DeadSweep,
}

impl IncidentKind {
    /// All of them.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Its name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A present incident. Its text may contain names from disk, which are escaped already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its kind.
    pub kind: IncidentKind,
    /// Which one of its kind: a mount point, the name of a `[[reap]]`; empty where there is only one.
    pub subject: String,
    /// The identity of the incident: it is reported again at once when this differs from the reported one.
    pub gist: String,
    /// The minimum duration before it is reported, in seconds.
    pub patience: u64,
    /// The description.
    pub text: String,
    /// The command to run next.
    pub advice: &'static str,
}

/// A look at the host for incidents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncidentLook {
    /// The incidents.
    pub incidents: Vec<Incident>,
    /// The kinds that could not be examined: their absence means nothing.
    pub unseen: BTreeSet<IncidentKind>,
    /// The number of jobs refused on this host so far.
    pub jobs_refused: Option<u64>,
}

/// Why an incident is reported now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum News {
    /// It was not reported before.
    New,
    /// It differs from the reported one.
    Changed,
    /// It is ongoing.
    Still,
    /// It is over.
    Over,
}

impl News {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A reported incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Telling {
    /// Its kind.
    pub kind: IncidentKind,
    /// Why now.
    pub news: News,
    /// Which one of its kind.
    pub subject: String,
    /// Since when it is known, in seconds since 1970.
    #[serde(with = "as_json::UnixTime")]
    pub since: u64,
    /// The description.
    pub text: String,
    /// The command to run next; empty if it is over.
    pub advice: String,
}

/// The record of a reported incident. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    /// Its kind.
    pub kind: IncidentKind,
    /// Which one.
    pub subject: String,
    /// Since when.
    pub since: u64,
    /// When it was last reported, if it was.
    pub told: Option<u64>,
    /// The identity of the reported one.
    pub gist: String,
}

/// The records of all reported incidents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// When this was written.
    pub at: u64,
    /// When the command was last run, also if it failed.
    pub called: u64,
    /// How many jobs had been refused at the last report.
    pub jobs_refused: Option<u64>,
    /// The incidents that are not over.
    pub incidents: Vec<Remembered>,
}
