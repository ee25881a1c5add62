//! What jobs are expected to take of a disk, and what is held free for them.

use super::metrics::Trend;
use super::{Filesystem, Job};
use crate::as_json::named;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;
use strum::{EnumString, IntoStaticStr};

/// `forecast.enabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forecasting {
    /// Room is made for what live jobs are expected to need.
    On,
    /// The watermarks alone decide.
    Off,
}

/// The basis of an estimate, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Basis {
    /// Earlier runs of the job on its runner.
    History,
    /// The largest share that its repository has on any runner of the host.
    Repository,
    /// Other jobs of the host.
    Host,
    /// No data: the configured size.
    Unknown,
}

impl Basis {
    /// For JSON and leases.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The space that a started-hook expects its job to use, recorded in the job's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The expected size of its repository on its runner at the job's end, in bytes.
    pub bytes: u64,
    /// The standard deviation of that, in bytes.
    pub deviation: u64,
    /// The basis of the estimate.
    pub basis: Basis,
    /// The job's directory below the work directory, according to its environment.
    pub directory: Option<PathBuf>,
}

/// Bytes that have to be available for live jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Enough in 95 of 100 cases.
    pub need: u64,
    /// The expected value.
    pub expected: u64,
}

/// The forecast for one live job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JobForecast {
    /// Its runner's name.
    pub runner: String,
    /// The job.
    #[serde(flatten)]
    pub job: Job,
    /// The expected size of its repository at its end.
    pub reserved_bytes: u64,
    /// The present size of its repository.
    pub realised_bytes: u64,
    /// The expected growth.
    pub expected_bytes: u64,
    /// The basis of the estimate.
    pub basis: Basis,
    /// The value in its lease, if it exceeds the limit for one job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_bytes: Option<u64>,
}

/// The forecast for one filesystem with work directories.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskForecast {
    /// The filesystem and its usage.
    pub filesystem: Filesystem,
    /// The bytes that have to be available.
    pub room: Room,
    /// Its live jobs, in the order of their expected growth, the largest first.
    pub jobs: Vec<JobForecast>,
    /// How fast it fills, if known.
    pub trend: Option<Trend>,
}

impl DiskForecast {
    /// The expected size of all live jobs at their ends.
    pub fn reserved_bytes(&self) -> u64 {
        self.jobs.iter().fold(0, |sum, job| sum.saturating_add(job.reserved_bytes))
    }

    /// Their present size.
    pub fn realised_bytes(&self) -> u64 {
        self.jobs.iter().fold(0, |sum, job| sum.saturating_add(job.realised_bytes))
    }

    /// The bytes that have to be available and are not.
    pub fn lacking_bytes(&self) -> u64 {
        self.room.need.saturating_sub(self.filesystem.usage.available_bytes)
    }
}

named!(Basis);
