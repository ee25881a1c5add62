use super::*;

fn outcome(host: &str, case: Case) -> Outcome {
    let host = HOSTS.iter().find(|known| known.name == host).unwrap();
    let runs: Vec<Outcome> = (0..3).map(|seed| run(host, &case, seed)).collect();
    Outcome::mean(&runs)
}

#[test]
fn a_case_gives_the_same_outcome_each_time() {
    let case = Case { days: 2, ..Case::of(Admission::Forecast) };
    assert_eq!(run(&HOSTS[0], &case, 7), run(&HOSTS[0], &case, 7));
    assert_ne!(run(&HOSTS[0], &case, 7), run(&HOSTS[0], &case, 8));
}

/// What the forecast is there for: at most a fifth of the deaths of the watermarks, as many jobs done, and nobody waits.
#[test]
fn with_a_forecast_a_fifth_of_the_jobs_die_that_die_with_watermarks_and_no_fewer_get_done() {
    for host in ["signoff", "co-located", "web"] {
        let today = outcome(host, Case::of(Admission::Watermarks));
        let forecast = outcome(host, Case::of(Admission::Forecast));
        assert!(today.died_per_1000 > 10.0, "{host}: the watermarks are not put to the test: {today:?}");
        assert!(forecast.died_per_1000 <= today.died_per_1000 / 5.0, "{host}: {today:?} {forecast:?}");
        assert!(forecast.done >= today.done, "{host}: {today:?} {forecast:?}");
        assert_eq!(forecast.wait_minutes, 0.0);
    }
}

#[test]
fn where_two_jobs_do_not_fit_only_refusing_helps() {
    let forecast = Case::of(Admission::Forecast);
    let going_on = outcome("gate", forecast);
    let refusing =
        outcome("gate", Case { wait_at_most: 60, on_short: OnShort::Refuse, sweep_every: 1, ..forecast });
    assert!(going_on.died_per_1000 > 30.0, "{going_on:?}");
    assert!(refusing.died_per_1000 < going_on.died_per_1000 / 5.0, "{refusing:?}");
    assert!(refusing.refused > 0.0);
}
