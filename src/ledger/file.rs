//! Reading the ledger's files.
//!
//! Who wrote an entry is the file's owner, where nobody else can have had a hand in it: not writable by others, with one
//! name, in a directory in which others cannot replace it. In `ledger.d`, where every hook's user may place files, a file
//! must in addition bear its owner's number, and root's name is nobody's there: a container job can make files of root
//! that its runner's user may move about.

use super::writer::others_write;
use super::{FILE, Found, MAX_FILE_BYTES, OLDER, OTHERS, line};
use crate::model::Uid;
use crate::model::ledger::{Entry, Reach, Source, Span, Writer};
use crate::sys::dir::Dir;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

/// Files of other users beyond this number are not read.
const MAX_OTHERS: usize = 1024;

/// A file may be this long before it is rotated by force.
const MAX_READ: u64 = MAX_FILE_BYTES * 2 + (1 << 16);

/// Reads all files in `state_dir`. What cannot be read is a gap.
pub fn read_files(state_dir: &Path) -> Found {
    let mut shelf = Shelf::default();
    let span = match Dir::resolve(state_dir) {
        Ok((dir, _)) => shelf.read_all(&dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            shelf.gaps.push(format!("{} does not exist: no file has been kept", state_dir.display()));
            Span::Part
        }
        Err(error) => {
            shelf.gaps.push(format!("{} cannot be opened: {error}", state_dir.display()));
            Span::Part
        }
    };
    if shelf.bad_lines > 0 {
        shelf.gaps.push(format!("{} damaged lines were skipped", shelf.bad_lines));
    }
    let since = shelf.since();
    let reach = Reach { source: Source::File, since, span, gaps: shelf.gaps };
    Found { entries: shelf.entries, reach }
}

/// Whose directory it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    State,
    Others,
}

/// One user's file with its older generation.
struct Volume {
    place: Place,
    first: Option<SystemTime>,
    has_older: bool,
}

#[derive(Default)]
struct Shelf {
    entries: Vec<Entry>,
    gaps: Vec<String>,
    bad_lines: usize,
    volumes: Vec<Volume>,
}

impl Shelf {
    fn read_all(&mut self, dir: &Dir) -> Span {
        let is_closed = dir.status().is_ok_and(|status| !others_write(&status));
        if !is_closed {
            self.gaps.push("others can write to the state directory: it proves nothing".into());
        }
        let mut all = self.read_volume(dir, FILE, OLDER, Place::State, is_closed);
        if let Some(owner) = dir.status().ok().map(|status| status.owner).filter(|owner| *owner != Uid::ROOT)
        {
            self.gaps
                .push(format!("the state directory is uid {owner}'s: root's runs leave no entries there"));
            all = false;
        }
        let others = match dir.descend(OTHERS) {
            Ok(others) => self.read_others(&others),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.gaps.push(format!(
                    "hooks of users other than root leave no entries in files: {OTHERS} does not exist there"
                ));
                Span::Part
            }
            Err(error) => {
                self.gaps.push(format!("{OTHERS} cannot be opened: {error}"));
                Span::Part
            }
        };
        if all { others } else { Span::Part }
    }

    fn read_others(&mut self, dir: &Dir) -> Span {
        let names = match dir.names(MAX_OTHERS + 1) {
            Ok(names) if names.len() <= MAX_OTHERS => names,
            Ok(_) => {
                self.gaps.push(format!("{OTHERS} holds more than {MAX_OTHERS} files and was not read"));
                return Span::Part;
            }
            Err(error) => {
                self.gaps.push(format!("{OTHERS} cannot be listed: {error}"));
                return Span::Part;
            }
        };
        const STICKY: u32 = 0o1000;
        // Without the sticky bit its users could put files in each other's place.
        let is_closed = dir.status().is_ok_and(|status| !others_write(&status) || status.mode & STICKY != 0);
        let users =
            names.iter().filter_map(|name| name.to_str()?.strip_suffix(".jsonl")?.parse::<u32>().ok());
        let all = users.fold(true, |all, user| {
            let (name, older) = (format!("{user}.jsonl"), format!("{user}.jsonl.1"));
            self.read_volume(dir, &name, &older, Place::Others, is_closed) && all
        });
        if all { Span::Everybody } else { Span::Part }
    }

    /// Both generations; whether all that there is of them was read.
    fn read_volume(&mut self, dir: &Dir, name: &str, older: &str, place: Place, is_closed: bool) -> bool {
        let mut volume = Volume { place, first: None, has_older: false };
        let mut all = true;
        for (name, is_older) in [(older, true), (name, false)] {
            match read_whole(dir, name) {
                Ok((metadata, text)) => {
                    volume.has_older |= is_older;
                    let uid = writer_of(&metadata, name, place, is_closed);
                    if uid.is_none() {
                        self.gaps
                            .push(format!("{name} could have been written by anybody: it proves nothing"));
                    }
                    all &= uid.is_some();
                    let first = self.take_lines(&text, uid);
                    volume.first = volume.first.or(first);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.gaps.push(format!("{name} cannot be read: {error}"));
                    all = false;
                }
            }
        }
        self.volumes.push(volume);
        all
    }

    /// Takes the entries in; the time of the first.
    fn take_lines(&mut self, text: &[u8], uid: Option<Uid>) -> Option<SystemTime> {
        let mut first = None;
        for text in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Some((record, account)) = line::read(text) else {
                self.bad_lines += 1;
                continue;
            };
            first = first.or(Some(record.time));
            let boot_id = (!account.boot_id.is_empty()).then_some(account.boot_id);
            let writer = Writer { uid, pid: Some(account.pid), boot_id, exe: None };
            self.entries.push(Entry { record, writer, sources: vec![Source::File] });
        }
        first
    }

    /// Since when every volume reaches back: since the state directory's own file begins, but not before one that has been
    /// rotated and may have lost what came before. What the other users' files say of their own age is not believed
    /// beyond that: any of them could be dated back.
    fn since(&self) -> Option<SystemTime> {
        let own = self.volumes.iter().find(|volume| volume.place == Place::State)?.first;
        let rotated = self.volumes.iter().filter(|volume| volume.has_older).filter_map(|volume| volume.first);
        own.map(|own| rotated.fold(own, SystemTime::max))
    }
}

fn read_whole(dir: &Dir, name: &str) -> io::Result<(Metadata, Vec<u8>)> {
    let file = dir.open_file(OsStr::new(name))?;
    let metadata = file.metadata()?;
    let mut text = Vec::new();
    file.take(MAX_READ).read_to_end(&mut text)?;
    Ok((metadata, text))
}

/// The user who alone can have written the file; `None` when that is not certain.
fn writer_of(metadata: &Metadata, name: &str, place: Place, is_closed: bool) -> Option<Uid> {
    let owner = Uid(metadata.uid());
    let is_his_alone = metadata.mode() & 0o022 == 0 && metadata.nlink() == 1;
    let is_in_place = match place {
        Place::State => is_closed,
        Place::Others => {
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
    use std::path::PathBuf;

    const ALICE: u32 = 12_001;
    const BOB: u32 = 12_002;

    struct State(tempfile::TempDir);

    impl State {
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
        for (name, owner, mode, writer) in [
            ("ledger.jsonl", 0, 0o640, Some(Uid(0))),
            ("ledger.jsonl", 0, 0o660, None),
            ("ledger.d/12001.jsonl", ALICE, 0o640, Some(Uid(ALICE))),
            ("ledger.d/12001.jsonl", BOB, 0o640, None),
            ("ledger.d/12001.jsonl", ALICE, 0o666, None),
            ("ledger.d/12001.jsonl", 0, 0o640, None),
            ("ledger.d/0.jsonl", 0, 0o640, None),
        ] {
            let state = State::new();
            state.put(name, owner, mode);
            assert_eq!(state.writers(), [writer], "{name} of {owner}, {mode:o}");
        }
    }

    #[test]
    fn a_second_name_makes_the_writer_uncertain() {
        let state = State::new();
        let path = state.put(FILE, nix::unistd::geteuid().as_raw(), 0o640);
        assert!(state.writers()[0].is_some(), "the control");
        std::fs::hard_link(path, state.0.path().join("second")).unwrap();
        assert_eq!(state.writers(), [None]);
    }

    #[test]
    fn an_open_state_directory_proves_nothing() {
        let state = State::new();
        state.put(FILE, nix::unistd::geteuid().as_raw(), 0o640);
        std::fs::set_permissions(state.0.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(state.writers(), [None]);
    }

    #[test]
    fn nobody_but_root_dates_the_ledger_back() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let state = State::new();
        state.put(FILE, 0, 0o640);
        let alices = state.put("ledger.d/12001.jsonl", ALICE, 0o640);
        let account = Account { boot_id: "b".into(), pid: Pid(1) };
        let early = crate::model::ledger::Record { time: SystemTime::UNIX_EPOCH, ..sample() };
        std::fs::write(alices, write(&early, &account)).unwrap();
        let found = read_files(state.0.path());
        assert_eq!((found.entries.len(), found.reach.span), (2, Span::Everybody), "{:?}", found.reach.gaps);
        assert_eq!(found.reach.since, Some(sample().time));
        std::fs::remove_file(state.0.path().join(FILE)).unwrap();
        assert_eq!(read_files(state.0.path()).reach.since, None);
    }

    #[test]
    fn a_state_directory_of_somebody_elses_does_not_tell_of_root() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let state = State::new();
        state.put(FILE, 0, 0o640);
        assert_eq!(read_files(state.0.path()).reach.span, Span::Everybody, "the control");
        chown(state.0.path(), Some(ALICE), None).unwrap();
        assert_eq!(read_files(state.0.path()).reach.span, Span::Part);
    }

    #[test]
    fn damage_is_skipped_and_told() {
        let state = State::new();
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
        assert_eq!((found.entries.len(), found.reach.since, found.reach.span), (0, None, Span::Part));
        assert!(!found.reach.gaps.is_empty());
    }
}
