//! Reading the ledger's files.
//!
//! The writer of an entry is the file's owner, if nobody else can have written it: not writable by others, with one name, in a directory
//! in which others cannot replace it. In `ledger.d`, where every hook's user may place files, a file must in addition be named after its
//! owner's number, and no file there counts as root's: a container job can make files of root that its runner's user may move. Other files
//! there are counted and not read.
//!
//! Memory is bounded, whatever the files contain: a file is read line by line, and of all users together only a bounded amount is kept,
//! the newest of each user.

use super::writer::others_write;
use super::{FILE, LedgerPart, MAX_FILE_BYTES, OLDER, OTHERS, line};
use crate::model::Uid;
use crate::model::ledger::{Entry, LedgerReach, Source, UserSpan, Writer};
use crate::sys::dir::Dir;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files of other users beyond this number are not read.
const MAX_OTHERS: usize = 1024;

/// A file may be this long before it is rotated by force.
const MAX_READ: u64 = MAX_FILE_BYTES * 2 + (1 << 16);

/// No line of the guard is longer.
const MAX_LINE: usize = 64 << 10;

/// The bound for all other users' files: bytes of lines, and entries. They share it equally.
const OTHERS_BYTES: u64 = 32 << 20;
const OTHERS_ENTRIES: usize = 40_000;

/// What may be kept of one user's files.
#[derive(Clone, Copy)]
struct VolumeShare {
    /// Of each generation, its end.
    bytes: u64,
    /// Of both.
    entries: usize,
}

/// The state directory's own file is read whole: only root writes it.
const ALL: VolumeShare = VolumeShare { bytes: MAX_READ, entries: usize::MAX };

/// Reads all files in `state_dir`. A file that cannot be read is a gap.
pub fn read_files(state_dir: &Path) -> LedgerPart {
    let mut shelf = LedgerFiles { path: state_dir.to_owned(), ..LedgerFiles::default() };
    let span = match Dir::resolve(state_dir) {
        Ok((dir, _)) => shelf.read_all(&dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            shelf.gaps.push(format!("{} does not exist: no file has been kept", state_dir.display()));
            UserSpan::Part
        }
        Err(error) => {
            shelf.gaps.push(format!("{} cannot be opened: {error}", state_dir.display()));
            UserSpan::Part
        }
    };
    if shelf.bad_lines > 0 {
        shelf.gaps.push(format!("{} damaged lines were skipped", shelf.bad_lines));
    }
    let since = shelf.since();
    let reach = LedgerReach { source: Source::File, since, span, gaps: shelf.gaps };
    LedgerPart { entries: shelf.entries, reach }
}

/// The owner of its directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DirectoryOf {
    State,
    Others,
}

/// One user's file with its older generation.
struct Volume {
    place: DirectoryOf,
    first: Option<SystemTime>,
    has_older: bool,
}

#[derive(Default)]
struct LedgerFiles {
    path: PathBuf,
    entries: Vec<Entry>,
    gaps: Vec<String>,
    bad_lines: usize,
    volumes: Vec<Volume>,
}

impl LedgerFiles {
    fn read_all(&mut self, dir: &Dir) -> UserSpan {
        let is_closed = dir.status().is_ok_and(|status| !others_write(&status));
        if !is_closed {
            self.gaps.push("others can write to the state directory: it proves nothing".into());
        }
        let mut all = self.read_volume(dir, [OLDER, FILE], DirectoryOf::State, is_closed, ALL, &mut 0);
        if let Some(owner) = dir.status().ok().map(|status| status.owner).filter(|owner| *owner != Uid::ROOT)
        {
            self.gaps.push(format!(
                "the state directory belongs to uid {owner}: root's runs leave no entries there"
            ));
            all = false;
        }
        let others = match dir.descend(OTHERS) {
            Ok(others) => self.read_others(&others),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.gaps.push(format!(
                    "hooks of users other than root leave no entries in files: {OTHERS} does not exist there"
                ));
                UserSpan::Part
            }
            Err(error) => {
                self.gaps.push(format!("{OTHERS} cannot be opened: {error}"));
                UserSpan::Part
            }
        };
        if all { others } else { UserSpan::Part }
    }

    fn read_others(&mut self, dir: &Dir) -> UserSpan {
        let names = match dir.names(MAX_OTHERS + 1) {
            Ok(names) if names.len() <= MAX_OTHERS => names,
            Ok(_) => {
                self.gaps.push(format!("{OTHERS} holds more than {MAX_OTHERS} files and was not read"));
                return UserSpan::Part;
            }
            Err(error) => {
                self.gaps.push(format!("{OTHERS} cannot be listed: {error}"));
                return UserSpan::Part;
            }
        };
        const STICKY: u32 = 0o1000;
        // Without the sticky bit its users could replace each other's files.
        let is_closed = dir.status().is_ok_and(|status| !others_write(&status) || status.mode & STICKY != 0);
        let (mut users, mut odd) = (BTreeSet::new(), 0);
        for name in &names {
            match user_of(name) {
                Some(user) => drop(users.insert(user)),
                None => odd += 1,
            }
        }
        let count = users.len().max(1);
        let share = VolumeShare { bytes: OTHERS_BYTES / count as u64, entries: OTHERS_ENTRIES / count };
        let mut all = true;
        for user in users {
            let (name, older) = (format!("{user}.jsonl"), format!("{user}.jsonl.1"));
            if is_closed && user != 0 {
                all &=
                    self.read_volume(dir, [&older, &name], DirectoryOf::Others, is_closed, share, &mut odd);
            } else {
                odd += 1;
            }
        }
        if odd > 0 {
            self.gaps.push(format!(
                "{odd} files in {OTHERS} are not their users' own (named for another user, with a second name, or open to others): they prove nothing and were not read; `ls -ln {}` shows them",
                self.path.join(OTHERS).display()
            ));
        }
        if all && odd == 0 { UserSpan::Everybody } else { UserSpan::Part }
    }

    /// Both generations, the older first; whether all of them was read. Untrusted files of others are counted in `odd`.
    fn read_volume(
        &mut self,
        dir: &Dir,
        names: [&str; 2],
        place: DirectoryOf,
        is_closed: bool,
        share: VolumeShare,
        odd: &mut usize,
    ) -> bool {
        let mut volume = Volume { place, first: None, has_older: false };
        let (mut all, mut kept, mut dropped) = (true, VecDeque::new(), 0);
        for (name, is_older) in names.into_iter().zip([true, false]) {
            let opened = dir.open_file(OsStr::new(name)).and_then(|file| Ok((file.metadata()?, file)));
            let (metadata, file) = match opened {
                Ok(opened) => opened,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.gaps.push(format!("{name} cannot be read: {error}"));
                    all = false;
                    continue;
                }
            };
            let uid = writer_of(&metadata, name, place, is_closed);
            if uid.is_none() {
                all = false;
                if place == DirectoryOf::Others {
                    *odd += 1;
                    continue;
                }
                self.gaps.push(format!("{name} could have been written by any user: it proves nothing"));
            }
            let begin = metadata.len().saturating_sub(share.bytes);
            volume.has_older |= is_older || begin > 0;
            let read = each_line(file, begin, |text| match line::read(text) {
                None => self.bad_lines += 1,
                Some((record, account)) => {
                    let boot_id = (!account.boot_id.is_empty()).then_some(account.boot_id);
                    let writer = Writer { uid, pid: Some(account.pid), boot_id, exe: None };
                    kept.push_back(Entry { record, writer, sources: vec![Source::File] });
                    if kept.len() > share.entries {
                        kept.pop_front();
                        dropped += 1;
                    }
                }
            });
            if let Err(error) = read {
                self.gaps.push(format!("{name} cannot be read: {error}"));
                all = false;
            }
            if begin > 0 {
                self.gaps
                    .push(format!("{name} is longer than the part that is read: its beginning was skipped"));
            }
        }
        if dropped > 0 {
            volume.has_older = true;
            self.gaps.push(format!("{}: {dropped} older entries were left out", names[1]));
        }
        volume.first = kept.front().map(|entry| entry.record.time);
        self.entries.extend(kept);
        self.volumes.push(volume);
        all
    }

    /// Since when every file reaches back: since the state directory's own file begins, but not before a file that has been rotated and
    /// may have lost older entries. The age that other users' files claim is not trusted beyond that: any of them could be dated back.
    fn since(&self) -> Option<SystemTime> {
        let own = self.volumes.iter().find(|volume| volume.place == DirectoryOf::State)?.first;
        let rotated = self.volumes.iter().filter(|volume| volume.has_older).filter_map(|volume| volume.first);
        own.map(|own| rotated.fold(own, SystemTime::max))
    }
}

/// The user that a file in `ledger.d` is named after, by either generation's name; none for any other spelling of a number.
fn user_of(name: &OsStr) -> Option<u32> {
    let name = name.to_str()?;
    let number = name.strip_suffix(".1").unwrap_or(name).strip_suffix(".jsonl")?;
    number.parse().ok().filter(|user: &u32| user.to_string() == number)
}

/// Calls `visit` with every line that is not empty, from `begin` on, starting with the first whole line. A line that is too long counts as
/// unreadable.
fn each_line(mut file: File, begin: u64, mut visit: impl FnMut(&[u8])) -> io::Result<()> {
    file.seek(SeekFrom::Start(begin.saturating_sub(1)))?;
    let mut reader = BufReader::new(file.take(MAX_READ));
    let mut line = Vec::new();
    let mut is_whole = begin == 0;
    loop {
        line.clear();
        let length = (&mut reader).take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(());
        }
        let has_end = line.pop_if(|last| *last == b'\n').is_some();
        match (is_whole, line.is_empty()) {
            (true, false) if has_end || length < MAX_LINE => visit(&line),
            (true, false) => visit(b"?"),
            _ => {}
        }
        is_whole = has_end;
    }
}

/// The user that alone can have written the file; `None` when that is not certain.
fn writer_of(metadata: &Metadata, name: &str, place: DirectoryOf, is_closed: bool) -> Option<Uid> {
    let owner = Uid(metadata.uid());
    let is_his_alone = metadata.mode() & 0o022 == 0 && metadata.nlink() == 1;
    let is_in_place = match place {
        DirectoryOf::State => is_closed,
        DirectoryOf::Others => {
            is_closed && owner != Uid::ROOT && name.split('.').next() == Some(owner.to_string().as_str())
        }
    };
    (is_his_alone && is_in_place).then_some(owner)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests remove their own files")]
mod tests {
    use super::super::line::{Account, tests::sample, write};
    use super::*;
    use crate::model::Pid;
    use std::os::unix::fs::{PermissionsExt as _, chown};

    const ALICE: u32 = 12_001;
    const BOB: u32 = 12_002;

    struct TestState(tempfile::TempDir);

    impl TestState {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            std::fs::create_dir(temp.path().join(OTHERS)).unwrap();
            std::fs::set_permissions(temp.path().join(OTHERS), std::fs::Permissions::from_mode(0o1777))
                .unwrap();
            Self(temp)
        }

        fn put(&self, name: &str, owner: u32, mode: u32) -> PathBuf {
            let path = self.0.path().join(name);
            let account = Account { boot_id: "b".into(), pid: Pid(1) };
            std::fs::write(&path, write(&sample(), &account)).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            chown(&path, Some(owner), None).unwrap();
            path
        }

        fn writers(&self) -> Vec<Option<Uid>> {
            read_files(self.0.path()).entries.iter().map(|entry| entry.writer.uid).collect()
        }
    }

    #[test]
    fn the_owner_is_the_writer_only_where_nobody_else_could_be() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        for (name, owner, mode, writers) in [
            ("ledger.jsonl", 0, 0o640, &[Some(Uid(0))][..]),
            ("ledger.jsonl", 0, 0o660, &[None]),
            ("ledger.d/12001.jsonl", ALICE, 0o640, &[Some(Uid(ALICE))]),
            ("ledger.d/12001.jsonl.1", ALICE, 0o640, &[Some(Uid(ALICE))]),
            ("ledger.d/12001.jsonl", BOB, 0o640, &[]),
            ("ledger.d/12001.jsonl", ALICE, 0o666, &[]),
            ("ledger.d/12001.jsonl", 0, 0o640, &[]),
            ("ledger.d/0.jsonl", 0, 0o640, &[]),
            ("ledger.d/012001.jsonl", ALICE, 0o640, &[]),
            ("ledger.d/else", ALICE, 0o640, &[]),
        ] {
            let state = TestState::new();
            state.put(name, owner, mode);
            assert_eq!(state.writers(), writers, "{name} of {owner}, {mode:o}");
            let gaps = read_files(state.0.path()).reach.gaps;
            let is_told = gaps.iter().any(|gap| gap.starts_with("1 files") && gap.contains("ls -ln"));
            assert_eq!(is_told, writers.is_empty(), "{name}: {gaps:?}");
        }
    }

    #[test]
    fn many_names_of_one_file_and_many_lines_take_no_memory() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let state = TestState::new();
        let path = state.put("ledger.d/12001.jsonl", ALICE, 0o640);
        let line = std::fs::read(&path).unwrap();
        std::fs::write(&path, line.repeat(OTHERS_ENTRIES / 2 + 100)).unwrap();
        let bobs = state.put("ledger.d/12002.jsonl", BOB, 0o640);
        let found = read_files(state.0.path());
        let of = |user: u32| found.entries.iter().filter(|entry| entry.writer.uid == Some(Uid(user))).count();
        assert_eq!((of(ALICE), of(BOB)), (OTHERS_ENTRIES / 2, 1), "each has a share");
        assert!(
            found.reach.gaps.iter().any(|gap| gap.contains("100 older entries")),
            "{:?}",
            found.reach.gaps
        );
        std::fs::remove_file(bobs).unwrap();
        for number in 1..50 {
            std::fs::hard_link(&path, state.0.path().join(format!("ledger.d/{number}.jsonl"))).unwrap();
        }
        let found = read_files(state.0.path());
        assert_eq!((found.entries.len(), found.reach.span), (0, UserSpan::Part));
        assert!(found.reach.gaps.iter().any(|gap| gap.starts_with("50 files")), "{:?}", found.reach.gaps);
    }

    #[test]
    fn a_line_without_end_is_one_that_cannot_be_understood() {
        let state = TestState::new();
        let path = state.put(FILE, nix::unistd::geteuid().as_raw(), 0o640);
        let line = std::fs::read(&path).unwrap();
        let endless = vec![b'x'; 3 * MAX_LINE];
        std::fs::write(&path, [&endless[..], b"\n", &line, b"y"].concat()).unwrap();
        let found = read_files(state.0.path());
        assert_eq!(found.entries.len(), 1);
        assert!(found.reach.gaps.iter().any(|gap| gap.contains("2 damaged")), "{:?}", found.reach.gaps);
    }

    #[test]
    fn a_second_name_makes_the_writer_uncertain() {
        let state = TestState::new();
        let path = state.put(FILE, nix::unistd::geteuid().as_raw(), 0o640);
        assert!(state.writers()[0].is_some(), "the control");
        std::fs::hard_link(path, state.0.path().join("second")).unwrap();
        assert_eq!(state.writers(), [None]);
    }

    #[test]
    fn an_open_state_directory_proves_nothing() {
        let state = TestState::new();
        state.put(FILE, nix::unistd::geteuid().as_raw(), 0o640);
        std::fs::set_permissions(state.0.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(state.writers(), [None]);
    }

    #[test]
    fn only_roots_entries_extend_the_ledger_into_the_past() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let state = TestState::new();
        state.put(FILE, 0, 0o640);
        let alices = state.put("ledger.d/12001.jsonl", ALICE, 0o640);
        let account = Account { boot_id: "b".into(), pid: Pid(1) };
        let early = crate::model::ledger::LedgerRecord { time: SystemTime::UNIX_EPOCH, ..sample() };
        std::fs::write(alices, write(&early, &account)).unwrap();
        let found = read_files(state.0.path());
        assert_eq!(
            (found.entries.len(), found.reach.span),
            (2, UserSpan::Everybody),
            "{:?}",
            found.reach.gaps
        );
        assert_eq!(found.reach.since, Some(sample().time));
        std::fs::remove_file(state.0.path().join(FILE)).unwrap();
        assert_eq!(read_files(state.0.path()).reach.since, None);
    }

    #[test]
    fn a_state_directory_of_another_user_does_not_vouch_for_root() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let state = TestState::new();
        state.put(FILE, 0, 0o640);
        assert_eq!(read_files(state.0.path()).reach.span, UserSpan::Everybody, "the control");
        chown(state.0.path(), Some(ALICE), None).unwrap();
        assert_eq!(read_files(state.0.path()).reach.span, UserSpan::Part);
    }

    #[test]
    fn damaged_lines_are_skipped_and_reported() {
        let state = TestState::new();
        let path = state.put(FILE, nix::unistd::geteuid().as_raw(), 0o640);
        let mut text = std::fs::read(&path).unwrap();
        text.splice(0..0, b"\n{\"deed\":\"remo".iter().copied());
        std::fs::write(&path, text).unwrap();
        let found = read_files(state.0.path());
        assert_eq!(found.entries.len(), 1);
        assert!(found.reach.gaps.iter().any(|gap| gap.contains("1 damaged")), "{:?}", found.reach.gaps);
    }

    #[test]
    fn without_a_directory_there_is_a_gap_and_no_error() {
        let found = read_files(Path::new("/nonexistent/state"));
        assert_eq!((found.entries.len(), found.reach.since, found.reach.span), (0, None, UserSpan::Part));
        assert!(!found.reach.gaps.is_empty());
    }
}
