//! `simulate`: how many jobs would have died, on simulated hosts.

use super::{Context, complain, print, show};
use crate::report::exit::Exit;
use crate::report::{human, json};
use crate::simulate::{Admission, Case, HOSTS, Host, OnShort, Outcome, Sampling, run as simulate};

/// What the command line asks for.
pub(super) struct Wish<'a> {
    pub(super) hosts: &'a [String],
    pub(super) seeds: u64,
    pub(super) days: u32,
    pub(super) sensitivity: bool,
}

/// Simulates every case on every host that is asked for.
pub(super) fn run(context: &Context, wish: &Wish<'_>, as_json: bool) -> Exit {
    let known = || HOSTS.map(|host| host.name).join(", ");
    let mut hosts: Vec<&Host> = HOSTS.iter().collect();
    if let Some(unknown) = wish.hosts.iter().find(|name| !HOSTS.iter().any(|host| host.name == **name)) {
        complain(&format_args!("no host is called {unknown:?}; there are: {}", known()));
        return Exit::Usage;
    }
    hosts.retain(|host| wish.hosts.is_empty() || wish.hosts.iter().any(|name| name == host.name));
    let mut rows = Vec::new();
    for host in hosts {
        for (name, case) in cases(wish.sensitivity) {
            let case = Case { days: wish.days, ..case };
            let runs: Vec<Outcome> = (0..wish.seeds).map(|seed| simulate(host, &case, seed)).collect();
            rows.push((host.name, name, Outcome::mean(&runs)));
        }
    }
    if as_json {
        print(&json::simulation(&rows, wish.seeds, wish.days));
    } else {
        show(&context.screen, &human::simulation(&rows, wish.seeds, wish.days, &context.screen));
    }
    Exit::Done
}

fn cases(with_sensitivity: bool) -> Vec<(&'static str, Case)> {
    let forecast = Case::of(Admission::Forecast);
    let following = Case { sweep_every: 1, ..forecast };
    let refusing = OnShort::Refuse;
    let mut cases = vec![
        ("floor 25 GiB", Case::of(Admission::Floor(25.0))),
        ("watermarks", Case::of(Admission::Watermarks)),
        ("forecast", forecast),
        ("forecast, frequent sweep", following),
        ("forecast, wait 10 min", Case { wait_at_most: 10, ..following }),
        ("forecast, 60 min, else refuse", Case { wait_at_most: 60, on_short: refusing, ..following }),
    ];
    if with_sensitivity {
        cases.extend([
            ("forecast, 20 % unknown", Case { unknown: 0.2, ..forecast }),
            ("forecast, 50 % unknown", Case { unknown: 0.5, ..forecast }),
            ("forecast, 20 % too low", Case { bias: 0.8, ..forecast }),
            ("forecast, siblings by sweep", Case { sampling: Sampling::BySweep, ..forecast }),
            ("forecast, two disks", Case { disks: 2, ..forecast }),
            ("watermarks, two disks", Case { disks: 2, ..Case::of(Admission::Watermarks) }),
        ]);
    }
    cases
}
