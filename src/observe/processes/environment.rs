//! The only three things that are read of another process's environment: whether a Listener was started with a job hook, the root of its
//! runner if its program is elsewhere, and where tools of its jobs keep their caches; and the only one of its command line: which of the
//! runner's assemblies .NET was given.
//!
//! Environments and command lines hold credentials. Nothing else of them leaves this file, and nothing of them is logged.

use super::prefixes::last_name;
pub use crate::actions_runner::environment::HookVariable;
use crate::actions_runner::environment::ROOT;
use crate::actions_runner::layout;
use crate::model::ProcessId;
use crate::sys::process::{LookError, Proc};
use crate::sys::process_dir::{ProcessDir, Processes, link_buffer};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// More than the kernel lets one string have, and far more than a Listener's environment.
const LIMIT: u64 = 1 << 20;

/// The root that a runner's process was started with; `None` when its environment names none or cannot be read.
pub(super) fn runner_root(dir: &ProcessDir) -> Option<PathBuf> {
    let mut environment = Vec::new();
    dir.read(c"environ", LIMIT, &mut environment).ok()?;
    entry(&environment, ROOT).map(PathBuf::from).filter(|root| root.is_absolute())
}

/// The runner's program that this process of .NET's was given as an assembly: the path without `.dll`.
pub(super) fn assembly(dir: &ProcessDir) -> Option<Vec<u8>> {
    let mut command = Vec::new();
    dir.read(c"cmdline", LIMIT, &mut command).ok()?;
    let given = assembly_in(&command)?;
    if given.starts_with(b"/") {
        return Some(given.to_vec());
    }
    let mut buffer = link_buffer();
    Some([dir.link(c"cwd", &mut buffer).ok()?, b"/", given].concat())
}

/// `dotnet /r/bin/Runner.Worker.dll spawnclient ...`: options of .NET may come before the assembly.
fn assembly_in(command: &[u8]) -> Option<&[u8]> {
    let programs = [layout::WORKER, layout::LISTENER].map(str::as_bytes);
    let mut words = command.split(|&byte| byte == 0).skip(1).filter_map(|word| word.strip_suffix(b".dll"));
    words.find(|path| programs.contains(&last_name(path)))
}

/// The value of one hook variable in the environment that `process` was started with; `None` when it is not set.
///
/// # Errors
/// [`LookError`]: `Gone` when exactly this process does not run any more, `Hidden` when its environment cannot be read whole.
pub fn environ_names_hook(
    proc: &Proc,
    process: ProcessId,
    variable: HookVariable,
) -> Result<Option<OsString>, LookError> {
    Ok(value_in(&read(proc, process)?, variable).map(OsStr::to_owned))
}

/// Those of `names` that `process` was started with and that hold an absolute path, each with its value. Used for variables with the place
/// of a cache, and for nothing else.
///
/// # Errors
/// As for [`environ_names_hook`].
pub(in crate::observe) fn environ_names_paths(
    proc: &Proc,
    process: ProcessId,
    names: impl Iterator<Item = &'static str>,
) -> Result<Vec<(&'static str, PathBuf)>, LookError> {
    let environment = read(proc, process)?;
    let named = names.filter_map(|name| Some((name, PathBuf::from(entry(&environment, name)?))));
    Ok(named.filter(|(_, path)| path.is_absolute()).collect())
}

/// The environment that exactly this process was started with.
fn read(proc: &Proc, process: ProcessId) -> Result<Vec<u8>, LookError> {
    let hidden = |source| LookError::Hidden { pid: process.pid, source };
    let dir = Processes::open(proc).map_err(hidden)?.process(process.pid)?;
    if dir.identify()?.id != process {
        return Err(LookError::Gone(process.pid));
    }
    let mut environment = Vec::new();
    dir.read(c"environ", LIMIT, &mut environment)?;
    if environment.is_empty() {
        // A process that is just being executed or torn down also shows this.
        return Err(hidden(io::Error::other("it shows no environment")));
    }
    Ok(environment)
}

/// The variable's value in an environment as `/proc/PID/environ` shows it. The first entry of a name counts, as for getenv(3).
pub(crate) fn value_in(environment: &[u8], variable: HookVariable) -> Option<&OsStr> {
    entry(environment, variable.name())
}

fn entry<'e>(environment: &'e [u8], name: &str) -> Option<&'e OsStr> {
    let mut entries = environment.split(|&byte| byte == 0);
    entries.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(OsStr::from_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_assembly_is_found_in_a_command_line() {
        for (command, given) in [
            ("dotnet\0/r/bin/Runner.Worker.dll\0spawnclient\x00117\x00120\0", Some("/r/bin/Runner.Worker")),
            (
                "/usr/bin/dotnet\0exec\0--depsfile\0x.json\0bin/Runner.Listener.dll\0run\0",
                Some("bin/Runner.Listener"),
            ),
            ("dotnet\0Runner.Worker.dll\0", Some("Runner.Worker")),
            ("dotnet\0test\0/w/xRunner.Worker.dll\0", None),
            ("dotnet\0build\0Runner.Worker\0", None),
            ("Runner.Worker.dll\0", None),
            ("", None),
        ] {
            assert_eq!(assembly_in(command.as_bytes()), given.map(str::as_bytes), "{command:?}");
        }
    }
}
