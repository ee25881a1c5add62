//! The table of `disk-guard simulate`: every case on every host, as a mean over several seeds.

use super::{Admission, HOSTS, OnShortage, Sampling, SimulatedHost, SimulationCase, SimulationOutcome, run};

/// Whether the table includes cases with less history or another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sensitivity {
    /// It includes them.
    Shown,
    /// It does not include them.
    Left,
}

/// A line of the table.
pub type TableRow = (&'static str, &'static str, SimulationOutcome);

/// The table for the hosts of these names, or for all hosts if none is named: each case for this many days from each seed.
///
/// # Errors
/// A name that no host has, and a sentence with the existing names.
pub fn table(
    names: &[String],
    seeds: u64,
    days: u32,
    sensitivity: Sensitivity,
) -> Result<Vec<TableRow>, UnknownHost> {
    if let Some(unknown) = names.iter().find(|name| !HOSTS.iter().any(|host| host.name == **name)) {
        return Err(UnknownHost { name: unknown.clone() });
    }
    let is_wanted = |host: &&SimulatedHost| names.is_empty() || names.iter().any(|name| name == host.name);
    let mut rows = Vec::new();
    for host in HOSTS.iter().filter(is_wanted) {
        for (name, case) in cases(sensitivity) {
            let case = SimulationCase { days, ..case };
            let runs: Vec<SimulationOutcome> = (0..seeds).map(|seed| run(host, &case, seed)).collect();
            rows.push((host.name, name, SimulationOutcome::mean(&runs)));
        }
    }
    Ok(rows)
}

/// A name that no simulated host has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no host is called {name:?}; there are: {}", HOSTS.map(|host| host.name).join(", "))]
pub struct UnknownHost {
    name: String,
}

/// Every compared way of freeing space, by its name.
fn cases(sensitivity: Sensitivity) -> Vec<(&'static str, SimulationCase)> {
    let forecast = SimulationCase::of(Admission::Forecast);
    let following = SimulationCase { sweep_every: 1, ..forecast };
    let refusing = OnShortage::Refuse;
    let mut cases = vec![
        ("floor 25 GiB", SimulationCase::of(Admission::Floor(25.0))),
        ("watermarks", SimulationCase::of(Admission::Watermarks)),
        ("forecast", forecast),
        ("forecast, frequent sweep", following),
        ("forecast, wait 10 min", SimulationCase { wait_at_most: 10, ..following }),
        (
            "forecast, 60 min, else refuse",
            SimulationCase { wait_at_most: 60, on_short: refusing, ..following },
        ),
    ];
    if sensitivity == Sensitivity::Shown {
        cases.extend([
            ("forecast, 20 % unknown", SimulationCase { unknown: 0.2, ..forecast }),
            ("forecast, 50 % unknown", SimulationCase { unknown: 0.5, ..forecast }),
            ("forecast, 20 % too low", SimulationCase { bias: 0.8, ..forecast }),
            ("forecast, siblings by sweep", SimulationCase { sampling: Sampling::BySweep, ..forecast }),
            ("forecast, two disks", SimulationCase { disks: 2, ..forecast }),
            (
                "watermarks, two disks",
                SimulationCase { disks: 2, ..SimulationCase::of(Admission::Watermarks) },
            ),
        ]);
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_case_of_the_hosts_that_are_named_and_refuses_other_names() {
        let rows = table(&["web".into()], 1, 1, Sensitivity::Left).unwrap();
        assert!(rows.iter().all(|(host, ..)| *host == "web"));
        assert_eq!(rows.len(), 6);
        let all = table(&[], 1, 1, Sensitivity::Shown).unwrap();
        assert_eq!(all.len(), HOSTS.len() * 12);
        assert_eq!(
            all.iter().find(|row| row.0 == "web" && row.1 == rows[1].1),
            Some(&rows[1]),
            "by its seed alone"
        );
        let error = table(&["nowhere".into()], 1, 1, Sensitivity::Left).unwrap_err().to_string();
        assert!(error.contains("\"nowhere\"") && error.contains("web"), "{error}");
    }
}
