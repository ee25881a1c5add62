//! A hook as a call of its own, below a Worker as the guard finds it by ancestry.

use super::guard::Call;
use super::host::Host;
use super::runner::Runner;

impl Runner {
    /// `hook started` or `hook completed` below a Worker, which ends with it. The stand-in would need orders; a shell by the
    /// Worker's name takes a script. Replaces the runner's Worker: no job begins on it any more.
    pub(crate) fn hook_below_a_worker(&self, host: &Host, which: &str) -> Call {
        let worker = self.bin.join("Runner.Worker");
        std::fs::remove_file(&worker).expect("our own file");
        std::fs::copy("/bin/bash", &worker).expect("a shell can be copied");
        let (program, config) = (host.program(), host.config());
        let script = format!("{} --config {} hook {which}; exit $?", program.display(), config.display());
        Call { program: worker, arguments: vec!["-c".into(), script.into()], user: None }
    }
}
