//! A host whose runners lie on an image, how it was at the beginning, and what has to hold of it ever after.

use crate::kit::{self, Call, Fs, Host, Image, MIB, Run, Runner, is_alive};
use crate::soak;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// How long a guard waits for the host lock.
const PATIENCE: &str = "2s";
const HOME: &str = ".disk-guard";

/// What a touch of an entry would change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    inode: u64,
    mode: u32,
    owner: u32,
    /// Of what is no directory: what is made in one, or goes, changes its time, and the entries are looked at instead.
    modified: Option<i64>,
    content: u64,
}

type Listing = BTreeMap<PathBuf, Entry>;

fn list(top: &Path, below: &Path, listing: &mut Listing) {
    for entry in std::fs::read_dir(top.join(below)).into_iter().flatten().flatten() {
        let (path, below) = (entry.path(), below.join(entry.file_name()));
        let Ok(now) = path.symlink_metadata() else { continue };
        let mut content = DefaultHasher::new();
        // The runners' programs are large, and who touches them changes their time.
        if now.is_file() && now.len() < MIB {
            std::fs::read(&path).unwrap_or_default().hash(&mut content);
        }
        let found = Entry {
            inode: now.ino(),
            mode: now.mode(),
            owner: now.uid(),
            modified: (!now.is_dir()).then_some(now.mtime()),
            content: content.finish(),
        };
        listing.insert(below.clone(), found);
        if now.is_dir() {
            list(top, &below, listing);
        }
    }
}

/// What a test's runs are about; below the runners' directory.
#[derive(Debug, Default)]
pub(crate) struct Stake {
    /// What may go, each of it as a whole.
    pub(crate) goes: Vec<PathBuf>,
    /// What may be given back to its runner's user, and is never lost.
    pub(crate) given_back: Vec<PathBuf>,
}

/// What a scene is built on.
pub(crate) struct Ground {
    pub(crate) mib: u64,
    pub(crate) inodes: u64,
    /// High, low and critical.
    pub(crate) watermarks: (u8, u8, u8),
    /// As whom the runners run.
    pub(crate) user: Option<(u32, u32)>,
}

impl Ground {
    /// All that may go is wanted.
    pub(crate) fn pressed() -> Self {
        Self { mib: 28, inodes: 2048, watermarks: (1, 0, 100), user: None }
    }

    /// Nothing is wanted but what is old.
    pub(crate) fn calm() -> Self {
        Self { watermarks: (100, 99, 100), ..Self::pressed() }
    }
}

pub(crate) struct Scene {
    pub(crate) host: Host,
    pub(crate) runner: Runner,
    /// Another, without a cache.
    pub(crate) third: Runner,
    pub(crate) stake: Stake,
    pristine: Image,
    before: Listing,
}

impl Scene {
    /// Everything is wanted, and one cache may go. `None`, and a line that says so, without root.
    pub(crate) fn with_a_cache() -> Option<Self> {
        let ground = Ground { mib: if soak() { 64 } else { 28 }, ..Ground::pressed() };
        Self::of(ground, |runner| {
            let bytes = if soak() { 16 * MIB } else { 4096 };
            Stake { goes: vec![runner.cache("acme/widgets", "target", bytes, 2 * DAY)], ..Stake::default() }
        })
    }

    /// Any other.
    pub(crate) fn of(ground: Ground, plant: impl FnOnce(&Runner) -> Stake) -> Option<Self> {
        if !kit::needs_root("mounts an image of a disk") {
            return None;
        }
        let mut host = Host::new();
        host.configure(|settings| {
            (settings.high, settings.low, settings.critical) = ground.watermarks;
            settings.lock_wait = PATIENCE;
        });
        host.runner_user = ground.user;
        // An image in memory is mounted and copied sooner.
        host.mount(Fs::Tmpfs { mib: if soak() { 512 } else { 192 }, inodes: 64 }, &host.base.join("images"));
        let mut pristine = Image::make(&host.base.join("images/pristine"), ground.mib, ground.inodes);
        pristine.mount(&host.runners());
        let runner = host.runner("actions-runner-1").build();
        // A shell by the Worker's name runs a hook below it.
        use_small_programs(&runner, "/bin/bash");
        // Too young to go: the guard has a reason to look at it and none to touch it.
        let other = host.runner("actions-runner-2").build();
        other.cache("acme/app", "target", 4096, Duration::ZERO);
        use_small_programs(&other, "/bin/true");
        let third = host.runner("actions-runner-3").build();
        use_small_programs(&third, "/bin/bash");
        let stake = plant(&runner);
        let mut before = Listing::new();
        list(&host.runners(), Path::new(""), &mut before);
        // Another's mount namespace may keep it mounted beyond its unmounting here.
        pristine.sync();
        pristine.unmount();
        Some(Self { host, runner, third, stake, pristine, before })
    }

    /// The one that may go.
    pub(crate) fn cache(&self) -> &Path {
        &self.stake.goes[0]
    }

    /// The host as it was at the beginning.
    pub(crate) fn afresh(&self) -> Image {
        self.reboot();
        std::fs::remove_dir_all(self.host.state_dir()).expect("our own directory");
        std::fs::create_dir(self.host.state_dir()).expect("our own directory");
        let mut disk = self.copy_of(&self.pristine, "disk");
        disk.mount(&self.host.runners());
        disk
    }

    pub(crate) fn copy_of(&self, image: &Image, name: &str) -> Image {
        image.copy(&self.host.base.join("images").join(name))
    }

    pub(crate) fn sweep(&self) -> Call {
        self.host.call(&["sweep", "--json"])
    }

    /// The hook of a runner, below a Worker that lives on while [`Scene::keep_workers`] is held.
    pub(crate) fn hook(&self, runner: &Runner) -> Call {
        self.hook_by(runner, &self.host.config())
    }

    fn hook_by(&self, runner: &Runner, config: &Path) -> Call {
        let program = self.host.program();
        let script = format!(
            "{} --config {} hook started; code=$?; while [ -e {} ]; do read -rt 0.01 <>{}; done; exit $code",
            program.display(),
            config.display(),
            self.keeper().display(),
            self.pipe().display(),
        );
        Call {
            program: runner.bin.join("Runner.Worker"),
            arguments: vec!["-c".into(), script.into()],
            user: None,
        }
    }

    /// The same for those beside one that stands still: they wait in vain, but not for long.
    pub(crate) fn impatient_sweep(&self) -> Call {
        let arguments = ["--config".into(), self.impatience().into(), "sweep".into(), "--json".into()];
        Call { arguments: arguments.into(), ..self.sweep() }
    }

    pub(crate) fn impatient_hook(&self, runner: &Runner) -> Call {
        self.hook_by(runner, &self.impatience())
    }

    fn impatience(&self) -> PathBuf {
        let config = std::fs::read_to_string(self.host.config()).expect("our own file");
        let path = self.host.base.join("impatient.toml");
        let impatient = config.replace(&format!("lock_wait = {PATIENCE:?}"), "lock_wait = \"200ms\"");
        assert_ne!(config, impatient);
        std::fs::write(&path, impatient).expect("our own file");
        path
    }

    fn keeper(&self) -> PathBuf {
        self.host.base.join("workers-live")
    }

    /// Nobody writes to it: reading from it is a shell's way to wait.
    fn pipe(&self) -> PathBuf {
        let path = self.host.base.join("silence");
        let _ = nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU);
        path
    }

    /// A Worker whose hook ends from now on lives until this is dropped.
    pub(crate) fn keep_workers(&self) -> KeptWorkers {
        std::fs::write(self.keeper(), "").expect("our own file");
        KeptWorkers(self.keeper())
    }

    /// What lies in memory is gone.
    pub(crate) fn reboot(&self) {
        let run = self.host.run_dir();
        for records in ["leases", "requests", "tickets", "counters"] {
            for entry in std::fs::read_dir(run.join(records)).expect("it is there").flatten() {
                std::fs::remove_file(entry.path()).expect("our own file");
            }
        }
        // The first hook and the first sweep make them: else the next run has fewer boundaries.
        let _ = std::fs::remove_dir_all(run.join("hooks"));
        let _ = std::fs::remove_file(run.join("clock"));
        std::fs::write(self.host.host_lock(), "").expect("our own file");
    }

    /// Nothing is lost and nothing else touched. True when all that may go is in its place.
    #[track_caller]
    pub(crate) fn check(&self, when: &str) -> bool {
        self.look(when).0
    }

    /// The same, and what lies in trash.
    #[track_caller]
    fn look(&self, when: &str) -> (bool, Vec<PathBuf>) {
        let mut now = Listing::new();
        list(&self.host.runners(), Path::new(""), &mut now);
        let is_ours =
            |path: &Path| path.iter().any(|part| part.as_encoded_bytes().starts_with(HOME.as_bytes()));
        let trash: Listing = now.iter().filter(|(path, _)| is_ours(path)).map(own).collect();
        now.retain(|path, _| !is_ours(path));
        let below =
            |path: &PathBuf| path.strip_prefix(self.host.runners()).expect("it lies there").to_owned();
        let mut left = self.before.clone();
        let gone: Vec<PathBuf> = self.stake.goes.iter().filter(|path| !path.exists()).map(below).collect();
        left.retain(|path, _| !gone.iter().any(|gone| path.starts_with(gone)));
        let given_back: Vec<PathBuf> = self.stake.given_back.iter().map(below).collect();
        let is_kept = |path: &PathBuf, was: &Entry| {
            let owner = self.runner.user.map_or(was.owner, |user| user.0);
            let may_be_given_back = given_back.contains(path);
            let is_it = |found: &Entry| {
                found == was || (may_be_given_back && *found == Entry { owner, ..was.clone() })
            };
            // In a repair's hands.
            let trash_claim = || may_be_given_back && trash.values().any(is_it);
            now.get(path).map_or_else(trash_claim, is_it)
        };
        let lost: Vec<_> = left.iter().filter(|(path, was)| !is_kept(path, was)).collect();
        assert!(lost.is_empty(), "{when}: lost or touched: {lost:#?}\nin trash: {trash:#?}");
        let new: Vec<_> = now.keys().filter(|path| !left.contains_key(*path)).collect();
        assert!(new.is_empty(), "{when}: neither in its place nor in trash: {new:#?}");
        let is_furniture = |path: &PathBuf| {
            path.file_name().is_some_and(|name| [HOME, "trash", "spare"].iter().any(|ours| name == *ours))
        };
        (gone.is_empty(), trash.into_keys().filter(|path| !is_furniture(path)).collect())
    }

    /// The next run finishes what the dead have begun.
    #[track_caller]
    pub(crate) fn finish(&self, when: &str) {
        // Strangers on this computer may forbid what is about to be judged.
        let run = loop {
            let run = self.host.guard(&["sweep", "--json"]);
            if !is_disturbed(&run) {
                break run;
            }
            kit::wait_for_strangers();
        };
        let (code, errors) = (run.code, run.stderr());
        // 75 would be a lock that the dead still hold.
        assert!(matches!(code, Some(0 | 20)), "{when}: the next run ends with {code:?}: {errors}");
        let shown = format!("{when}: {:#}", run.report().0);
        let (_, trash) = self.look(&shown);
        assert!(trash.is_empty(), "trash is left: {trash:?}: {shown}");
        let there: Vec<_> = self.stake.goes.iter().filter(|path| path.exists()).collect();
        assert!(there.is_empty(), "it has gone: {there:?}: {shown}");
        let lost: Vec<_> =
            self.stake.given_back.iter().filter(|path| path.symlink_metadata().is_err()).collect();
        assert!(lost.is_empty(), "it is back: {lost:?}: {shown}");
        let leases = self.leases();
        assert!(leases.is_empty(), "leases of the dead: {leases:?}: {shown}");
        // Some have died while they wrote. Their drafts go when they are a minute old, by a clock that no test can set
        // (`drafts_of_dead_processes_are_removed_and_those_of_live_ones_kept_for_a_while`).
        let left = self.host.leases();
        let is_of_the_dead = |draft: &PathBuf| writer_of(draft).is_some_and(|writer| !is_alive(writer));
        assert!(left.iter().all(is_of_the_dead), "no drafts of the dead: {left:?}: {shown}");
    }

    /// Those that are no drafts.
    pub(crate) fn leases(&self) -> Vec<PathBuf> {
        let mut leases = self.host.leases();
        leases
            .retain(|lease| lease.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")));
        leases
    }
}

/// The process that was writing this draft of a lease.
fn writer_of(draft: &Path) -> Option<i32> {
    draft.file_name()?.to_str()?.strip_prefix('.')?.split('-').next()?.parse().ok()
}

fn own((path, entry): (&PathBuf, &Entry)) -> (PathBuf, Entry) {
    (path.clone(), entry.clone())
}

/// Lets the Workers go when it is dropped.
pub(crate) struct KeptWorkers(PathBuf);

impl Drop for KeptWorkers {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether others who use this computer kept a run from seeing that a runner is idle: a process that comes and goes where it
/// cannot be examined.
pub(crate) fn is_disturbed(run: &Run) -> bool {
    let said = run.stdout() + &run.stderr();
    said.contains("cannot be examined") || said.contains("unattributed-worker")
}

/// So that images are small.
fn use_small_programs(runner: &Runner, worker: &str) {
    for (name, program) in [("Runner.Worker", worker), ("Runner.Listener", "/bin/true")] {
        let path = runner.bin.join(name);
        std::fs::remove_file(&path).expect("our own file");
        std::fs::copy(program, &path).expect("a program can be copied");
    }
}
