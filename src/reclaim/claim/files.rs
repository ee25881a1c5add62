//! Claiming some entries of a directory: each by a rename of its own, all into one slot.
//!
//! Members of one group (a cargo unit) are moved in the order in which they are listed, the fingerprint first, and moved back in the
//! reverse order, the fingerprint last. A run that ends anywhere between leaves artefacts without a fingerprint, which cargo builds again,
//! and never a fingerprint without its output, with which cargo would fail.

#![expect(clippy::disallowed_methods, reason = "this is where renaming belongs")]

use super::{CacheEntry, Claim, Claimed, Restored};
use crate::model::{Evidence, EvidenceKind, Member, MemberKind, Part, TrimPart, Weight};
use crate::reclaim::trash::{Slot, discard};
use crate::reclaim::trash_claim::TrashClaim;
use crate::sys::dir::{Dir, Status};
use crate::sys::flock::{Probe, probe};
use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::{fmt, io};

/// The maximum of directories with members of one claim: each is an open file until the claim is over.
const MAX_HOLDERS: usize = 256;

/// An entry in a slot, and its original place.
pub(super) struct Moved<'m> {
    pub(super) place: CacheEntry,
    pub(super) member: &'m Member,
    pub(super) slot_name: OsString,
}

/// The members of a claim that lie in its slot, and the locks that are held until it is settled.
pub(super) struct Members<'m> {
    moved: Vec<Moved<'m>>,
    /// Files that others lock while they use these entries.
    _held: Vec<File>,
}

impl<'m> Members<'m> {
    /// Renames some entries of the directory, each by a rename of its own into one slot. An entry that does not match the plan is kept or
    /// moved back, and so are the later ones of its group; the others are moved.
    pub(super) fn take(dir: &Dir, slot: &Slot, part: &'m Part) -> Result<Self, Claim> {
        let (members, locks): (&[Member], &[PathBuf]) = match part {
            Part::Files(members) => (members, &[]),
            Part::Units(trim) => (&trim.members, &trim.locks),
            Part::Whole => (&[], &[]),
        };
        let held = hold(dir, locks).map_err(|evidence| Claim::Refused(vec![*evidence]))?;
        let mut holders = Holders { dir, open: HashMap::new() };
        let mut moved = Vec::new();
        let mut setback = None;
        let mut is_all_elsewhere = true;
        let mut stopped = HashSet::new();
        for (number, member) in members.iter().enumerate() {
            if member.group.is_some_and(|group| stopped.contains(&group)) {
                continue;
            }
            match move_member(&mut holders, member, slot, number) {
                Ok(entry) => moved.push(entry),
                Err(reason) => {
                    is_all_elsewhere &= matches!(reason, Setback::Elsewhere);
                    setback = Some(reason);
                    stopped.extend(member.group);
                }
            }
        }
        if moved.is_empty() {
            return Err(match setback {
                Some(Setback::Elsewhere) if is_all_elsewhere => Claim::Failed(Errno::XDEV.into()),
                Some(reason) => Claim::Changed(reason.to_string()),
                None => Claim::Changed("there was nothing to claim".to_owned()),
            });
        }
        Ok(Self { moved, _held: held })
    }

    /// Any doubt moves all of them back, as far as possible.
    /// `parent` is what the slot lies in.
    pub(super) fn settle(mut self, parent: Dir, slot: Slot, part: &Part, doubts: Vec<Evidence>) -> Claim {
        if !doubts.is_empty() {
            // An entry that its runner has fenced, or created anew, stays in trash.
            self.moved.reverse();
            self.moved.retain(|entry| matches!(entry.put_back(&slot), Restored::Failed));
            self.moved.reverse();
            if self.moved.is_empty() {
                discard(&parent, &slot.name);
                return Claim::Restored(doubts);
            }
        }
        Claim::Claimed(Claimed {
            part: of_part(part, self.moved.iter().map(|entry| entry.member.clone()).collect()),
            trash_claim: TrashClaim::take(&slot.dir),
            parent,
            name: slot.name,
            slot: None,
        })
    }
}

/// The claimed members of a part.
fn of_part(part: &Part, members: Arc<[Member]>) -> Part {
    match part {
        Part::Whole | Part::Files(_) => Part::Files(members),
        Part::Units(trim) => {
            let units: HashSet<_> = members.iter().filter_map(|member| member.group).collect();
            let bytes = members.iter().map(|member| member.allocated).sum();
            Part::Units(Arc::new(TrimPart { members, units: units.len(), bytes, ..TrimPart::clone(trim) }))
        }
    }
}

/// Locks the files exclusively, without waiting. A file that does not exist is skipped.
fn hold(dir: &Dir, locks: &[PathBuf]) -> Result<Vec<File>, Box<Evidence>> {
    let mut held = Vec::new();
    for below in locks {
        let (weight, why) = match dir.open_file(below).and_then(probe) {
            Ok(Probe::Taken(file)) => {
                held.push(file);
                continue;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Ok(Probe::Held) => (Weight::InUse, "is held".to_owned()),
            Err(error) => (Weight::CannotTell, format!("cannot be tried: {error}")),
        };
        let detail = format!("cargo's lock {} {why}", below.display());
        return Err(Box::new(Evidence::new(EvidenceKind::BuildLock, weight, detail)));
    }
    Ok(held)
}

/// The directories that hold the members, each opened once.
struct Holders<'d> {
    dir: &'d Dir,
    open: HashMap<PathBuf, Rc<Dir>>,
}

impl Holders<'_> {
    fn of(&mut self, member: &Member) -> Result<Rc<Dir>, Setback> {
        if let Some(open) = self.open.get(&member.within) {
            return Ok(Rc::clone(open));
        }
        if self.open.len() >= MAX_HOLDERS {
            return Err(Setback::Other(format!(
                "it is in more than {MAX_HOLDERS} directories: the rest is left to the next run"
            )));
        }
        let within = if member.within.as_os_str().is_empty() { Path::new(".") } else { &member.within };
        let opened = Rc::new(self.dir.descend(within)?);
        self.open.insert(member.within.clone(), Rc::clone(&opened));
        Ok(opened)
    }
}

fn move_member<'m>(
    holders: &mut Holders<'_>,
    member: &'m Member,
    slot: &Slot,
    number: usize,
) -> Result<Moved<'m>, Setback> {
    let within = holders.of(member)?;
    if !is_it(&within.status_of(&member.name)?, member) {
        return Err(Setback::Other(format!("{} is another file by now", member.name.display())));
    }
    let slot_name = OsString::from(number.to_string());
    match renameat_with(&*within, &member.name, &slot.dir, &slot_name, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::XDEV) => return Err(Setback::Elsewhere),
        Err(error) => return Err(io::Error::from(error).into()),
    }
    let place = CacheEntry { parent: within, name: member.name.clone() };
    Moved { place, member, slot_name }.compared(slot)
}

/// Why a member is kept.
pub(super) enum Setback {
    /// Nothing can be renamed from its place to the slot's: another subvolume of btrfs, or another project's quota.
    Elsewhere,
    /// Anything else.
    Other(String),
}

impl From<io::Error> for Setback {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere => io::Error::from(Errno::XDEV).fmt(f),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl Moved<'_> {
    /// Returns it if it matches the plan. An entry that was swapped while it was moved is moved back, or beside the entry in its place.
    pub(super) fn compared(self, slot: &Slot) -> Result<Self, Setback> {
        match slot.dir.status_of(&self.slot_name) {
            Ok(status) if is_it(&status, self.member) => Ok(self),
            _ => {
                let reason = format!("{} was swapped while it was claimed", self.member.name.display());
                Err(Setback::Other(match self.put_back(slot) {
                    Restored::Done => reason,
                    Restored::Failed => self.place.set_aside(&slot.dir, &self.slot_name, &reason),
                }))
            }
        }
    }

    fn put_back(&self, slot: &Slot) -> Restored {
        self.place.put_back(&slot.dir, &self.slot_name, &self.place.name)
    }
}

fn is_it(status: &Status, member: &Member) -> bool {
    let kind = match member.kind {
        MemberKind::File => status.is_file(),
        MemberKind::Directory => status.is_dir(),
    };
    kind && status.id == member.id && status.owner == member.owner
}
