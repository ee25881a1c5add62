//! A cache: a directory that a rule declares expendable.

use super::{DirGlobs, FileId, Need, PathGlob, Runner, TrimPart, Uid, WorkDir};
use crate::as_json::{self, adapters};
use schemars::JsonSchema;
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How a cache is renamed that could only be claimed within its own parent directory, for lack of an inode.
pub const CLAIMED_BESIDE: &str = ".disk-guard-trash-";

/// The same of a slot that holds several entries of one; it begins like any other.
pub const SLOT_BESIDE: &str = ".disk-guard-trash-slot-";

/// A directory that lies in a runner's work directory, matches a rule and carries the rule's marker; or what a retention
/// rule of our own names in the runner's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Cache {
    /// Absolute, for display.
    #[serde(flatten, with = "as_json::AtPath")]
    pub path: PathBuf,
    /// Where it is claimed from, when that is not the work directory: the runner's own root.
    #[serde(skip)]
    pub base: Option<Arc<WorkDir>>,
    /// Relative to the work directory, or to `base`: what it is opened and claimed by.
    #[serde(skip)]
    pub below_work: PathBuf,
    /// Which part of the directory goes.
    #[serde(skip)]
    pub part: Part,
    /// The rule that declares it.
    pub rule: String,
    /// Its identity when it was found; compared again after the claim.
    #[serde(skip)]
    pub id: FileId,
    /// Who owns it.
    #[serde(skip)]
    pub owner: Uid,
    /// What is in it; `None` when it was not measured.
    #[serde(flatten, with = "AnyMeasure")]
    pub measure: Option<Measure>,
    /// When a job last used its repository; `None` when that is not known.
    #[serde(skip)]
    pub used: Option<SystemTime>,
    /// Its largest files, the largest first, so that deletion can begin with them.
    #[serde(skip)]
    pub largest: Arc<[LargeFile]>,
}

/// Which part of a directory is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Part {
    /// The directory with all that is in it.
    #[default]
    Whole,
    /// These files in it, and nothing else.
    Files(Arc<[Member]>),
    /// Units of a cargo target directory, under cargo's own locks.
    Units(Arc<TrimPart>),
}

/// Which kind of entry a [`Member`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// A directory with all that is in it.
    Directory,
}

/// One entry of a directory of which a part goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// File or directory.
    pub kind: MemberKind,
    /// Members of one group go together: when one of them is not what was planned, those after it stay. `None`: it stands alone.
    pub group: Option<u32>,
    /// The directory that holds it, relative to the cache's; empty for the cache itself.
    pub within: PathBuf,
    /// Its name there.
    pub name: OsString,
    /// Its identity when it was found; compared again after the claim.
    pub id: FileId,
    /// Who owns it.
    pub owner: Uid,
    /// Allocated bytes.
    pub allocated: u64,
}

impl Cache {
    /// What its removal gives back.
    pub fn yields(&self) -> Need {
        if let Part::Units(trim) = &self.part {
            return Need { bytes: trim.bytes, inodes: 0 };
        }
        let measure = self.measure;
        Need { bytes: measure.map_or(0, |m| m.bytes), inodes: measure.map_or(0, |m| m.files + m.directories) }
    }

    /// What goes, path by path: itself, or those of its files that are meant.
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

    /// The directory that it is claimed from, whose trash takes it.
    pub fn base<'a>(&'a self, runner: &'a Runner) -> Option<&'a WorkDir> {
        self.base.as_deref().or_else(|| runner.work_dir())
    }

    /// The directory under the work directory that the runner made for one repository (`_work/<this>/...`).
    pub fn repository_dir(&self) -> &Path {
        self.below_work.components().next().map(|c| Path::new(c.as_os_str())).unwrap_or(Path::new(""))
    }

    /// From when its coldness is counted: the last job that used its repository, else its newest content.
    pub fn warm_at(&self) -> Option<SystemTime> {
        self.used.or_else(|| self.measure?.newest)
    }

    /// From when its age is counted: the last job, or content that is newer.
    pub fn touched_at(&self) -> Option<SystemTime> {
        self.used.max(self.measure.and_then(|measure| measure.newest))
    }

    /// Bytes it holds as far as is known.
    pub fn bytes(&self) -> u64 {
        if let Part::Units(trim) = &self.part {
            return trim.bytes;
        }
        self.measure.as_ref().map_or(0, |m| m.bytes)
    }
}

/// What a walk over a tree found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Allocated bytes (512 x `st_blocks`) that its removal gives back: an inode of several names counts when all of them lie
    /// inside. A sparse file counts what it holds.
    pub bytes: u64,
    /// Entries that are not directories.
    pub files: u64,
    /// Directories, the tree's own root included.
    pub directories: u64,
    /// The youngest modification time of anything but a directory; `None` when there is nothing.
    pub newest: Option<SystemTime>,
    /// Whether all of it was seen.
    pub coverage: Coverage,
}

/// A file worth deleting before the others, because it holds much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeFile {
    /// Relative to the tree's root.
    pub below: PathBuf,
    /// Allocated bytes. A file with several names is listed under each, with all its bytes: they are free only when the
    /// last name is gone.
    pub allocated: u64,
}

/// Whether a walk saw all of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// All of it.
    Whole,
    /// All of it, then; no directory has changed since. Files that have grown in place are not seen: a lower bound. Only what shows
    /// sizes has it, never a run that acts.
    Remembered {
        /// When it was seen.
        since: SystemTime,
    },
    /// Something could not be read, lay behind a mount, or was nested too deep: the figures are lower bounds and
    /// `newest` proves nothing.
    Part,
}

/// What may go: one `[[cache]]` of the configuration, validated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheRule {
    /// For people, metrics and the journal.
    pub name: String,
    /// Directory names.
    pub dirs: DirGlobs,
    /// At most this far below a checkout (`_work/<repository>/<checkout>`).
    pub depth: usize,
    /// Files or directories, of which one must lie in the directory, or beside it (`../NAME`).
    pub markers: Vec<String>,
    /// Whether cargo's own tag, with a build lock of cargo's, declares a directory under any name.
    pub by_cargos_tag: bool,
    /// Directories outside of work directories. Such a rule has no `dirs`.
    pub roots: Vec<PathGlob>,
    /// To whom those have to belong; `None` = to root, or to the user of a runner.
    pub owner: Option<String>,
    /// Which runners may use those: globs over their names.
    pub runners: Vec<glob::Pattern>,
    /// A sweep removes idle ones older than this; `None` = never.
    pub max_age: Option<Duration>,
    /// A sweep removes idle ones larger than this many bytes; `None` = no cap.
    pub max_size: Option<u64>,
    /// Whether what no build uses is taken out of it before it goes whole, as cargo lays out target directories.
    pub trims: bool,
    /// A sweep takes out what no build has used for so long; `None` = only under pressure.
    pub stale: Option<Duration>,
}

/// What of a runner's own things may go when its time is over, as cache rules of their own. They have no marker, so what they
/// match is fixed, by place, name and type; nothing of it is configurable but the age.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Logs in `_diag`; `None` = kept for ever.
    pub logs: Option<Duration>,
    /// `_work/_temp` of an unfinished job.
    pub temp: Option<Duration>,
    /// `bin.X` and `externals.X` that the runner no longer uses.
    pub versions: Option<Duration>,
    /// Repositories that no job has used for so long; `None` = kept for ever.
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

    /// Each rule that is in force, by its name and age.
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

/// A measure in JSON. What was not measured is null; `complete` is false when `bytes` and `files` are lower bounds.
#[derive(Serialize, JsonSchema)]
struct MeasureFields {
    bytes: Option<u64>,
    files: Option<u64>,
    #[serde(with = "as_json::OptionalTime")]
    newest: Option<SystemTime>,
    complete: bool,
    /// When it was measured, where that is remembered from an earlier look.
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
