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

/// What an expectation rests on, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Basis {
    /// Earlier runs of the job on its runner.
    History,
    /// The largest share that its repository has on any runner of the host.
    Repository,
    /// Other jobs of the host.
    Host,
    /// Nothing: the configured size.
    Unknown,
}

impl Basis {
    /// For JSON and leases.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What a started-hook expects its job to take: it stands in the job's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// What its repository is expected to hold on its runner at the job's end, in bytes.
    pub bytes: u64,
    /// The standard deviation of that, in bytes.
    pub deviation: u64,
    /// What it rests on.
    pub basis: Basis,
    /// The directory below the work directory that the job uses, as far as its environment can be believed.
    pub directory: Option<PathBuf>,
}

/// Bytes that have to be available so that live jobs end well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// What suffices in 95 of 100 cases.
    pub need: u64,
    /// What is expected.
    pub expected: u64,
}

/// One live job's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JobForecast {
    /// Its runner's name.
    pub runner: String,
    /// Which.
    #[serde(flatten)]
    pub job: Job,
    /// What its repository is expected to hold at its end.
    pub reserved_bytes: u64,
    /// What it holds now.
    pub realised_bytes: u64,
    /// What it is expected to add.
    pub expected_bytes: u64,
    /// What that rests on.
    pub basis: Basis,
    /// What its lease says instead, where that is more than is believed of one job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_bytes: Option<u64>,
}

/// What is expected of one filesystem with work directories.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskForecast {
    /// Which, and how full it is.
    pub filesystem: Filesystem,
    /// What has to be available.
    pub room: Room,
    /// Its live jobs, those first that are expected to add the most.
    pub jobs: Vec<JobForecast>,
    /// How fast it fills, where that is known.
    pub trend: Option<Trend>,
}

impl DiskForecast {
    /// What live jobs are expected to hold at their ends.
    pub fn reserved_bytes(&self) -> u64 {
        self.jobs.iter().fold(0, |sum, job| sum.saturating_add(job.reserved_bytes))
    }

    /// What they hold now.
    pub fn realised_bytes(&self) -> u64 {
        self.jobs.iter().fold(0, |sum, job| sum.saturating_add(job.realised_bytes))
    }

    /// What has to be available and is not.
    pub fn lacking_bytes(&self) -> u64 {
        self.room.need.saturating_sub(self.filesystem.usage.available_bytes)
    }
}

named!(Basis);
