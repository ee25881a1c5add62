//! Asking busy runners, by tickets, for the caches that the disk needs.

use crate::config::Config;
use crate::model::{Balance, FileId, RunReport, Runner};
use crate::policy::{goal, pressure};
use crate::run_dir::RunDir;
use crate::tickets;

/// Writes tickets to runners for protected caches that the run needed, on disks that still have a shortfall. Not to `own`, whose hook this
/// is.
pub(crate) fn leave_tickets(config: &Config, run: &RunDir, report: &RunReport, own: Option<FileId>) {
    if report.goal_met {
        return;
    }
    let is_lacking = |runner: &Runner| {
        let on =
            |balance: &&Balance| runner.work_dir().is_some_and(|work| work.filesystem == balance.before.id);
        let balance = report.balances.iter().find(on);
        let lacking = |balance: &Balance| match &balance.shortfall {
            // If the goal is out of reach with all caches of the host, no runner is asked.
            Some(short) => goal::ladder(&balance.after, &config.watermarks).lacking(short.aim),
            None => pressure::lacking(&balance.after, &config.watermarks),
        };
        balance.is_some_and(|balance| !lacking(balance).is_met())
    };
    for (root, caches) in tickets::wanted(report, &is_lacking) {
        if own != Some(root) {
            // If tickets cannot be written the sweep continues with idle runners.
            let _ = tickets::leave(run, root, &caches);
        }
    }
}
