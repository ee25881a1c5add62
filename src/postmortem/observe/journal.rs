//! The journal's lines about the host's services and people: daemons that kill for lack of memory, systemd itself, container runtimes and
//! the kubelet, commands run by sudo, and the output of the runner's unit.
//!
//! The journal is asked for everything of the minutes around a death, so that entries count whether or not they carry a unit's name (a
//! process may be gone before journald has looked it up); if that is too much, for the services by name. An entry counts when it names the
//! Worker's pid, the runner's unit, or the runner. Any process can write into the journal and call itself `earlyoom`: the fields that
//! journald fills in show whether root or the service itself wrote an entry.

use super::logs::{complaint, cut};
use crate::actions_runner::{layout, unit};
use crate::model::ledger::Window;
use crate::model::postmortem::{HostDeed, HostLine, HostLog};
use crate::sys::journalctl;
use crate::sys::program::{Bounds, ProgramEnd, ProgramError, Programs};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One question to journalctl.
const BOUNDS: Bounds = Bounds::new(Duration::from_secs(15), 4 << 20);

/// The maximum of relevant lines; older ones are dropped.
const MAX_LINES: usize = 64;

/// Fields that are looked at (systemd.journal-fields(7)).
const FIELDS: &str =
    "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM,_EXE,_UID,_SYSTEMD_UNIT,UNIT,_TRANSPORT";

/// Services that end processes of others, by the names of their programs and units.
const SERVICES: [&str; 14] = [
    "earlyoom",
    "nohang",
    "systemd-oomd",
    "oomd",
    "systemd",
    "systemd-logind",
    "containerd",
    "kubelet",
    "k3s",
    "docker",
    "dockerd",
    "podman",
    "crio",
    "sudo",
];

/// What an entry must name.
#[derive(Debug, Clone, Default)]
pub struct Whom<'a> {
    /// The Worker's pid.
    pub worker: Option<i32>,
    /// The runner's unit.
    pub unit: Option<&'a str>,
    /// The groups that the runner's processes are or were in.
    pub groups: Vec<&'a str>,
    /// The runner's name.
    pub runner: &'a str,
}

/// What the journal has of `window`.
///
/// # Errors
/// `journalctl` cannot be run, or fails.
pub fn read(programs: Programs<'_>, window: Window, whom: &Whom<'_>) -> Result<HostLog, ProgramError> {
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (since, until) = (
        format!("--since=@{}", seconds(window.from)),
        // The second that it ends in belongs to it.
        format!("--until=@{}", seconds(window.to) + 1),
    );
    let ask = |more: &[&str]| {
        let fixed = ["--no-pager", "--quiet", "-o", "json", FIELDS];
        let run = programs.run("journalctl", &[&fixed, more].concat(), BOUNDS);
        let run = run.and_then(|run| match run.end {
            ProgramEnd::TooLong => Ok(run),
            ProgramEnd::Itself(_) if !run.output.is_empty() => Ok(run),
            _ => run.success(),
        });
        run.map(|run| (run.text(), run.end == ProgramEnd::TooLong))
    };
    let (mut answer, mut is_cut) = ask(&[&since, &until])?;
    if is_cut {
        let matches = matches(whom.unit);
        let words: Vec<&str> =
            [since.as_str(), until.as_str()].into_iter().chain(matches.iter().map(String::as_str)).collect();
        (answer, is_cut) = ask(&words)?;
    }
    let mut lines: Vec<HostLine> = answer.lines().filter_map(|text| entry(text, whom)).collect();
    lines.retain(|line| window.holds(line.at));
    lines.drain(..lines.len().saturating_sub(MAX_LINES));
    let (before, _) = ask(&[&format!("--until=@{}", seconds(window.from)), "--reverse", "--lines=1"])?;
    let is_whole = !is_cut && !before.trim().is_empty();
    let is_complete = is_whole
        && programs.find("journalctl").is_ok_and(|path| journalctl::shows_everybody(&path, BOUNDS.time));
    Ok(HostLog { is_complete, lines })
}

/// The services and the unit by name: alternatives of one field are joined by themselves, those of several by `+`
/// (journalctl(1)).
fn matches(unit: Option<&str>) -> Vec<String> {
    let mut words: Vec<String> = SERVICES.iter().map(|name| format!("SYSLOG_IDENTIFIER={name}")).collect();
    words.push("+".to_owned());
    words.extend(SERVICES.iter().map(|name| format!("_COMM={name}")));
    words.push("+".to_owned());
    words.extend(SERVICES.iter().map(|name| format!("_SYSTEMD_UNIT={name}.service")));
    if let Some(unit) = unit {
        for field in ["UNIT", "_SYSTEMD_UNIT"] {
            words.extend(["+".to_owned(), format!("{field}={unit}")]);
        }
    }
    words
}

/// An entry of `journalctl -o json`, if it is relevant for `whom`.
pub(crate) fn entry(text: &str, whom: &Whom<'_>) -> Option<HostLine> {
    let entry: Value = serde_json::from_str(text).ok()?;
    let field = |name: &str| entry[name].as_str().unwrap_or_default();
    if field("_TRANSPORT") == "kernel" {
        return None;
    }
    let at = UNIX_EPOCH + Duration::from_micros(field("__REALTIME_TIMESTAMP").parse().ok()?);
    let message = super::kernel::message_of(&entry)?;
    let (identifier, comm, of_unit) = (field("SYSLOG_IDENTIFIER"), field("_COMM"), field("_SYSTEMD_UNIT"));
    let service = service(identifier)
        .or_else(|| service(comm))
        .or_else(|| service(of_unit.trim_end_matches(".service")));
    let names = service.into_iter().chain([identifier, comm, of_unit]);
    let source = names.into_iter().find(|name| !name.is_empty()).unwrap_or("journal");
    let mut is_about = true;
    let deed = if whom.unit.is_some_and(|unit| unit == of_unit) {
        of_the_unit(&message)
    } else if matches!(service, Some("systemd-oomd" | "oomd")) {
        let group = group_killed(&message).and_then(|group| concerns(group, whom));
        is_about = group == Some(Concerns::Surely);
        group.map(|_| HostDeed::MemoryKill)
    } else {
        service.and_then(|service| deed(service, &message, field("UNIT"), whom))
    };
    // Fields that begin with `_` are journald's own. Without them the writer is unknown.
    let by_service = service.is_some_and(|service| of_unit.trim_end_matches(".service") == service);
    // sudo writes with its caller's uid.
    let by_program = service.is_some_and(|service| is_program(field("_EXE"), service));
    let is_trusted =
        field("_UID") == "0" || by_service || by_program || whom.unit.is_some_and(|unit| unit == of_unit);
    let is_trusted = is_trusted && is_about;
    Some(HostLine { at, source: cut(source), deed: deed?, is_trusted, text: cut(&message) })
}

fn service(name: &str) -> Option<&'static str> {
    SERVICES.iter().copied().find(|service| *service == name)
}

/// Whether a path is that of a service's program, where only root installs programs.
fn is_program(path: &str, service: &str) -> bool {
    let is_system = ["/usr/bin/", "/usr/sbin/", "/usr/lib/", "/bin/", "/sbin/", "/lib/"];
    is_system.iter().any(|place| path.starts_with(place))
        && !path.contains("/../")
        && path.rsplit('/').next() == Some(service)
}

/// The output of the runner's unit: the last lines of the Listener and of RunnerService.js, and those that could not be logged.
fn of_the_unit(message: &str) -> Option<HostDeed> {
    // A job's display name is printed as well (src/Runner.Listener/JobDispatcher.cs).
    if message.contains("Running job: ") || message.contains(" completed with result: ") {
        return None;
    }
    let is_exception = message.contains("Exception: ") || message.contains(layout::DIAG);
    let complaint = complaint(message).filter(|_| is_exception)?;
    Some(HostDeed::Complaint(complaint))
}

fn deed(service: &str, message: &str, unit: &str, whom: &Whom<'_>) -> Option<HostDeed> {
    let names_unit = |text: &str| whom.unit.is_some_and(|unit| has_word(text, unit));
    let names_worker = |text: &str| whom.worker.is_some_and(|pid| has_word(text, &pid.to_string()));
    let has_any = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match service {
        // `sending SIGTERM to process 565 uid 1000 "Runner.Worker": badness ...` (earlyoom, kill.c)
        "earlyoom" => (has_any(&["SIGTERM", "SIGKILL", "illing"]) && names_worker(message))
            .then_some(HostDeed::MemoryKill),
        // The victim has a line of its own: `  PID:       565`.
        "nohang" => (has_any(&["SIGTERM", "SIGKILL", "illing", "PID: "]) && names_worker(message))
            .then_some(HostDeed::MemoryKill),
        "systemd" => systemd(message, (Some(unit) == whom.unit && !unit.is_empty()) || names_unit(message)),
        "systemd-logind" => has_any(&[
            "System is rebooting",
            "System is powering down",
            "System is halting",
            "The system will reboot",
            "The system will power off",
        ])
        .then_some(HostDeed::GoingDown),
        "containerd" | "kubelet" | "k3s" | "docker" | "dockerd" | "podman" | "crio" => {
            let is_about = has_word(message, whom.runner) || names_unit(message);
            let words =
                ["Evict", "evict", "Kill", "kill", "StopContainer", "exit event", "SIGKILL", "delete"];
            // Of its own container's end many entries tell, whatever the reason: only a kill is one.
            let kills = ["Kill", "kill", "failed to exit", "SIGKILL", "StopContainer"];
            if names_own_container(message, whom) && has_any(&kills) {
                return Some(if has_any(&["OOM", "oom-kill"]) {
                    HostDeed::MemoryKill
                } else {
                    HostDeed::ContainerEnd
                });
            }
            match is_about && !whom.runner.is_empty() {
                true if has_any(&["OOM", "oom-kill"]) => Some(HostDeed::MemoryKill),
                true if has_any(&words) => Some(HostDeed::ContainerEnd),
                _ => None,
            }
        }
        // `ci : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/kill -9 565` (sudo)
        "sudo" => {
            let (_, command) = message.split_once("COMMAND=")?;
            let program = command.split(' ').next()?.rsplit('/').next()?;
            let is_order = match program {
                "kill" => names_worker(command),
                "pkill" | "killall" => command.contains("Runner") || command.contains("runner"),
                "systemctl" | "service" => names_unit(command),
                "svc.sh" => true,
                "reboot" | "shutdown" | "poweroff" | "halt" => return Some(HostDeed::GoingDown),
                "docker" | "podman" | "kubectl" | "crictl" => {
                    has_word(command, whom.runner) && !whom.runner.is_empty()
                }
                _ => false,
            };
            is_order.then_some(HostDeed::Order)
        }
        _ => None,
    }
}

/// Whether a message names the container that the runner is in, by the beginning of its id: `docker-ID.scope` and `/docker/ID` are groups.
fn names_own_container(message: &str, whom: &Whom<'_>) -> bool {
    let words = whom.groups.iter().flat_map(|group| group.split(['/', '-', '.', ':']));
    let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    words.filter(is_id).any(|id| message.contains(&id[..12]))
}

/// The group of `Killed /system.slice/NAME due to memory pressure for ...` (src/oom/oomd-manager.c).
fn group_killed(message: &str) -> Option<&str> {
    let (group, _) = message.split_once("Killed ")?.1.split_once(" due to ")?;
    group.starts_with('/').then_some(group)
}

/// Whether what happened to a group happened to the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concerns {
    Surely,
    /// The runner has no unit, so that the group it was in is not known any more.
    Perhaps,
}

fn concerns(group: &str, whom: &Whom<'_>) -> Option<Concerns> {
    let path = Path::new(group);
    let has_part = |wanted: &dyn Fn(&str) -> bool| group.split('/').any(wanted);
    let is_own = |own: &&str| *own != "/" && (Path::new(own).starts_with(path) || path.starts_with(own));
    if has_part(&|part| Some(part) == whom.unit) || whom.groups.iter().any(is_own) {
        return Some(Concerns::Surely);
    }
    let is_of_another = has_part(&|part| unit::is_named_so(part.as_bytes()));
    (whom.unit.is_none() && !is_of_another).then_some(Concerns::Perhaps)
}

/// systemd about a unit (src/core/unit.c, service.c), and about the host.
fn systemd(message: &str, is_about: bool) -> Option<HostDeed> {
    if message.starts_with("Shutting down.") || message.starts_with("Reached target Reboot") {
        return Some(HostDeed::GoingDown);
    }
    if !is_about {
        return None;
    }
    let has_any = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has_any(&["killed by the OOM killer", "systemd-oomd killed", "result 'oom-kill'"]) {
        Some(HostDeed::MemoryKill)
    } else if has_any(&["with signal SIGKILL", "timed out. Killing"]) {
        Some(HostDeed::UnitKill)
    // `Stopped` is also logged before every restart after a failure.
    } else if message.starts_with("Stopping ") {
        Some(HostDeed::UnitStop)
    } else {
        None
    }
}

/// Whether a text has this word, not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.match_indices(word).any(|(at, _)| {
        !word.is_empty()
            && !text[..at].chars().next_back().is_some_and(is_part)
            && !text[at + word.len()..].chars().next().is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::postmortem::Complaint;
    use serde_json::json;

    const UNIT: &str = "actions.runner.acme-app.ci-1.service";

    fn whom() -> Whom<'static> {
        let groups = vec!["/runners.slice/actions.runner.acme-app.ci-1.service"];
        Whom { worker: Some(565), unit: Some(UNIT), groups, runner: "ci-1" }
    }

    fn told(fields: Value, message: &str) -> Option<(HostDeed, bool)> {
        let mut entry = fields;
        entry["MESSAGE"] = message.into();
        entry["__REALTIME_TIMESTAMP"] = "1700000000000000".into();
        super::entry(&entry.to_string(), &whom()).map(|line| (line.deed, line.is_trusted))
    }

    fn by(service: &str, message: &str) -> Option<HostDeed> {
        told(json!({"SYSLOG_IDENTIFIER": service, "_UID": "0"}), message).map(|(deed, _)| deed)
    }

    #[test]
    fn a_container_engine_names_the_runners_container_by_its_id() {
        let id = "3f1c2b3a4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";
        let group = format!("/system.slice/docker-{id}.scope");
        let whom = Whom { groups: vec![&group], ..whom() };
        let told = |message: &str| {
            let entry = json!({"SYSLOG_IDENTIFIER": "dockerd", "_UID": "0", "MESSAGE": message, "__REALTIME_TIMESTAMP": "1700000000000000"});
            super::entry(&entry.to_string(), &whom).map(|line| line.deed)
        };
        let stopped =
            format!("Container failed to exit within 10s of signal 15 - using the force container={id}");
        assert_eq!(told(&stopped), Some(HostDeed::ContainerEnd));
        assert_eq!(told(&stopped.replace("3f1c", "0000")), None, "another container");
        assert_eq!(told(&format!("ignoring event container={id} topic=/tasks/delete")), None, "any end");
    }

    #[test]
    fn actions_that_end_a_worker_are_reported_with_their_author() {
        let killed = "sending SIGTERM to process 565 uid 1000 \"Runner.Worker\": badness 904, VmRSS 301 MiB";
        for (service, message, expected) in [
            ("earlyoom", killed, HostDeed::MemoryKill),
            ("earlyoom", "Killing process 565 Runner.Worker", HostDeed::MemoryKill),
            ("nohang", "  PID:       565", HostDeed::MemoryKill),
            (
                "systemd-oomd",
                &format!("Killed /system.slice/{UNIT} due to memory pressure for /system.slice being 60%"),
                HostDeed::MemoryKill,
            ),
            (
                "systemd",
                &format!("{UNIT}: A process of this unit has been killed by the OOM killer."),
                HostDeed::MemoryKill,
            ),
            (
                "systemd",
                &format!("{UNIT}: systemd-oomd killed 23 process(es) in this unit."),
                HostDeed::MemoryKill,
            ),
            (
                "systemd",
                &format!("{UNIT}: Killing process 565 (Runner.Worker) with signal SIGKILL."),
                HostDeed::UnitKill,
            ),
            ("systemd", &format!("Stopping {UNIT} - GitHub Actions Runner..."), HostDeed::UnitStop),
            ("systemd-logind", "System is rebooting.", HostDeed::GoingDown),
            ("sudo", "ci : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/kill -9 565", HostDeed::Order),
            ("sudo", "ci : PWD=/ ; USER=root ; COMMAND=/usr/bin/pkill -f Runner.Worker", HostDeed::Order),
            (
                "sudo",
                &format!("ci : PWD=/ ; USER=root ; COMMAND=/usr/bin/systemctl stop {UNIT}"),
                HostDeed::Order,
            ),
            ("sudo", "ci : PWD=/ ; USER=root ; COMMAND=/usr/sbin/reboot", HostDeed::GoingDown),
            (
                "kubelet",
                "\"Eviction manager: pod is evicted successfully\" pod=\"ci/ci-1\"",
                HostDeed::ContainerEnd,
            ),
            ("containerd", "StopContainer for \"ci-1\" with timeout 30 (s)", HostDeed::ContainerEnd),
            ("containerd", "TaskOOM event container_id:\"x\" name:\"ci-1\"", HostDeed::MemoryKill),
        ] {
            assert_eq!(by(service, message), Some(expected), "{service}: {message}");
        }
        let of_unit = json!({"SYSLOG_IDENTIFIER": "runsvc.sh", "_SYSTEMD_UNIT": UNIT});
        let words =
            "Unhandled exception. System.IO.IOException: No space left on device : '/srv/r/_diag/Runner.log'";
        assert_eq!(told(of_unit.clone(), words), Some((HostDeed::Complaint(Complaint::NoSpace), true)));
        assert_eq!(told(of_unit, "Running job: No space left on device"), None, "a job's name");
        let stop = told(
            json!({"SYSLOG_IDENTIFIER": "systemd", "UNIT": UNIT, "_UID": "0"}),
            "Stopping GitHub Actions Runner (acme)...",
        );
        assert_eq!(stop, Some((HostDeed::UnitStop, true)));
    }

    /// systemd-oomd names the group that it kills: the runner's, one above it or one below it.
    #[test]
    fn a_killed_group_is_compared_with_the_runners() {
        let of = |group: &str, whom: &Whom<'_>| {
            let message =
                format!("Killed {group} due to memory pressure for / being 83.12% > 50.00% for > 20s");
            let mut entry = json!({"SYSLOG_IDENTIFIER": "systemd-oomd", "_UID": "0"});
            entry["MESSAGE"] = message.into();
            entry["__REALTIME_TIMESTAMP"] = "1700000000000000".into();
            super::entry(&entry.to_string(), whom).map(|line| line.is_trusted)
        };
        for (group, expected) in [
            ("/runners.slice", Some(true)),
            ("/runners.slice/actions.runner.acme-app.ci-1.service/job", Some(true)),
            ("/elsewhere.slice/actions.runner.acme-app.ci-1.service", Some(true)),
            ("/runners.slice/actions.runner.acme-app.ci-2.service", None),
            ("/system.slice/mysql.service", None),
        ] {
            assert_eq!(of(group, &whom()), expected, "{group}");
        }
        // Started by hand: the session that it was in may be gone.
        let by_hand =
            Whom { unit: None, groups: vec!["/user.slice/user-1000.slice/session-9.scope"], ..whom() };
        for (group, expected) in [
            ("/user.slice/user-1000.slice/session-3.scope", Some(false)),
            ("/user.slice/user-1000.slice", Some(true)),
            ("/system.slice/actions.runner.acme-app.ci-2.service", None),
        ] {
            assert_eq!(of(group, &by_hand), expected, "{group}");
        }
    }

    #[test]
    fn entries_about_other_processes_are_ignored() {
        for (service, message) in [
            ("earlyoom", "sending SIGTERM to process 5650 uid 1000 \"Runner.Worker\": badness 904"),
            ("earlyoom", "mem avail: 565 of 7900 MiB"),
            ("nohang", "  PID:       5650"),
            (
                "systemd-oomd",
                "Killed /system.slice/actions.runner.acme-app.ci-10.service due to memory pressure",
            ),
            ("systemd", "Stopping actions.runner.acme-app.ci-10.service - GitHub Actions Runner..."),
            ("sudo", "ci : PWD=/ ; USER=root ; COMMAND=/usr/bin/kill -9 56"),
            ("sudo", "ci : PWD=/565 ; USER=root ; COMMAND=/usr/bin/ls"),
            ("kubelet", "\"Eviction manager: pod is evicted\" pod=\"ci/ci-10\""),
            ("somebody", "sending SIGTERM to process 565"),
            ("systemd", &format!("{UNIT}: Main process exited, code=killed, status=9/KILL")),
            ("systemd", &format!("Stopped {UNIT} - GitHub Actions Runner.")),
        ] {
            assert_eq!(by(service, message), None, "{service}: {message}");
        }
        let kernel = json!({"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "earlyoom"});
        assert_eq!(told(kernel, "sending SIGTERM to process 565"), None);
    }

    /// Any user can run `logger -t earlyoom`.
    #[test]
    fn a_name_alone_is_not_trusted() {
        let message = "sending SIGKILL to process 565";
        let with = |fields: Value| told(fields, message).map(|(_, is_trusted)| is_trusted);
        assert_eq!(with(json!({"SYSLOG_IDENTIFIER": "earlyoom", "_UID": "1000"})), Some(false));
        assert_eq!(with(json!({"SYSLOG_IDENTIFIER": "earlyoom"})), Some(false));
        let exe = |path: &str| with(json!({"SYSLOG_IDENTIFIER": "earlyoom", "_UID": "1000", "_EXE": path}));
        assert_eq!(exe("/usr/bin/earlyoom"), Some(true));
        assert_eq!((exe("/home/ci/earlyoom"), exe("/usr/bin/logger")), (Some(false), Some(false)));
        assert_eq!(with(json!({"SYSLOG_IDENTIFIER": "earlyoom", "_UID": "0"})), Some(true));
        assert_eq!(with(json!({"_SYSTEMD_UNIT": "earlyoom.service", "_UID": "999"})), Some(true));
    }

    #[test]
    fn the_services_are_asked_for_by_every_field_that_may_name_them() {
        let words = matches(Some(UNIT));
        for word in [
            "SYSLOG_IDENTIFIER=kubelet",
            "_COMM=containerd",
            "_SYSTEMD_UNIT=docker.service",
            &format!("UNIT={UNIT}"),
        ] {
            assert!(words.iter().any(|asked| asked == word), "{word}: {words:?}");
        }
        assert_eq!(words.iter().filter(|word| *word == "+").count(), 4);
    }

    #[test]
    fn without_a_journal_the_reason_is_reported() {
        let window = Window { from: UNIX_EPOCH, to: UNIX_EPOCH };
        let error = read(Programs(&[]), window, &whom()).unwrap_err();
        assert!(error.to_string().contains("journalctl"), "{error}");
    }
}
