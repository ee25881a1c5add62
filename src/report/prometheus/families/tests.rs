use super::*;
use crate::model::metrics::{SweepEnd, Tally};
use crate::report::samples;
use std::collections::HashSet;

fn shown() -> String {
    let mut tally = Tally {
        timings: vec![(Timing::HookStarted, 1500), (Timing::LockShared, 40)],
        sweep: Some(SweepEnd {
            at: 1_772_634_300,
            took: 2_500_000,
            success: true,
            goal_met: false,
            wider_contamination: false,
        }),
        ..Tally::default()
    };
    tally.count(Counter::Actions, &["removed"], 2);
    tally.count(Counter::Reclaimed, &["runner-2", "cargo-target", "pressure"], 5 * samples::GIB);
    let mut totals = Totals::default();
    totals.add(&tally);
    let status = HostStatus {
        forecasts: vec![samples::forecast()],
        reap: Some(samples::reap_record()),
        ..samples::host()
    };
    host(
        &status,
        Some(&totals),
        &BTreeMap::from([("/home".to_owned(), Trend { bytes_per_second: 1024.5, seconds_to_full: 3600.0 })]),
    )
}

#[test]
fn every_family_of_the_contract_is_there() {
    let text = shown();
    for line in [
        "disk_guard_filesystem_used_ratio{mountpoint=\"/home\"} 0.",
        "disk_guard_filesystem_inodes_free_ratio{mountpoint=\"/home\"} 0.88\n",
        "disk_guard_filesystem_fill_bytes_per_second{mountpoint=\"/home\"} 1024.5\n",
        "disk_guard_filesystem_seconds_to_full{mountpoint=\"/home\"} 3600\n",
        "disk_guard_runner_state{runner=\"runner-1\",state=\"busy\"} 1\n",
        "disk_guard_runner_state{runner=\"runner-1\",state=\"idle\"} 0\n",
        "disk_guard_cache_bytes{runner=\"runner-2\",rule=\"cargo-target\"} ",
        "disk_guard_trash_bytes ",
        "disk_guard_reclaimed_bytes_total{runner=\"runner-2\",rule=\"cargo-target\",reason=\"pressure\"} 5368709120\n",
        "disk_guard_actions_total{outcome=\"removed\"} 2\n",
        "disk_guard_actions_total{outcome=\"kept\"} 0\n",
        "disk_guard_refusals_total{evidence=\"lease\"} 0\n",
        "disk_guard_lock_wait_seconds_bucket{mode=\"shared\",le=\"0.001\"} 1\n",
        "disk_guard_hook_duration_seconds_sum{hook=\"started\"} 0.0015\n",
        "disk_guard_last_sweep_timestamp_seconds 1772634300\n",
        "disk_guard_filesystem_need_bytes{mountpoint=\"/home\"} 33285996544\n",
        "disk_guard_filesystem_reserved_bytes{mountpoint=\"/home\"} 30064771072\n",
        "disk_guard_last_sweep_success 1\n",
        "disk_guard_last_sweep_goal_met 0\n",
        "disk_guard_last_sweep_wider_contamination 0\n",
        "disk_guard_root_matches{root=",
        "disk_guard_reaped_total{kind=\"tart\"} 1\n",
        "disk_guard_reap_failures_total{kind=\"tart\"} 2\n",
        "disk_guard_leaked{kind=\"tart\"} ",
        "disk_guard_runner_drained{runner=\"runner-1\"} 0\n",
        "disk_guard_runner_drained{runner=\"runner-2\"} 1\n",
        "disk_guard_limit_used_ratio{resource=\"files\",subject=\"\"} 0.98\n",
        "disk_guard_held_bytes{kind=\"deleted-files\"} 15032385536\n",
        "disk_guard_runner_memory_peak_bytes{runner=\"runner-1\"} 7516192768\n",
        "disk_guard_runner_oom_kills{runner=\"runner-1\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    assert!(text.ends_with('\n'));
}

#[test]
fn no_series_is_there_twice_and_every_one_has_help_and_type() {
    let text = shown();
    let series: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.rsplit_once(' ')?.0))
        .collect();
    assert_eq!(series.iter().collect::<HashSet<_>>().len(), series.len(), "{text}");
    let described: HashSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for series in series {
        let name = series.split('{').next().unwrap_or_default();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().filter_map(|end| name.strip_suffix(end));
        assert!(std::iter::once(name).chain(of_histogram).any(|name| described.contains(name)), "{series}");
    }
}

/// Two runners that share a name, and a third with the name by which they are distinguished.
#[test]
fn runners_of_equal_names_get_distinct_labels_or_one_sum() {
    let mut status = samples::host();
    let mut twin = status.runners[0].clone();
    twin.runner.root = "/srv/twin".into();
    let mut third = twin.clone();
    third.runner.name = format!("{} in /srv/twin", twin.runner.name);
    third.runner.root = "/srv/third".into();
    status.runners.extend([twin, third]);
    let text = host(&status, Some(&Totals::default()), &BTreeMap::new());
    assert!(
        text.contains("runner_state{runner=\"runner-1 in /home/ci/runner-1\",state=\"busy\"} 1\n"),
        "{text}"
    );
    assert!(text.contains("runner_state{runner=\"runner-1 in /srv/twin\",state=\"busy\"} 2\n"), "{text}");
}

#[test]
fn unknown_values_are_left_out() {
    let text = host(&samples::host(), Some(&Totals::default()), &BTreeMap::new());
    for absent in ["last_sweep", "fill_bytes", "seconds_to_full", "reclaimed_bytes_total{"] {
        assert!(!text.contains(absent), "{absent}:\n{text}");
    }
}
