//! A cache: a directory that a rule declares expendable.

use super::{DirGlobs, FileId, Need, PathGlob, Runner, TrimPart, Uid, WorkDir};
use crate::as_json::{self, adapters};
use schemars::JsonSchema;
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Prefix of the name of a cache that was claimed within its own parent directory, because there was no inode for a slot.
pub const CLAIMED_BESIDE: &str = ".disk-guard-trash-";

/// Prefix of the name of a slot beside a cache, for several entries of it. It begins with the prefix above.
pub const SLOT_BESIDE: &str = ".disk-guard-trash-slot-";

/// A directory in a runner's work directory that matches a rule and carries its marker, or files in a runner's directory that a built-in
/// retention rule matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Cache {
    /// Absolute, for display.
    #[serde(flatten, with = "as_json::AtPath")]
    pub path: PathBuf,
    /// The directory that it is claimed from, if that is not the work directory.
    #[serde(skip)]
    pub base: Option<Arc<WorkDir>>,
    /// Path relative to the work directory, or to `base`. It is opened and claimed by this path.
    #[serde(skip)]
    pub below_work: PathBuf,
    /// The part of the directory that is removed.
    #[serde(skip)]
    pub part: Part,
    /// The rule that declares it.
    pub rule: String,
    /// Its identity when it was found; compared again after the claim.
    #[serde(skip)]
    pub id: FileId,
    /// Its owner.
    #[serde(skip)]
    pub owner: Uid,
    /// Its size; `None` if it was not measured.
    #[serde(flatten, with = "AnyMeasure")]
    pub measure: Option<Measure>,
    /// When a job last used its repository; `None` if unknown.
    #[serde(skip)]
    pub used: Option<SystemTime>,
    /// Its largest files, the largest first, so that deletion can begin with them.
    #[serde(skip)]
    pub largest: Arc<[LargeFile]>,
}

/// Which part of a directory is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Part {
    /// The directory with all its content.
    #[default]
    Whole,
    /// Only these entries of it.
    Files(Arc<[Member]>),
    /// Units of a cargo target directory, under cargo's own locks.
    Units(Arc<TrimPart>),
}

/// The kind of a [`Member`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// A directory with all its content.
    Directory,
}

/// One entry of a directory that is removed in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// File or directory.
    pub kind: MemberKind,
    /// Members of one group are removed together, in order: if one differs from the plan, those after it are kept. `None`: no group.
    pub group: Option<u32>,
    /// The directory that holds it, relative to the cache's; empty for the cache itself.
    pub within: PathBuf,
    /// Its name there.
    pub name: OsString,
    /// Its identity when it was found; compared again after the claim.
    pub id: FileId,
    /// Its owner.
    pub owner: Uid,
    /// Allocated bytes.
    pub allocated: u64,
}

impl Cache {
    /// What its removal frees.
    pub fn yields(&self) -> Need {
        if let Part::Units(trim) = &self.part {
            return Need { bytes: trim.bytes, inodes: 0 };
        }
        let measure = self.measure;
        Need { bytes: measure.map_or(0, |m| m.bytes), inodes: measure.map_or(0, |m| m.files + m.directories) }
    }

    /// The removed paths, each with its bytes if known: the directory itself, or those of its entries that are meant.
    pub fn parts(&self) -> Vec<(PathBuf, Option<u64>)> {
        match &self.part {
            Part::Whole => vec![(self.path.clone(), self.measure.map(|measure| measure.bytes))],
            Part::Files(members) => members
                .iter()
                .map(|member| (self.path.join(&member.within).join(&member.name), Some(member.allocated)))
                .collect(),
            Part::Units(trim) => vec![(self.path.clone(), Some(trim.bytes))],
        }
    }

    /// The directory that it is claimed from and whose trash receives it.
    pub fn base<'a>(&'a self, runner: &'a Runner) -> Option<&'a WorkDir> {
        self.base.as_deref().or_else(|| runner.work_dir())
    }

    /// The directory under the work directory that the runner made for one repository (`_work/<this>/...`).
    pub fn repository_dir(&self) -> &Path {
        self.below_work.components().next().map(|c| Path::new(c.as_os_str())).unwrap_or(Path::new(""))
    }

    /// The time from which its coldness counts: the last job that used its repository, or else its newest content.
    pub fn warm_at(&self) -> Option<SystemTime> {
        self.used.or_else(|| self.measure?.newest)
    }

    /// The time from which its age counts: the last job that used its repository, or newer content.
    pub fn touched_at(&self) -> Option<SystemTime> {
        self.used.max(self.measure.and_then(|measure| measure.newest))
    }

    /// Its known bytes; 0 if it was not measured.
    pub fn bytes(&self) -> u64 {
        if let Part::Units(trim) = &self.part {
            return trim.bytes;
        }
        self.measure.as_ref().map_or(0, |m| m.bytes)
    }
}

/// The result of a walk over a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Allocated bytes (512 x `st_blocks`) that its removal frees. An inode with several names counts if all of them are inside. A sparse
    /// file counts with its allocated bytes.
    pub bytes: u64,
    /// Entries that are not directories.
    pub files: u64,
    /// Directories, the tree's own root included.
    pub directories: u64,
    /// The newest modification time of an entry that is not a directory; `None` if there is none.
    pub newest: Option<SystemTime>,
    /// Whether the whole tree was seen.
    pub coverage: Coverage,
}

/// A large file, which is deleted before the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeFile {
    /// Relative to the tree's root.
    pub below: PathBuf,
    /// Allocated bytes. A file with several names is listed under each with all its bytes, which are free only when the last name is
    /// removed.
    pub allocated: u64,
}

/// Whether a walk saw all of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// All of it.
    Whole,
    /// The whole tree was seen earlier, and no directory has changed since. Files may have grown in place, so the figures are lower bounds.
    /// Only verbs that show sizes use this, never a run that deletes.
    Remembered {
        /// The time of that earlier walk.
        since: SystemTime,
    },
    /// Something could not be read, was on another mount, or was nested too deep: the figures are lower bounds, and `newest` proves
    /// nothing.
    Part,
}

/// One `[[cache]]` of the configuration, validated: what may be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheRule {
    /// For people, metrics and the journal.
    pub name: String,
    /// Directory names.
    pub dirs: DirGlobs,
    /// At most this far below a checkout (`_work/<repository>/<checkout>`).
    pub depth: usize,
    /// Files or directories, one of which must be in the directory, or next to it (`../NAME`).
    pub markers: Vec<String>,
    /// Whether a directory of any name counts that cargo has tagged and that contains cargo's build lock.
    pub by_cargos_tag: bool,
    /// Directories outside of work directories. Such a rule has no `dirs`.
    pub roots: Vec<PathGlob>,
    /// Their required owner; `None`: root or the user of a runner.
    pub owner: Option<String>,
    /// Globs over the names of runners that may use them.
    pub runners: Vec<glob::Pattern>,
    /// A sweep removes idle caches older than this; `None`: never.
    pub max_age: Option<Duration>,
    /// A sweep removes idle caches larger than this, in bytes; `None`: no limit.
    pub max_size: Option<u64>,
    /// Whether unused units of a cargo target directory are removed before the whole directory.
    pub trims: bool,
    /// A sweep removes units that no build has used for this long; `None`: only under pressure.
    pub stale: Option<Duration>,
}

/// The ages after which a runner's own files may be removed, each a cache rule of its own. These files have no marker, so the matches are
/// fixed by place, name and type; only the age can be configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Logs in `_diag`; `None`: kept for ever.
    pub logs: Option<Duration>,
    /// `_work/_temp` of an unfinished job.
    pub temp: Option<Duration>,
    /// `bin.X` and `externals.X` that the runner no longer uses.
    pub versions: Option<Duration>,
    /// Repositories that no job has used for this long; `None`: kept for ever.
    pub checkouts: Option<Duration>,
}

impl Retention {
    /// The rule for logs.
    pub const LOGS: &str = "runner-logs";
    /// The rule for leftovers of jobs.
    pub const TEMP: &str = "job-temp";
    /// The rule for old versions.
    pub const VERSIONS: &str = "old-versions";
    /// The rule for repositories that no job has used for long.
    pub const CHECKOUTS: &str = "stale-checkout";
    /// Names that no configured rule may have.
    pub const NAMES: [&str; 4] = [Self::LOGS, Self::TEMP, Self::VERSIONS, Self::CHECKOUTS];

    /// Each enabled rule, by its name and age.
    pub fn in_force(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let all = [
            (Self::LOGS, self.logs),
            (Self::TEMP, self.temp),
            (Self::VERSIONS, self.versions),
            (Self::CHECKOUTS, self.checkouts),
        ];
        all.into_iter().filter_map(|(name, age)| Some((name, age?)))
    }
}

/// A measure in JSON. Unmeasured values are null; `complete` is false if `bytes` and `files` are lower bounds.
#[derive(Serialize, JsonSchema)]
struct MeasureFields {
    bytes: Option<u64>,
    files: Option<u64>,
    #[serde(with = "as_json::OptionalTime")]
    newest: Option<SystemTime>,
    complete: bool,
    /// When it was measured, if the size is from an earlier look.
    #[serde(skip_serializing_if = "Option::is_none", with = "as_json::OptionalTime")]
    measured: Option<SystemTime>,
}

adapters! {
    /// A measure, if there is one.
    AnyMeasure: Option<Measure> => MeasureFields, |measure| MeasureFields {
        bytes: measure.map(|m| m.bytes),
        files: measure.map(|m| m.files),
        newest: measure.and_then(|m| m.newest),
        complete: measure.is_some_and(|m| m.coverage == Coverage::Whole),
        measured: measure.and_then(|m| match m.coverage {
            Coverage::Remembered { since } => Some(since),
            Coverage::Whole | Coverage::Part => None,
        }),
    };
}
