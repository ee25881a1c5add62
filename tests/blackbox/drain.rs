//! `drain` and `resume`: a running job finishes, no other begins, and nobody else's unit is touched.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::{Host, Systemd, needs_root};

fn host() -> (Host, Systemd) {
    let mut host = Host::new();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    let systemd = Systemd::on(&mut host);
    (host, systemd)
}

fn drained(host: &Host) -> usize {
    std::fs::read_dir(host.state_dir().join("drained")).map_or(0, Iterator::count)
}

#[test]
fn an_idle_runner_is_stopped_at_once_and_comes_back() {
    if !needs_root("units are root's") {
        return;
    }
    let (host, systemd) = host();
    let runner = host.runner("actions-runner-1").build();
    let unit = systemd.unit_of(&runner);
    let _listener = runner.listen();
    host.guard(&["drain", &runner.name]).expect_code(&[0]);
    assert_eq!((systemd.orders(), drained(&host)), (vec![format!("systemctl stop -- {unit}")], 1));
    host.sweep();
    assert!(systemd.orders().is_empty(), "it is stopped already");
    let status = host.guard(&["doctor", "--json"]).stdout();
    assert!(status.contains("disk-guard resume actions-runner-1"), "{status}");
    host.guard(&["resume", &runner.name]).expect_code(&[0]);
    assert_eq!((systemd.orders(), drained(&host)), (vec![format!("systemctl start -- {unit}")], 0));
    let again = host.guard(&["resume", &runner.name]).expect_code(&[0]);
    assert!(again.stdout().contains("was not drained"), "{}", again.stdout());
    assert!(systemd.orders().is_empty());
    // By its unit, as people know it from systemctl.
    for name in [unit.as_str(), unit.trim_end_matches(".service")] {
        host.guard(&["drain", name]).expect_code(&[0]);
        assert_eq!(systemd.orders(), [format!("systemctl stop -- {unit}")], "{name}");
        host.guard(&["resume", name]).expect_code(&[0]);
        systemd.orders();
    }
    host.guard(&["drain", "actions.runner.acme.nobody.service"]).expect_code(&[1]);
}

#[test]
fn a_busy_runner_finishes_its_job_first() {
    if !needs_root("units are root's") {
        return;
    }
    let (host, systemd) = host();
    let runner = host.runner("actions-runner-1").build();
    let unit = systemd.unit_of(&runner);
    let mut listener = runner.listen();
    let mut job = listener.begin_job("acme/app");
    job.hook_started().expect_ok();
    let said = host.guard(&["drain", &runner.name]).expect_code(&[0]).stdout();
    assert!(said.contains("marked") && said.contains("busy"), "{said}");
    host.sweep();
    assert!(systemd.orders().is_empty(), "its job goes on");
    let requests = || std::fs::read_dir(host.run_dir().join("requests")).map_or(0, Iterator::count);
    assert_eq!(requests(), 0);
    job.hook_completed().expect_ok();
    assert_eq!(requests(), 1, "its completed-hook asks for the sweep that stops it");
    job.finish(&mut listener);
    host.sweep();
    assert_eq!(systemd.orders(), [format!("systemctl stop -- {unit}")]);
    assert_eq!(systemd.state(&unit), "inactive");
    // The host boots and starts the unit again: the mark holds.
    systemd.unit_of(&runner);
    host.sweep();
    assert_eq!(systemd.orders(), [format!("systemctl stop -- {unit}")]);
}

#[test]
fn a_unit_that_hangs_while_stopping_is_reported_once_and_keeps_its_mark() {
    if !needs_root("units are root's") {
        return;
    }
    let (host, systemd) = host();
    let runner = host.runner("actions-runner-1").build();
    let unit = systemd.unit_of(&runner);
    systemd.hangs();
    let said = host.guard(&["drain", &runner.name]).expect_code(&[0]).stdout();
    assert!(said.contains("has not ended yet") && said.contains("TimeoutStopSec"), "{said}");
    assert_eq!((systemd.orders(), drained(&host)), (vec![format!("systemctl stop -- {unit}")], 1));
    host.sweep();
    let again = host.guard(&["drain", &runner.name]).expect_code(&[0]).stdout();
    assert!(again.contains("has not ended yet"), "{again}");
    assert!(systemd.orders().is_empty(), "nobody waits for it again");
    std::fs::remove_file(systemd.directory.join("hangs")).expect("it is there");
    let said = host.guard(&["resume", &runner.name]).expect_code(&[0]).stdout();
    assert!(said.contains("still stopping"), "{said}");
    assert_eq!(
        (systemd.orders(), drained(&host)),
        (vec![format!("systemctl start --no-block -- {unit}")], 0)
    );
}

#[test]
fn a_unit_of_another_runner_is_never_touched() {
    if !needs_root("units are root's") {
        return;
    }
    let (host, systemd) = host();
    let victim = host.runner("actions-runner-1").build();
    let unit = systemd.unit_of(&victim);
    let forger = host.runner("actions-runner-2").build();
    systemd.unit("sshd.service", &forger.root);
    for (service, reason) in [
        (Some(unit.as_str()), "does not work in this root"),
        (Some("sshd.service"), "no runner's unit"),
        (Some("actions.runner.none.none.service"), "does not exist"),
        (None, "not run by systemd"),
    ] {
        let file = forger.root.join(".service");
        let _ = std::fs::remove_file(&file);
        if let Some(service) = service {
            std::fs::write(&file, service).expect("a .service");
        }
        let refused = host.guard(&["drain", &forger.name]).expect_code(&[1]).stderr();
        assert!(refused.contains(reason) && refused.contains("nothing was done"), "{refused}");
    }
    assert!(host.guard(&["drain", "nobody"]).expect_code(&[1]).stderr().contains("there is no runner"));
    assert_eq!((systemd.orders().len(), drained(&host)), (0, 0));
    host.guard(&["drain", &victim.name]).expect_code(&[0]);
    assert_eq!(systemd.orders().len(), 1, "the positive control");
}

#[test]
fn above_critical_runners_are_drained_when_configured_and_resumed_at_low() {
    if !needs_root("units are root's") {
        return;
    }
    let (mut host, systemd) = host();
    let [one, hand] = ["actions-runner-1", "actions-runner-2"].map(|name| host.runner(name).build());
    let units = [&one, &hand].map(|runner| systemd.unit_of(runner));
    host.guard(&["drain", &hand.name]).expect_code(&[0]);
    systemd.orders();
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (1, 0, 1));
    host.sweep();
    assert!(systemd.orders().is_empty(), "not unless it is asked for");
    host.configure(|settings| settings.extra += "[drain]\nauto = true\n");
    host.sweep();
    assert_eq!(systemd.orders(), [format!("systemctl stop -- {}", units[0])]);
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 0, 100));
    host.sweep();
    assert!(systemd.orders().is_empty(), "not before low is reached");
    host.configure(|settings| (settings.high, settings.low, settings.critical) = (100, 99, 100));
    host.sweep();
    assert_eq!(systemd.orders(), [format!("systemctl start -- {}", units[0])]);
    assert_eq!(drained(&host), 1, "what a person took out stays out");
}

#[test]
fn without_systemd_nothing_is_done() {
    let mut host = Host::new();
    let empty = host.base.join("sbin");
    host.configure(|settings| settings.extra = format!("programs = [{empty:?}]\n"));
    let runner = host.runner("actions-runner-1").build();
    let refused = host.guard(&["drain", &runner.name]).expect_code(&[1]).stderr();
    assert!(refused.contains("no systemctl") && refused.contains("nothing was done"), "{refused}");
    assert_eq!(drained(&host), 0);
}
