//! Which of the runner's programs a process runs, and from where.
//!
//! Mostly its executable tells. Two kinds of installations differ: .NET's own program, `dotnet`, is given the runner's as an assembly, and
//! wrappers of packages run a program that was renamed (`.Runner.Worker-wrapped`, nixpkgs). Such a process counts as one that runs the
//! program of the usual name in the same directory. Anybody can run a program of these names: as with the usual ones, that only protects.

use super::environment;
use super::prefixes::last_name;
use crate::actions_runner::layout;
use crate::sys::process::LookError;
use crate::sys::process_dir::{ProcessDir, link_buffer};

/// The name of the process that runs a job (15 bytes, just what the kernel keeps).
pub(super) const WORKER: &[u8] = layout::WORKER.as_bytes();
/// The name of the process that waits for jobs.
pub(super) const LISTENER: &[u8] = layout::LISTENER.as_bytes();

/// The name of .NET's own program.
const DOTNET: &[u8] = b"dotnet";

/// Prefix and suffix that a wrapper adds to the name of the program that it renames.
const WRAPPED: (&[u8], &[u8]) = (b".", b"-wrapped");

/// The longest name of a process, in bytes (`TASK_COMM_LEN`, include/linux/sched.h).
const MAX_COMM: usize = 15;

/// The path of a process's program: that of the runner's program, if it runs one in one of these ways; otherwise its executable.
///
/// # Errors
/// Those of reading the executable's link.
pub(super) fn program(dir: &ProcessDir) -> Result<Vec<u8>, LookError> {
    let mut buffer = link_buffer();
    let exe = dir.link(c"exe", &mut buffer)?;
    let of_runner = if last_name(exe) == DOTNET { environment::assembly(dir) } else { unwrapped(exe) };
    Ok(of_runner.unwrap_or_else(|| exe.to_vec()))
}

/// The program of the runner that a process of this name (`comm`) runs. `assembly` reads what .NET was given
/// ([`environment::assembly`]); only for a process of .NET's is it called.
pub(super) fn named(comm: &[u8], assembly: impl FnOnce() -> Option<Vec<u8>>) -> Option<&'static [u8]> {
    let may_be = |name: &&[u8]| comm == *name || is_cut_wrapper(comm, name);
    if let Some(name) = [WORKER, LISTENER].into_iter().find(may_be) {
        return Some(name);
    }
    let assembly = if comm == DOTNET { assembly() } else { None }?;
    [WORKER, LISTENER].into_iter().find(|name| last_name(&assembly) == *name)
}

fn is_cut_wrapper(comm: &[u8], name: &[u8]) -> bool {
    let Some(rest) = comm.strip_prefix(WRAPPED.0) else { return false };
    let whole = [name, WRAPPED.1].concat();
    rest == &whole[..MAX_COMM - WRAPPED.0.len()]
}

/// `/r/bin/.Runner.Worker-wrapped` is `/r/bin/Runner.Worker`.
fn unwrapped(exe: &[u8]) -> Option<Vec<u8>> {
    let exe = exe.strip_suffix(b" (deleted)").unwrap_or(exe);
    let name = last_name(exe).strip_prefix(WRAPPED.0)?.strip_suffix(WRAPPED.1)?;
    let place = &exe[..exe.len() - last_name(exe).len()];
    [WORKER, LISTENER].contains(&name).then(|| [place, name].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_a_wrapper_renamed_has_its_own_name() {
        for (exe, program) in [
            ("/r/bin/.Runner.Worker-wrapped", Some("/r/bin/Runner.Worker")),
            ("/r/bin/.Runner.Worker-wrapped (deleted)", Some("/r/bin/Runner.Worker")),
            ("/r/.Runner.Listener-wrapped", Some("/r/Runner.Listener")),
            ("/r/bin/.bash-wrapped", None),
            ("/r/bin/Runner.Worker", None),
            ("/r/bin/.Runner.Worker", None),
        ] {
            assert_eq!(unwrapped(exe.as_bytes()), program.map(|path| path.as_bytes().to_vec()), "{exe}");
        }
        assert!(is_cut_wrapper(b".Runner.Worker-", WORKER) && is_cut_wrapper(b".Runner.Listene", LISTENER));
        assert!(!is_cut_wrapper(b".Runner.Worker", WORKER) && !is_cut_wrapper(b"", WORKER));
    }
}
