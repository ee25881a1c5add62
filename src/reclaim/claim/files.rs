//! Claiming some files of a directory: each by a rename of its own, all into one slot.

#![expect(clippy::disallowed_methods, reason = "this is where renaming belongs")]

use super::{Claim, Claimed, Doubt, Moment, Place, PutBack};
use crate::model::{Member, Part, Uid};
use crate::reclaim::in_hand::InHand;
use crate::reclaim::trash::{Slot, Trash};
use crate::sys::dir::{Dir, Status};
use rustix::fs::{RenameFlags, renameat_with};
use std::ffi::OsString;
use std::path::Path;

/// A file that lies in a slot, and where it came from.
pub(super) struct Moved<'m> {
    pub(super) place: Place,
    pub(super) member: &'m Member,
    pub(super) slot_name: OsString,
}

impl Place {
    /// Claims some files of the directory, each by a rename of its own into one slot. One that is not what was planned stays,
    /// or is put back, and the others go on; any doubt puts all of them back that can be.
    pub(super) fn take_files(
        &self,
        base: &Dir,
        owner: Uid,
        members: &[Member],
        doubt: &mut Doubt<'_>,
    ) -> Claim {
        let dir = match self.parent.descend(&self.name) {
            Ok(dir) => dir,
            Err(error) => return Claim::Changed(error.to_string()),
        };
        let (trash, slot) = match Trash::open_or_make(base, owner).and_then(|t| Ok((t.make_slot()?, t))) {
            Ok((slot, trash)) => (trash, slot),
            Err(error) => return Claim::Failed(error),
        };
        let doubts = doubt(Moment::Before);
        if !doubts.is_empty() {
            trash.discard(&slot.name);
            return Claim::Refused(doubts);
        }
        let mut moved = Vec::new();
        let mut setback = None;
        for (number, member) in members.iter().enumerate() {
            match move_file(&dir, member, &slot, number) {
                Ok(file) => moved.push(file),
                Err(reason) => setback = Some(reason),
            }
        }
        let doubts = if moved.is_empty() { Vec::new() } else { doubt(Moment::After(&slot.dir)) };
        if !doubts.is_empty() {
            // One that its runner has fenced off, or made anew in its place, is trash for good.
            moved.retain(|file| matches!(file.put_back(&slot), PutBack::Failed));
            if moved.is_empty() {
                trash.discard(&slot.name);
                return Claim::Restored(doubts);
            }
        }
        if moved.is_empty() {
            trash.discard(&slot.name);
            return Claim::Changed(setback.unwrap_or_else(|| "there was nothing to claim".to_owned()));
        }
        Claim::Claimed(Claimed {
            part: Part::Files(moved.iter().map(|file| file.member.clone()).collect()),
            in_hand: InHand::take(&slot.dir),
            parent: trash.into_dir(),
            name: slot.name,
            slot: None,
        })
    }
}

fn move_file<'m>(dir: &Dir, member: &'m Member, slot: &Slot, number: usize) -> Result<Moved<'m>, String> {
    let within = if member.within.as_os_str().is_empty() { Path::new(".") } else { &member.within };
    let within = dir.descend(within).map_err(|error| error.to_string())?;
    match within.status_of(&member.name) {
        Ok(status) if is_it(&status, member) => {}
        Ok(_) => return Err(format!("{} is another file by now", member.name.display())),
        Err(error) => return Err(error.to_string()),
    }
    let slot_name = OsString::from(number.to_string());
    renameat_with(&within, &member.name, &slot.dir, &slot_name, RenameFlags::NOREPLACE)
        .map_err(|error| error.to_string())?;
    let place = Place { parent: within, name: member.name.clone() };
    Moved { place, member, slot_name }.compared(slot)
}

impl Moved<'_> {
    /// Itself when it is what was planned. What was swapped while it was moved goes back, or beside what has its place by now.
    pub(super) fn compared(self, slot: &Slot) -> Result<Self, String> {
        match slot.dir.status_of(&self.slot_name) {
            Ok(status) if is_it(&status, self.member) => Ok(self),
            _ => {
                let reason = format!("{} was swapped while it was claimed", self.member.name.display());
                Err(match self.put_back(slot) {
                    PutBack::Done => reason,
                    PutBack::Failed => self.place.set_aside(&slot.dir, &self.slot_name, &reason),
                })
            }
        }
    }

    fn put_back(&self, slot: &Slot) -> PutBack {
        self.place.put_back(&slot.dir, &self.slot_name, &self.place.name)
    }
}

fn is_it(status: &Status, member: &Member) -> bool {
    status.is_file() && status.id == member.id && status.owner == member.owner
}
