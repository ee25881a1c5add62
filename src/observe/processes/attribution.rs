//! Which runner a `Runner.Worker` or `Runner.Listener` belongs to.
//!
//! The executable decides: `<root>/bin*/Runner.Worker`, where `<root>` is looked up from the process's own point of view and compared by
//! identity, so that bind mounts match and `runner-1` is never confused with `runner-10`. A Worker of an unknown runner belongs to none of
//! the known ones only when that runner's own work directory provably overlaps none of theirs. Without such proof the Worker is
//! unattributed, which protects every runner.
//!
//! A package's program has one place for all runners (nixpkgs). There the Listener's own environment names the root, as its unit has set
//! it, and the Listener must run as that root's owner. If it names none, programs that the configuration declares are attributed by the
//! Listener's working directory ([`packages`]). A Worker belongs to its Listener's runner: a job can have written the Worker's own
//! environment, through `.env`.

use super::WorkerView;
use super::environment;
use super::executable::{self, LISTENER, WORKER};
use super::mount_names::{WorkDirPlace, place_by};
use super::mountinfo;
use super::packages;
use super::prefixes::{below, join};
use crate::actions_runner::layout;
use crate::actions_runner::settings;
use crate::model::{Attribution, FileId, PathGlob, Runner, Work};
use crate::sys::dir::stat_at;
use crate::sys::process::{LookError, Proc};
use crate::sys::process_dir::{ProcessDir, Processes, link_buffer, open_in_root, place_of, read_beneath};
use rustix::fs::AtFlags;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// `.runner` holds a dozen short strings.
const SETTINGS_LIMIT: u64 = 64 << 10;

/// The runner's root by an executable's path. A removed executable counts (self-updates remove the old directory under a running Worker).
pub(super) fn implied_root<'t>(exe: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    let exe = exe.strip_suffix(b" (deleted)").unwrap_or(exe);
    let bin = exe.strip_suffix(name)?.strip_suffix(b"/")?;
    let slash = bin.iter().rposition(|&byte| byte == b'/')?;
    let (root, bin) = (&bin[..slash], &bin[slash + 1..]);
    bin.starts_with(b"bin").then_some(if root.is_empty() { b"/" } else { root })
}

/// The runners that a process may belong to, and the data that decides it.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// The process table.
    pub proc: &'a Proc,
    /// The runners.
    pub runners: &'a [Runner],
    /// `runners.programs`.
    pub programs: &'a [PathGlob],
}

/// Which of the runners a process with the executable `name` belongs to, if any.
pub(super) fn runner_of(dir: &ProcessDir, name: &[u8], whose: Whose<'_>) -> Result<Option<usize>, LookError> {
    let runners = whose.runners;
    let exe = executable::program(dir)?;
    let implied = implied_root(&exe, name).and_then(|root| match open_root(dir, root) {
        Ok((_, id)) => runners.iter().position(|runner| runner.root_id == id),
        Err(_) => by_text(dir, root, runners),
    });
    if implied.is_some() || !is_program(&exe, name) {
        return Ok(implied);
    }
    let owner = dir.owner()?;
    let Some(root) = environment::runner_root(dir) else {
        let is_declared = name == LISTENER && packages::hold(whose.programs, &exe, name);
        return if is_declared { packages::runner_of(whose.proc, dir, runners) } else { Ok(None) };
    };
    let opened = open_root(dir, root.as_os_str().as_bytes()).ok();
    Ok(opened.and_then(|(_, id)| runners.iter().position(|r| r.root_id == id && r.owner == owner)))
}

/// The root that a process names: for people.
pub(super) fn claimed_root(dir: &ProcessDir, name: &[u8], programs: &[PathGlob]) -> Option<PathBuf> {
    let exe = executable::program(dir).ok()?;
    let by_program = || implied_root(&exe, name).map(|root| PathBuf::from(OsStr::from_bytes(root)));
    // The root, unless it is a work directory, where `.runner` is a link.
    let by_place = || {
        let mut buffer = link_buffer();
        let place = PathBuf::from(OsStr::from_bytes(dir.link(c"cwd", &mut buffer).ok()?));
        let is_root = || place.join(layout::SETTINGS).symlink_metadata().is_ok_and(|found| found.is_file());
        (packages::hold(programs, &exe, name) && is_root()).then_some(place)
    };
    let by_environment = || environment::runner_root(dir).filter(|_| is_program(&exe, name));
    let root = by_environment().or_else(by_place).or_else(by_program)?;
    // A path of another mount namespace is nothing that our globs could match.
    let (_, id) = open_root(dir, root.as_os_str().as_bytes()).ok()?;
    (crate::sys::dir::Dir::open(&root).and_then(|dir| dir.status()).ok()?.id == id).then_some(root)
}

/// Whether an executable has the name of one of the runner's programs, in any directory.
pub(super) fn is_program(exe: &[u8], name: &[u8]) -> bool {
    let exe = exe.strip_suffix(b" (deleted)").unwrap_or(exe);
    exe.strip_suffix(name).is_some_and(|place| place.ends_with(b"/"))
}

/// The runner of a Worker whose program is elsewhere: that of its Listener, which is its parent and runs the same installation.
pub(super) fn by_listener(
    processes: &Processes,
    dir: &ProcessDir,
    exe: &[u8],
    whose: Whose<'_>,
) -> Result<Option<usize>, LookError> {
    let place =
        |exe: &[u8], name: &[u8]| is_program(exe, name).then(|| exe[..exe.len() - name.len()].to_vec());
    let Ok(parent) = processes.process(dir.identify()?.parent) else { return Ok(None) };
    let Ok(program) = executable::program(&parent) else { return Ok(None) };
    let is_same = place(exe, WORKER).is_some_and(|own| Some(own) == place(&program, LISTENER));
    if !is_same || parent.owner().ok() != Some(dir.owner()?) {
        return Ok(None);
    }
    Ok(runner_of(&parent, LISTENER, whose).ok().flatten())
}

/// The job that a Worker runs.
pub(super) fn attribute(
    processes: &Processes,
    dir: &ProcessDir,
    view: WorkerView<'_>,
) -> Result<Attribution, LookError> {
    let runners = view.runners;
    let exe = match executable::program(dir) {
        Ok(exe) => exe,
        Err(LookError::Gone(pid)) => {
            // A process that is about to end also counts as gone; until then it may have children at work.
            return if dir.identify()?.is_zombie {
                Err(LookError::Gone(pid))
            } else {
                Ok(Attribution::Unattributed("its executable is not shown".to_owned()))
            };
        }
        Err(LookError::Hidden { source, .. }) => {
            return Ok(Attribution::Unattributed(format!("its executable cannot be read: {source}")));
        }
    };
    let Some(root) = implied_root(&exe, WORKER) else {
        if !layout::is_worker(&exe) && dir.comm(&mut [0; 64])? != WORKER {
            // A child that had inherited its Worker's name when it was listed, and runs its own program by now.
            return Err(LookError::Gone(dir.pid()));
        }
        if let Some(runner) = by_listener(processes, dir, &exe, view.whose())? {
            return Ok(Attribution::Runner(runner));
        }
        let is_declared = packages::hold(view.given.programs, &exe, WORKER);
        let exe = String::from_utf8_lossy(&exe);
        if is_declared {
            return Ok(Attribution::Unattributed(format!(
                "it is {exe}, of runners.programs, and no Listener of the same program that is its parent shows which runner's it is, \
                 by RUNNER_ROOT, its working directory or its log"
            )));
        }
        return Ok(Attribution::Unattributed(format!("its executable is {exe}, which is in no runner")));
    };
    let shown = String::from_utf8_lossy(root).into_owned();
    match open_root(dir, root) {
        Ok((handle, id)) => {
            if let Some(runner) = runners.iter().position(|runner| runner.root_id == id) {
                return Ok(Attribution::Runner(runner));
            }
            Ok(match elsewhere(dir, &handle, root, (view.places)()) {
                Ok(work) => Attribution::Elsewhere(format!("{shown}, which works in {}", work.display())),
                Err(reason) => Attribution::Unattributed(format!("it is of {shown}: {reason}")),
            })
        }
        Err(error) => Ok(match by_text(dir, root, runners) {
            Some(runner) => Attribution::Runner(runner),
            None => Attribution::Unattributed(format!("{shown} cannot be examined: {error}")),
        }),
    }
}

/// The same text in our own mount namespace is the same directory, even one that cannot be opened.
fn by_text(dir: &ProcessDir, root: &[u8], runners: &[Runner]) -> Option<usize> {
    let mut theirs = link_buffer();
    let ours = std::fs::read_link("/proc/self/ns/mnt").ok()?;
    if dir.link(c"ns/mnt", &mut theirs).ok()? != ours.as_os_str().as_bytes() {
        return None;
    }
    runners.iter().position(|runner| runner.root.as_os_str().as_bytes() == root)
}

/// The directory at `path`, a text of the process's links, from its point of view; and its identity.
fn open_root(dir: &ProcessDir, path: &[u8]) -> Result<(OwnedFd, FileId), std::io::Error> {
    let (shared_root, beneath) = enter(dir, path)?;
    let handle = open_in_root(shared_root.as_fd(), &beneath)?;
    let id = identity(handle.as_fd())?;
    Ok((handle, id))
}

/// The process's root directory, and `path` as it is named from there. Link texts begin at the namespace's root, which is
/// not a chrooted process's.
fn enter(dir: &ProcessDir, path: &[u8]) -> std::io::Result<(OwnedFd, PathBuf)> {
    let shared_root = dir.open_link(c"root").map_err(std::io::Error::other)?;
    let mut buffer = link_buffer();
    let root = dir.link(c"root", &mut buffer).map_err(std::io::Error::other)?;
    let beneath =
        below(path, root).ok_or_else(|| std::io::Error::other("it is outside the process's root"))?;
    let beneath = if beneath.is_empty() { b"/" } else { beneath };
    Ok((shared_root, PathBuf::from(OsStr::from_bytes(beneath))))
}

fn identity(handle: BorrowedFd<'_>) -> std::io::Result<FileId> {
    Ok(stat_at(handle, c"", AtFlags::EMPTY_PATH)?.id)
}

/// The work directory of an unknown runner, when it provably overlaps none of the known ones.
fn elsewhere(
    dir: &ProcessDir,
    handle: &OwnedFd,
    root: &[u8],
    places: Option<&[WorkDirPlace]>,
) -> Result<PathBuf, String> {
    let places = places.ok_or("not all work directories could be located to compare with")?;
    let settings = read_beneath(handle.as_fd(), layout::SETTINGS_FILE, SETTINGS_LIMIT)
        .map_err(|error| format!("its .runner cannot be read: {error}"))?;
    let settings = settings::parse(&settings).map_err(|error| error.to_string())?;
    let work_folder = settings.work_folder.ok_or("its .runner names no work directory")?;
    let (shared_root, beneath) = enter(dir, root).map_err(|error| error.to_string())?;
    let work = open_in_root(shared_root.as_fd(), &beneath.join(&work_folder))
        .map_err(|error| format!("its work directory {work_folder:?} cannot be opened: {error}"))?;
    let status = stat_at(work.as_fd(), c"", AtFlags::EMPTY_PATH).map_err(|error| error.to_string())?;
    let text = place_of(work.as_fd()).map_err(|error| error.to_string())?;

    let mut buffer = link_buffer();
    let process_root = dir.link(c"root", &mut buffer).map_err(|error| error.to_string())?;
    let mut mountinfo = Vec::new();
    dir.read(c"mountinfo", 64 << 20, &mut mountinfo).map_err(|error| error.to_string())?;
    let mounts = mountinfo::parse(&mountinfo).ok_or("its mountinfo cannot be parsed")?;
    let (device, in_filesystem) = mounts
        .into_iter()
        .find(|mount| mount.id == status.mount_id)
        .and_then(|mut mount| {
            mount.point = join(process_root, below(&mount.point, b"/")?).into();
            place_by(&mount, &text)
        })
        .ok_or("the mount of its work directory is not listed")?;
    if places.iter().all(|place| place.is_apart_from(device, &in_filesystem)) {
        Ok(PathBuf::from(OsStr::from_bytes(&text)))
    } else {
        Err("its work directory overlaps another runner's".to_owned())
    }
}

/// Whether every existing work directory has been placed.
pub(super) fn all_placed<'p>(places: &'p [WorkDirPlace], runners: &[Runner]) -> Option<&'p [WorkDirPlace]> {
    let present = runners.iter().filter(|runner| matches!(runner.work, Work::Present(_))).count();
    (places.len() == present).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_is_identified_by_the_directory_of_its_executable() {
        for (exe, root) in [
            ("/r/bin/Runner.Worker", Some("/r")),
            ("/r/bin.2.336.0/Runner.Worker", Some("/r")),
            ("/r/bin.2.336.0/Runner.Worker (deleted)", Some("/r")),
            ("/bin/Runner.Worker", Some("/")),
            ("/r/a (deleted)/bin/Runner.Worker", Some("/r/a (deleted)")),
            ("/r/sbin/Runner.Worker", None),
            ("/r/bin/xRunner.Worker", None),
            ("/r/bin/Runner.Worker2", None),
            ("/usr/bin/qemu-aarch64", None),
            ("Runner.Worker", None),
            ("", None),
        ] {
            assert_eq!(implied_root(exe.as_bytes(), WORKER), root.map(str::as_bytes), "{exe}");
        }
    }
}
