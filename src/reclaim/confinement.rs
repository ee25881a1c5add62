//! Kernel confinement of deletion: the thread that deletes, and every thread that it starts, can remove, rename and write nothing outside
//! the work directories, whatever handle it has (Landlock, landlock(7)).
//!
//! Handles already keep deletion inside a tree. Landlock is the second line of defence, for a defect in this program, or a directory that
//! its owner has moved out of the work directory while it is emptied.
//!
//! # Why a separate thread
//!
//! A Landlock domain belongs to a thread, is inherited by the threads that it starts, and can never be left again. It also forbids reading
//! `/proc/PID/cwd` of processes outside of it, without which no runner can be proved idle. So the thread that looks and claims stays
//! unconfined, and each deletion runs on a new thread. The domain costs two system calls for each tree and none for each entry; a hook
//! that deletes nothing makes none of them.
//!
//! # Without Landlock
//!
//! Kernels before 5.19 and those without Landlock in their `lsm=` list delete by handles alone: [`Confinement::lack`] returns the reason.
//! (The first ABI, of 5.13, forbids every rename to another directory, which deep trees need.) If Landlock is available but the thread
//! cannot be started or confined, nothing is deleted: the tree stays in trash, for the next run.

use super::remove_tree::{RemovalExtent, RemoveError, RemoveOptions, Tree, remove_largest, remove_tree};
use crate::model::LargeFile;
use crate::sys::ability;
use crate::sys::dir::Dir;
use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, make_bitflags,
};
use rustix::process::{getpriority_process, setpriority_process};
use std::borrow::Borrow;
use std::ffi::OsStr;
use std::io;

/// The oldest Landlock ABI that can confine deletion: it can allow renames to another directory.
pub const LEAST_ABI: u32 = 2;

/// The rights that deletion needs beneath a work directory; the last two for directories that are renamed up.
const NEEDED: BitFlags<AccessFs> = make_bitflags!(AccessFs::{RemoveFile | RemoveDir | Refer | MakeDir});

/// The directories beneath which deletion is allowed.
#[derive(Debug)]
pub struct Confinement(Result<RulesetCreated, String>);

impl Confinement {
    /// Allows deletion beneath `works` and nowhere else.
    pub fn to<D: Borrow<Dir>>(works: impl IntoIterator<Item = D>) -> Self {
        Self::by(ability::landlock_abi(), works)
    }

    fn by<D: Borrow<Dir>>(abi: io::Result<u32>, works: impl IntoIterator<Item = D>) -> Self {
        match abi {
            Ok(abi) if abi >= LEAST_ABI => {
                Self(rules(works).map_err(|error| format!("Landlock accepts no rules: {error}")))
            }
            Ok(abi) => Self(Err(format!("Landlock ABI {abi} is older than {LEAST_ABI} (Linux 5.19)"))),
            Err(error) => Self(Err(format!("Landlock is not available: {error}"))),
        }
    }

    /// Why deletion is confined by handles alone; `None` when the kernel confines it too.
    pub fn lack(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }

    /// Deletes one tree, `name` in `parent`, under confinement. A tree whose deletion has not begun stays whole.
    pub fn delete(
        &self,
        (parent, name): (&Dir, &OsStr),
        largest: &[LargeFile],
        options: &RemoveOptions<'_>,
    ) -> RemovalExtent {
        match self.run(|| remove_tree(parent, name, largest, options)) {
            Ok(removal) => removal.extent,
            Err(source) => RemovalExtent::Part { first: RemoveError::Unconfined { source }, errors: 1 },
        }
    }

    /// Deletes the largest files of several trees under confinement; the rest is left to [`Confinement::delete`].
    pub fn delete_largest(&self, trees: &[Tree<'_>], options: &RemoveOptions<'_>) {
        // If no thread can be confined nothing is deleted, and that is reported for each tree.
        let _ = self.run(|| remove_largest(trees, options));
    }

    /// Runs `deletion` on a thread that is confined, to its end.
    ///
    /// # Errors
    /// When that thread cannot be started or confined: then nothing has been run.
    pub fn run<T: Send>(&self, deletion: impl FnOnce() -> T + Send) -> io::Result<T> {
        let Ok(rules) = &self.0 else { return Ok(deletion()) };
        let rules = rules.try_clone()?;
        std::thread::scope(|scope| {
            let confined = move || {
                give_way();
                rules.restrict_self().map_err(io::Error::other).map(|_| deletion())
            };
            let thread = std::thread::Builder::new().name("delete".into()).spawn_scoped(scope, confined)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Gives this thread, and those that it starts, the lowest priority, if the process has a low one: that of a timer. Nobody waits for what
/// it deletes, and builds have the cores. The thread that claims keeps its own, because others wait for its lock.
fn give_way() {
    const LOWEST: i32 = 19;
    if getpriority_process(None).is_ok_and(|priority| priority > 0) {
        // Of a deletion that keeps its priority builds are slower, no more.
        let _ = setpriority_process(None, LOWEST);
    }
}

/// Every kind of write that this kernel knows is forbidden; what deletion needs is allowed beneath `works`.
fn rules<D: Borrow<Dir>>(works: impl IntoIterator<Item = D>) -> Result<RulesetCreated, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(NEEDED)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_write(ABI::V5))?
        .create()?;
    for work in works {
        rules = rules.add_rule(PathBeneath::new(work.borrow(), NEEDED))?;
    }
    Ok(rules)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "what is renamed here is the test's own")]
mod tests {
    use super::*;
    use crate::reclaim::remove_tree::{Progress, Removal, RemovalExtent, RemoveOptions, remove_tree};
    use crate::sys::testing::handle;
    use std::ffi::OsStr;
    use std::fs;
    use std::path::Path;

    /// Otherwise every test here could be skipped unnoticed.
    #[test]
    fn supported_confinement_is_applied_and_missing_support_is_reported() {
        let temp = tempfile::tempdir().unwrap();
        let lack = |abi| Confinement::by(abi, [handle(temp.path())]).lack().map(str::to_owned);
        for old in [0, LEAST_ABI - 1] {
            assert_eq!(lack(Ok(old)).unwrap(), format!("Landlock ABI {old} is older than 2 (Linux 5.19)"));
        }
        assert!(
            lack(Err(io::ErrorKind::Unsupported.into())).unwrap().starts_with("Landlock is not available")
        );
        let can = ability::landlock_abi().is_ok_and(|abi| abi >= LEAST_ABI);
        assert_eq!(Confinement::to([handle(temp.path())]).lack().is_none(), can);
    }

    struct Scene {
        temp: tempfile::TempDir,
        confinement: Confinement,
    }

    /// Two work directories that are named to the confinement, and one directory that is not; a tree in each.
    fn scene() -> Option<Scene> {
        let temp = tempfile::tempdir().unwrap();
        for place in ["one", "two", "outside"] {
            fs::create_dir_all(temp.path().join(place).join("tree/a/b")).unwrap();
            fs::write(temp.path().join(place).join("tree/a/file"), "content").unwrap();
        }
        let works = ["one", "two"].map(|name| handle(&temp.path().join(name)));
        let confinement = Confinement::to(&works);
        if let Some(lack) = confinement.lack() {
            eprintln!("skipped: {lack}");
            return None;
        }
        Some(Scene { temp, confinement })
    }

    fn delete(parent: &Dir, name: &str) -> Removal {
        let progress = Progress::default();
        let options = RemoveOptions { threads: 2, deadline: None, enough: None, progress: &progress };
        remove_tree(parent, OsStr::new(name), &[], &options)
    }

    impl Scene {
        fn at(&self, place: &str) -> Dir {
            handle(&self.temp.path().join(place))
        }

        fn holds(&self, file: impl AsRef<Path>) -> bool {
            fs::read_to_string(self.temp.path().join(file)).is_ok_and(|text| text == "content")
        }
    }

    #[test]
    fn a_wrong_handle_is_refused_and_reported_and_a_right_one_removes() {
        let Some(scene) = scene() else { return };
        let wrong = scene.at("outside");
        let removal = scene.confinement.run(|| delete(&wrong, "tree")).unwrap();
        assert_eq!((removal.files, removal.directories), (0, 0), "{removal:?}");
        let RemovalExtent::Part { first, .. } = removal.extent else {
            panic!("it has to say that it could not")
        };
        let why = first.explained();
        assert!(why.starts_with("cannot unlink tree/a/file: Permission denied"), "{why}");
        assert!(scene.holds("outside/tree/a/file"));

        for right in ["one", "two"] {
            let parent = scene.at(right);
            let removal = scene.confinement.run(|| delete(&parent, "tree")).unwrap();
            assert!(matches!(removal.extent, RemovalExtent::Whole), "{right}: {removal:?}");
            assert!(!scene.temp.path().join(right).join("tree").exists());
        }
        // This thread was not confined: it deletes what the confined one could not.
        assert!(matches!(delete(&wrong, "tree").extent, RemovalExtent::Whole));
    }

    /// On a thread of its own, for the test's own priority cannot be raised again.
    #[test]
    fn a_deletion_of_a_background_process_has_the_lowest_priority_and_any_other_keeps_its_own() {
        let Some(scene) = scene() else { return };
        let of_deletion =
            |scene: &Scene| scene.confinement.run(|| getpriority_process(None).unwrap()).unwrap();
        let usual = getpriority_process(None).unwrap();
        std::thread::scope(|scope| {
            let in_thread = scope.spawn(|| {
                assert_eq!(of_deletion(&scene), if usual > 0 { 19 } else { usual });
                let low = usual.max(5);
                setpriority_process(None, low).unwrap();
                assert_eq!(of_deletion(&scene), 19);
                assert_eq!(getpriority_process(None).unwrap(), low, "who claims keeps its own");
            });
            in_thread.join().unwrap();
        });
    }

    /// The handle is right, and its owner moves the directory behind it out of the work directory.
    #[test]
    fn a_tree_moved_out_during_its_deletion_is_left_alone() {
        let Some(scene) = scene() else { return };
        let inside = scene.at("one/tree");
        fs::rename(scene.temp.path().join("one/tree"), scene.temp.path().join("escaped")).unwrap();
        let removal = scene.confinement.run(|| delete(&inside, "a")).unwrap();
        assert!(matches!(removal.extent, RemovalExtent::Part { .. }), "{removal:?}");
        assert!(scene.holds("escaped/a/file"));
        fs::rename(scene.temp.path().join("escaped"), scene.temp.path().join("two/back")).unwrap();
        let removal = scene.confinement.run(|| delete(&inside, "a")).unwrap();
        assert!(matches!(removal.extent, RemovalExtent::Whole), "back inside, it goes: {removal:?}");
    }

    #[test]
    fn nothing_else_is_written_either_and_nesting_beyond_the_handles_is_still_deleted() {
        let Some(scene) = scene() else { return };
        crate::sys::testing::nest(&scene.temp.path().join("one/tree"), 3000, 1);
        let (base, parent) = (scene.temp.path().to_owned(), scene.at("one"));
        let (refused, removal) = scene
            .confinement
            .run(move || {
                let refused = [
                    fs::write(base.join("outside/new"), "x").is_err(),
                    fs::write(base.join("outside/tree/a/file"), "x").is_err(),
                    fs::rename(base.join("outside/tree"), base.join("one/stolen")).is_err(),
                    fs::rename(base.join("two/tree"), base.join("outside/smuggled")).is_err(),
                    fs::write(base.join("one/new"), "x").is_err(),
                ];
                (refused, delete(&parent, "tree"))
            })
            .unwrap();
        assert_eq!(refused, [true; 5]);
        assert!(matches!(removal.extent, RemovalExtent::Whole), "{removal:?}");
        assert!(scene.holds("outside/tree/a/file") && scene.holds("two/tree/a/file"));
    }
}
