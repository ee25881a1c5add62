//! The members of a group, from the files only: a directory service may not answer, and nothing here waits for one.

use crate::model::Uid;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read as _;

/// Far more than a host has; a longer file is not read.
const MOST: u64 = 16 * 1024 * 1024;

/// `/etc/passwd` and `/etc/group`.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    users: HashMap<String, Uid>,
    /// By a user's own group.
    primary: HashMap<u32, BTreeSet<Uid>>,
    /// By group, the names of its further members.
    named: HashMap<u32, Vec<String>>,
}

impl Accounts {
    /// Reads both; a file that cannot be read counts as empty, and then no group is known.
    pub(super) fn read() -> Self {
        let text = |path: &str| {
            let mut text = Vec::new();
            let read = File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut text));
            if read.is_err() || text.len() as u64 > MOST {
                text.clear();
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        Self::parse(&text("/etc/passwd"), &text("/etc/group"))
    }

    fn parse(passwd: &str, group: &str) -> Self {
        let mut accounts = Self::default();
        for line in passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, user, group, ..] = fields[..] else { continue };
            let (Ok(user), Ok(group)) = (user.parse().map(Uid), group.parse()) else { continue };
            accounts.users.insert(name.to_owned(), user);
            accounts.primary.entry(group).or_default().insert(user);
        }
        for line in group.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, group, members, ..] = fields[..] else { continue };
            let Ok(group) = group.parse() else { continue };
            let members = members.split(',').map(str::trim).filter(|name| !name.is_empty());
            accounts.named.entry(group).or_default().extend(members.map(str::to_owned));
        }
        accounts
    }

    /// All members of a group; `None` for a group that is not in the files, or with a member who is not.
    pub(super) fn members(&self, group: u32) -> Option<BTreeSet<Uid>> {
        let mut members = self.primary.get(&group).cloned().unwrap_or_default();
        for name in self.named.get(&group)? {
            members.insert(*self.users.get(name)?);
        }
        Some(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_the_users_of_the_primary_group_and_those_the_group_lists() {
        let accounts = Accounts::parse(
            "root:x:0:0::/root:/bin/sh\nci:x:1001:1001::/home/ci:/bin/sh\nann:x:7:100::/:\nbroken\n",
            "root:x:0:\nci:x:1001:\nusers:x:100:ci, ann\nfar:x:200:ann,nobody-here\nstaff:x:50:\n",
        );
        let members = |group| accounts.members(group).map(|users| users.into_iter().collect::<Vec<_>>());
        assert_eq!(members(1001), Some(vec![Uid(1001)]), "a user's own");
        assert_eq!(members(100), Some(vec![Uid(7), Uid(1001)]));
        assert_eq!(members(50), Some(vec![]));
        assert_eq!(members(0), Some(vec![Uid(0)]));
        assert_eq!(members(200), None, "a member whom the files do not know");
        assert_eq!(members(300), None, "no such group");
    }
}
