//! A verdict in one sentence, and what to do about it.

use crate::model::postmortem::{Cause, Ended, Facts, HostDeed, OomScope, Proof};
use crate::postmortem::exit_code;

pub(super) fn summary(facts: &Facts, ended: Ended, cause: Cause, evidence: &[Proof]) -> String {
    let code = super::code(facts).map(|(code, _)| code);
    let by_code = || code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
    match (cause, ended) {
        (Cause::Running, _) => "the job still runs".to_owned(),
        (Cause::CleanEnd, _) => match code.map(exit_code::ending) {
            Some(exit_code::Ending::Result(result)) => {
                format!("no death: the Worker ended normally, the job {result}")
            }
            _ => "no death: the Worker ended normally".to_owned(),
        },
        (Cause::OutOfMemory, Ended::Cleanly) => {
            "the job failed, and the kernel killed one of its processes because memory ran out".to_owned()
        }
        (Cause::OutOfMemory, _) => {
            let scope = super::memory::worker_scope(facts).map(|(_, scope, _)| scope);
            let is_daemon = || {
                let lines = facts.host.known().into_iter().flat_map(|log| &log.lines);
                lines
                    .into_iter()
                    .find(|line| line.deed == HostDeed::MemoryKill && super::is_in_span(facts, line.at))
            };
            match scope {
                Some(OomScope::Host) => {
                    "the kernel killed the Worker because the host was out of memory".to_owned()
                }
                Some(OomScope::Group(group)) => {
                    format!("the kernel killed the Worker because the cgroup {group} was at its memory limit")
                }
                Some(OomScope::SomeGroup) => {
                    "the kernel killed the Worker because its cgroup was at its memory limit".to_owned()
                }
                Some(OomScope::Unknown) => "the kernel killed the Worker because memory ran out".to_owned(),
                None => match is_daemon() {
                    Some(line) => format!("memory ran out, and {} killed the Worker", line.source),
                    None => "memory ran out at that time".to_owned(),
                },
            }
        }
        (Cause::DiskFull, Ended::Cleanly) => {
            "the job failed while its runner found no space left on the disk".to_owned()
        }
        (Cause::DiskFull, _) => format!("the Worker found no space left on the disk{}", by_code()),
        (Cause::FilesExhausted, _) => format!("no more files could be opened{}", by_code()),
        (Cause::TasksExhausted, _) => {
            format!(
                "no more processes or threads could be started: the limit of tasks was reached{}",
                by_code()
            )
        }
        (Cause::DiskFailed, _) => "a disk failed while the job ran".to_owned(),
        (Cause::DiskGuard, _) => {
            "disk-guard removed something of this runner while its job ran: this must not happen".to_owned()
        }
        (Cause::Reboot, _) => "the host went down while the job ran".to_owned(),
        (Cause::Suspended, _) => "the host slept, or was frozen, while the job ran".to_owned(),
        (Cause::Cancelled, _) => "no death: the job was cancelled, and its Worker stopped".to_owned(),
        (Cause::RunnerStopped, _) => "the runner was asked to shut down and stopped its job".to_owned(),
        (Cause::LostContact, _) => {
            "the service withdrew the job: its lease could not be renewed, or the service no longer knew it"
                .to_owned()
        }
        (Cause::StoppedByListener, _) => {
            format!("the Listener killed the Worker, which did not stop when it was asked to{}", by_code())
        }
        (Cause::Crash, _) => match code.map(exit_code::ending) {
            Some(exit_code::Ending::Abort) => {
                format!("the Worker aborted after an unhandled exception{}", by_code())
            }
            Some(exit_code::Ending::Fault(name)) => format!("the Worker crashed with {name}{}", by_code()),
            _ => "the Worker crashed".to_owned(),
        },
        (Cause::Killed, _) => match code.map(exit_code::ending) {
            Some(exit_code::Ending::Signal(name)) if code.is_some_and(exit_code::may_be_the_kernels) => {
                format!(
                    "{name} ended the Worker: from another process, or from the kernel at a limit, a timer or a closed pipe{}",
                    by_code()
                )
            }
            Some(exit_code::Ending::Signal(name)) => {
                format!("another process ended the Worker with {name}{}", by_code())
            }
            _ => "another process killed the Worker".to_owned(),
        },
        (Cause::ListenerDied, Ended::NotYet) => {
            "the Listener died; its Worker continues, and its result will not be reported".to_owned()
        }
        (Cause::ListenerDied, _) => "the Listener died, and its Worker with it or after it".to_owned(),
        (Cause::UnitStopped, _) => "systemd ended the runner's unit while the job ran".to_owned(),
        (Cause::RunnerError, _) => format!("the Worker ended itself with an error{}", by_code()),
        (Cause::Unknown, _) if evidence.is_empty() => "no observed fact explains why".to_owned(),
        (Cause::Unknown, _) => {
            "the Worker ended without a message, and no observed fact explains why".to_owned()
        }
    }
}

pub(super) fn advice(cause: Cause, ended: Ended) -> &'static str {
    match (cause, ended) {
        (Cause::Running | Cause::CleanEnd, _) => "",
        (Cause::OutOfMemory, _) => {
            "give the runner's unit or the host more memory, or build with fewer jobs at a time (`cargo build -j`); the disk is not the cause"
        }
        (Cause::DiskFull, _) => {
            "`disk-guard status` shows what fills the disk and who holds it; run the job again once there is space: its change is not the cause"
        }
        (Cause::FilesExhausted, _) => {
            "raise LimitNOFILE= of the runner's unit (EMFILE), fs.file-max (ENFILE), or fs.inotify.max_user_instances and max_user_watches where the line names inotify"
        }
        (Cause::DiskFailed, _) => {
            "look at `journalctl -k -p err` and the disk's own health (`smartctl -a`), and take the runner out of service: `disk-guard drain`"
        }
        (Cause::DiskGuard, _) => "`disk-guard why PATH` shows the evidence; please report it",
        (Cause::Reboot, _) => {
            "`last -x` and the previous boot's journal (`journalctl -b -1 -e`) show who or what shut the host down; run the job again"
        }
        (Cause::Suspended, _) => {
            "runners need hosts that stay awake: `systemctl mask sleep.target suspend.target`, and no snapshots while jobs run"
        }
        (Cause::Crash, _) => {
            "a core dump shows more: `coredumpctl` where systemd-coredump is installed; also check the disk and the memory for faults"
        }
        (Cause::Killed, _) => {
            "only root and the runner's user can send it: look for scripts that kill by name, and at `journalctl` of that minute"
        }
        (Cause::TasksExhausted, _) => {
            "raise TasksMax= of the runner's unit, or build with fewer jobs at a time; the disk is not the cause"
        }
        (Cause::Cancelled, _) => "",
        (Cause::RunnerStopped | Cause::UnitStopped, _) => {
            "before a runner is stopped by hand: `disk-guard drain` lets its job finish"
        }
        (Cause::LostContact, _) => {
            "look for network faults of that minute and for a host too busy to renew the job's lease; run the job again"
        }
        (Cause::StoppedByListener, _) => {
            "a step that handles SIGINT and SIGTERM within ten seconds ends in time; a larger `timeout-minutes` allows more"
        }
        (Cause::ListenerDied, Ended::NotYet) => {
            "let the Worker finish; its result is lost. The unit should start the Listener again: `systemctl status` of the runner's unit"
        }
        (Cause::ListenerDied, _) => {
            "the unit's journal has its last log lines: `journalctl -u` of the runner's unit; set ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT=1 in its .env"
        }
        (Cause::RunnerError, _) => "the last lines of the Worker's log in _diag name the exception",
        (Cause::Unknown, _) => {
            "provide what is listed below as missing: the next death can then be explained better"
        }
    }
}
