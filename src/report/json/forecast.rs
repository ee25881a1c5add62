//! `forecast --json`, and the same figures in `status --json`.

use super::{Document, Layout};
use crate::as_json;
use crate::model::{DiskForecast, Forecasting, JobForecast};
use crate::policy::forecast::next_sweep;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, SystemTime};

#[derive(Serialize, JsonSchema)]
pub(super) struct ForecastDoc<'a> {
    #[serde(with = "as_json::Time")]
    time: SystemTime,
    enabled: bool,
    disks: Vec<ForecastDiskDoc<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct ForecastDiskDoc<'a> {
    #[serde(flatten, with = "as_json::AtMount")]
    mount: &'a Path,
    available_bytes: u64,
    lacking_bytes: u64,
    #[serde(flatten)]
    figures: FiguresDoc,
    next_sweep_seconds: u64,
    jobs: &'a [JobForecast],
}

/// Sums of a disk's forecast. `fill_bytes_per_second` is null without enough samples, `seconds_to_full` also while the disk does not fill.
#[derive(Serialize, JsonSchema)]
pub(super) struct FiguresDoc {
    need_bytes: u64,
    expected_bytes: u64,
    reserved_bytes: u64,
    realised_bytes: u64,
    fill_bytes_per_second: Option<f64>,
    seconds_to_full: Option<f64>,
}

impl FiguresDoc {
    pub(super) fn new(disk: &DiskForecast) -> Self {
        Self {
            need_bytes: disk.room.need,
            expected_bytes: disk.room.expected,
            reserved_bytes: disk.reserved_bytes(),
            realised_bytes: disk.realised_bytes(),
            fill_bytes_per_second: disk.trend.map(|trend| trend.bytes_per_second),
            seconds_to_full: disk.trend.map(|trend| trend.seconds_to_full).filter(|time| time.is_finite()),
        }
    }
}

impl<'a> ForecastDiskDoc<'a> {
    fn new(disk: &'a DiskForecast) -> Self {
        let to_full = disk.trend.and_then(|trend| Duration::try_from_secs_f64(trend.seconds_to_full).ok());
        Self {
            mount: &disk.filesystem.mount,
            available_bytes: disk.filesystem.usage.available_bytes,
            lacking_bytes: disk.lacking_bytes(),
            figures: FiguresDoc::new(disk),
            next_sweep_seconds: next_sweep(to_full).as_secs(),
            jobs: &disk.jobs,
        }
    }
}

/// The document for `forecast`.
pub fn forecast(disks: &[DiskForecast], now: SystemTime, forecasting: Forecasting) -> String {
    let disks = disks.iter().map(ForecastDiskDoc::new).collect();
    Document::of(ForecastDoc { time: now, enabled: forecasting == Forecasting::On, disks }, Layout::Pretty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_disk_with_its_jobs() {
        insta::assert_snapshot!(forecast(&[samples::forecast()], samples::now(), Forecasting::On), @r#"
        {
          "schema": 1,
          "time": "2026-03-04T14:25:10Z",
          "enabled": true,
          "disks": [
            {
              "mount": "/home",
              "available_bytes": 22548578304,
              "lacking_bytes": 10737418240,
              "need_bytes": 33285996544,
              "expected_bytes": 23622320128,
              "reserved_bytes": 30064771072,
              "realised_bytes": 6442450944,
              "fill_bytes_per_second": 2000000.0,
              "seconds_to_full": 11000.0,
              "next_sweep_seconds": 900,
              "jobs": [
                {
                  "runner": "runner-1",
                  "repository": "acme/app",
                  "run_id": "77",
                  "job": "build",
                  "reserved_bytes": 21474836480,
                  "realised_bytes": 4294967296,
                  "expected_bytes": 17179869184,
                  "basis": "history"
                },
                {
                  "runner": "x\n::error::y",
                  "repository": "acme/app",
                  "run_id": "77",
                  "job": "test",
                  "reserved_bytes": 8589934592,
                  "realised_bytes": 2147483648,
                  "expected_bytes": 6442450944,
                  "basis": "host",
                  "claimed_bytes": 966367641600
                }
              ]
            }
          ]
        }
        "#);
    }
}
