//! Who decides where a runner works: every user who can write its `.runner`, its root, or any directory on the way to the root or to the
//! work directory. A user who may rename an entry of a directory there can redirect the guard, so all of them must be the owner of the
//! target directory, or root.
//!
//! Paths are looked at component by component, links included. A later change of a component does no harm: only the users found here can
//! make it, and the directory that is opened in the end must belong to them.

mod acl;
mod members;

use super::root_globs::is_allowed;
use crate::actions_runner::layout;
use crate::model::{PathGlob, Uid};
use crate::sys::dir::{Status, stat_at};
use crate::sys::reach;
use members::Accounts;
use rustix::fs::{AtFlags, CWD, FileType};
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// A user besides root who can change the entry at a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// One user.
    User(Uid),
    /// A group that is not known to be one user's own.
    Group(u32),
    /// Everybody.
    All,
    /// Unknown; why.
    Unknown(String),
}

/// A place on a way, and a user who can change the entry there.
#[derive(Debug, Clone)]
struct Hold {
    place: PathBuf,
    who: Who,
}

/// A resolved path.
struct Way {
    /// Its target, free of links.
    real: PathBuf,
    /// Who can redirect it.
    holds: Vec<Hold>,
    /// Who can exchange a link on it.
    links: Vec<Hold>,
}

/// Checks ways, each directory once.
#[derive(Default)]
pub(super) struct Ways {
    seen: HashMap<PathBuf, Status>,
    accounts: OnceCell<Accounts>,
}

impl Ways {
    /// Records facts about a path without links, from its handle.
    pub(super) fn know(&mut self, path: &Path, status: Status) {
        self.seen.insert(path.to_owned(), status);
    }

    /// Why `path`, which a glob matches and which leads to `root`, does not count, if it does not: the globs must match `root` itself, or
    /// only root has made every link that leads there.
    pub(super) fn stray(&mut self, path: &Path, root: &Path, patterns: &[PathGlob]) -> Option<String> {
        if path == root || is_allowed(root, patterns) {
            return None;
        }
        let shown = path.display();
        let way = match self.follow(path) {
            Ok(way) if way.real == root => way,
            Ok(_) => return Some(format!("{shown} is left out: it was changed during the examination")),
            Err(error) => return Some(format!("{shown} is left out: it cannot be followed: {error}")),
        };
        let hold = way.links.first()?;
        Some(format!(
            "{shown} is left out: its real path is {}, which runners.roots does not name, and {} can change the link in {} that leads there; if that runner is meant, add its path to runners.roots",
            root.display(),
            hold.who,
            hold.place.display()
        ))
    }

    /// Whether a mount on the way to `path` does not answer, so that its owners cannot be determined now.
    pub(super) fn is_silent(&mut self, path: &Path) -> bool {
        self.follow(path).is_err_and(|error| reach::is_silence(&error))
    }

    /// A directory on the way to root's file at `path` in which others than root could put another file in its place: also one of
    /// root's, such as an older one. Links are followed. A missing file, or a way that cannot be followed, is nobody's.
    pub(super) fn exchanged_by_others(&mut self, path: &Path) -> Option<(PathBuf, String)> {
        let path = std::path::absolute(path).ok()?;
        let hold = self.follow(&path).ok()?.holds.into_iter().next()?;
        Some((hold.place, format!("{} can write this directory, which leads to it", hold.who)))
    }

    /// The users besides root and `owner` who can change the entry at `path`, or make links lead there; if it is missing, who could make
    /// it.
    pub(super) fn foreign_hand(&mut self, path: &Path, owner: Uid) -> Option<String> {
        let way = match self.follow(path) {
            Ok(way) => way,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return path.parent().and_then(|above| self.foreign_hand(above, owner));
            }
            Err(error) => {
                return Some(format!(
                    "the users who can write on the path to it cannot be determined: {error}"
                ));
            }
        };
        if way.real != path {
            let real = way.real.display();
            return Some(format!("{} is reached through a link: name {real}", path.display()));
        }
        let inside = match self.inside(path) {
            Ok(inside) => inside,
            Err(error) => {
                return Some(format!(
                    "the users who can write {} cannot be determined: {error}",
                    path.display()
                ));
            }
        };
        let hold = way.holds.into_iter().chain(inside).find(|hold| hold.who != Who::User(owner))?;
        Some(format!("{} can write {}, on the way to it", hold.who, hold.place.display()))
    }

    /// Why the work directory of `owner` that `configured` leads to must not be touched, if it must not: another user can decide where the
    /// runner at `root` works.
    pub(super) fn refusal(
        &mut self,
        root: &Path,
        has_settings: bool,
        configured: &Path,
        owner: Uid,
    ) -> Option<String> {
        let cannot = |error: io::Error| {
            Some(format!(
                "the users who can write on the path to the work directory cannot be determined: {error}"
            ))
        };
        let mut holds = match self.follow(root) {
            Ok(way) => way.holds,
            Err(error) => return cannot(error),
        };
        match self.inside(root) {
            Ok(inside) => holds.extend(inside),
            Err(error) => return cannot(error),
        }
        if has_settings {
            match self.settings(&root.join(layout::SETTINGS)) {
                Ok(writers) => holds.extend(writers),
                Err(error) => return cannot(error),
            }
        }
        match self.follow(configured) {
            Ok(way) => holds.extend(way.holds),
            Err(error) => return cannot(error),
        }
        let hold = holds.into_iter().find(|hold| hold.who != Who::User(owner))?;
        let place = hold.place.display();
        let is_owner = |user: Uid| self.seen.get(&hold.place).is_none_or(|status| status.owner == user);
        let fix = match hold.who {
            Who::User(user) if is_owner(user) => {
                format!("change the owner of {place} to root or to uid {owner} (chown)")
            }
            Who::User(_) | Who::Group(_) | Who::Unknown(_) => format!("run `chmod g-w {place}`"),
            Who::All => format!("run `chmod o-w {place}`"),
        };
        Some(format!(
            "{} can write {place} and thereby choose this runner's work directory, but that belongs to uid {owner}: {fix}",
            hold.who,
        ))
    }

    /// Follows a path that need not be free of links.
    fn follow(&mut self, path: &Path) -> io::Result<Way> {
        let mut way = Way { real: PathBuf::from("/"), holds: Vec::new(), links: Vec::new() };
        let mut todo: VecDeque<OsString> = VecDeque::new();
        prepend(&mut todo, path);
        let mut followed = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                way.real.pop();
                continue;
            }
            let next = way.real.join(&name);
            let entry = self.look(&next)?;
            let holds = self.exchangers(&way.real, &entry)?;
            if FileType::from_raw_mode(entry.mode) == FileType::Symlink {
                followed += 1;
                if followed > MAX_LINKS {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let target = std::fs::read_link(&next)?;
                if target.is_absolute() {
                    way.real = PathBuf::from("/");
                }
                prepend(&mut todo, &target);
                way.links.extend(holds.iter().cloned());
            } else {
                way.real = next;
            }
            way.holds.extend(holds);
        }
        Ok(way)
    }

    /// Who can replace `entry` in the directory `parent`.
    fn exchangers(&mut self, parent: &Path, entry: &Status) -> io::Result<Vec<Hold>> {
        const STICKY: u32 = 0o1000;
        let status = self.look(parent)?;
        let who = if status.mode & STICKY == 0 {
            self.writers(parent, &status)
        } else {
            // There only the entry's owner and the directory's owner can.
            [status.owner, entry.owner]
                .into_iter()
                .filter(|owner| *owner != Uid::ROOT)
                .map(Who::User)
                .collect()
        };
        Ok(who.into_iter().map(|who| Hold { place: parent.to_owned(), who }).collect())
    }

    /// Who can add an entry to a directory: everybody who may write it, sticky or not.
    fn inside(&mut self, directory: &Path) -> io::Result<Vec<Hold>> {
        let status = self.look(directory)?;
        let who = self.writers(directory, &status);
        Ok(who.into_iter().map(|who| Hold { place: directory.to_owned(), who }).collect())
    }

    /// Who can write `.runner`.
    fn settings(&mut self, file: &Path) -> io::Result<Vec<Hold>> {
        let status = self.look(file)?;
        let who = self.writers(file, &status);
        Ok(who.into_iter().map(|who| Hold { place: file.to_owned(), who }).collect())
    }

    /// Everybody but root who can write a file or directory. Its owner can allow that at any time.
    fn writers(&self, path: &Path, status: &Status) -> BTreeSet<Who> {
        let mut who = BTreeSet::new();
        if status.owner != Uid::ROOT {
            who.insert(Who::User(status.owner));
        }
        if status.mode & 0o002 != 0 {
            who.insert(Who::All);
        }
        // For a file with an ACL these bits are its mask: no entry grants more than they do.
        if status.mode & 0o020 != 0 {
            match acl::of(path) {
                Ok(None) => who.extend(self.members(status.group, status.owner)),
                Ok(Some(acl)) => {
                    who.extend(acl.users.into_iter().filter(|user| *user != Uid::ROOT).map(Who::User));
                    let groups = acl.groups.into_iter().chain(acl.owning_group.then_some(status.group));
                    for group in groups {
                        who.extend(self.members(group, status.owner));
                    }
                }
                Err(error) => drop(who.insert(Who::Unknown(format!("its ACL cannot be read: {error}")))),
            }
        }
        who
    }

    fn members(&self, group: u32, owner: Uid) -> Vec<Who> {
        let accounts = self.accounts.get_or_init(Accounts::read);
        match accounts.members(group) {
            Some(members) => members.into_iter().filter(|user| *user != Uid::ROOT).map(Who::User).collect(),
            // A group that is in no file: of a user without an account, or of a directory service. A user's own group has the user's
            // number.
            None if group == owner.0 => {
                [Who::User(owner)].into_iter().filter(|_| owner != Uid::ROOT).collect()
            }
            None => vec![Who::Group(group)],
        }
    }

    fn look(&mut self, path: &Path) -> io::Result<Status> {
        if let Some(status) = self.seen.get(path) {
            return Ok(*status);
        }
        reach::check(path)?;
        let status = stat_at(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)?;
        self.seen.insert(path.to_owned(), status);
        Ok(status)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "uid {user}"),
            Self::Group(group) => write!(f, "the group {group}"),
            Self::All => f.write_str("everybody"),
            Self::Unknown(why) => write!(f, "an unknown user ({why})"),
        }
    }
}

fn prepend(todo: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => todo.push_front(name.to_owned()),
            Component::ParentDir => todo.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
