use super::workload::kind;
use super::*;

fn outcome(host: &str, case: SimulationCase) -> SimulationOutcome {
    let host = HOSTS.iter().find(|known| known.name == host).unwrap();
    let runs: Vec<SimulationOutcome> = (0..3).map(|seed| run(host, &case, seed)).collect();
    SimulationOutcome::mean(&runs)
}

#[test]
fn a_case_gives_the_same_outcome_each_time() {
    let case = SimulationCase { days: 2, ..SimulationCase::of(Admission::Forecast) };
    assert_eq!(run(&HOSTS[0], &case, 7), run(&HOSTS[0], &case, 7));
    assert_ne!(run(&HOSTS[0], &case, 7), run(&HOSTS[0], &case, 8));
}

/// The purpose of the forecast: at most a fifth of the deaths of the watermarks, as many completed jobs, and no waiting.
#[test]
fn with_a_forecast_a_fifth_of_the_jobs_die_that_die_with_watermarks_and_no_fewer_get_done() {
    for host in ["signoff", "co-located", "web"] {
        let today = outcome(host, SimulationCase::of(Admission::Watermarks));
        let forecast = outcome(host, SimulationCase::of(Admission::Forecast));
        assert!(today.died_per_1000 > 10.0, "{host}: the watermarks are not put to the test: {today:?}");
        assert!(forecast.died_per_1000 <= today.died_per_1000 / 5.0, "{host}: {today:?} {forecast:?}");
        assert!(forecast.done >= today.done, "{host}: {today:?} {forecast:?}");
        assert_eq!(forecast.wait_minutes, 0.0);
    }
}

/// The host of tests/deaths.rs, with a GiB for each of its MiB and a minute for each of its steps: the jobs of eight runners come as
/// fast as they can be taken, and hardly fit. A single seed says little there, so the deaths of many are added up.
fn tight(disk: f64, case: SimulationCase) -> f64 {
    let kinds = || {
        let kinds = [(60.0, 3.0), (30.0, 3.0), (45.0, 2.0), (85.0, 1.0), (15.0, 2.0), (40.0, 2.0)];
        kinds.map(|(gib, weight)| kind(&format!("{gib}"), [gib, 0.15, 0.0, gib / 4.0, weight])).to_vec()
    };
    let host = SimulatedHost { name: "tight", disk, other: 80.0, runners: 8, load: 2.0, kinds };
    (0..30).map(|seed| run(&host, &SimulationCase { days: 1, ..case }, seed).died).sum()
}

#[test]
fn where_jobs_hardly_fit_more_sweeps_cost_no_job_its_life() {
    for disk in [460.0, 475.0, 500.0] {
        let died = |admission, sweep_every| {
            tight(disk, SimulationCase { sweep_every, ..SimulationCase::of(admission) })
        };
        let [rarely, often] = [60, 20].map(|every| died(Admission::Forecast, every));
        let watermarks = died(Admission::Watermarks, 60);
        // All that may go goes before each job: more than that nobody can do who lets all jobs begin.
        let everything = died(Admission::Floor(disk), 60);
        println!(
            "{disk} GiB: watermarks {watermarks}, forecast {rarely}, with more sweeps {often}, without caches {everything}"
        );
        assert!(watermarks > 1000.0, "the watermarks are not put to the test: {watermarks}");
        assert!(rarely <= everything * 1.25, "{disk}: {rarely}, {everything} where no idle cache is kept");
        // More than the seeds' spread of such a sum would be a cause.
        assert!(
            often <= rarely * 1.1,
            "{disk}: {often} with a sweep each 20 minutes, {rarely} with one each 60"
        );
        assert!(often <= watermarks / 5.0, "{disk}: {often} {watermarks}");
        assert!(rarely <= watermarks / 5.0, "{disk}: {rarely} {watermarks}");
    }
}

#[test]
fn where_two_jobs_do_not_fit_only_refusing_helps() {
    let forecast = SimulationCase::of(Admission::Forecast);
    let going_on = outcome("gate", forecast);
    let refusing = outcome(
        "gate",
        SimulationCase { wait_at_most: 60, on_short: OnShortage::Refuse, sweep_every: 1, ..forecast },
    );
    assert!(going_on.died_per_1000 > 30.0, "{going_on:?}");
    assert!(refusing.died_per_1000 < going_on.died_per_1000 / 5.0, "{refusing:?}");
    assert!(refusing.refused > 0.0);
}
