//! Damage by a crash in git's object store that `git fsck --connectivity-only` does not examine: loose objects and packs that are empty or
//! do not begin with git's magic bytes. A later fetch fails because of such an object, even if nothing reaches it.

use crate::sys::dir::Dir;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// More entries of one directory are not looked at; git itself packs long before.
const MAX_ENTRIES: usize = 100_000;

/// The first object or pack of a git directory that is damaged, with what is wrong with it, and how many there are.
pub(super) fn damaged(git: &Dir, deadline: Instant) -> Option<(u64, String)> {
    let (mut count, mut first) = (0, None);
    let Ok(objects) = git.descend("objects") else { return None };
    for fan in objects.names(MAX_ENTRIES).unwrap_or_default() {
        let name = fan.as_encoded_bytes();
        let is_fan = name.len() == 2 && name.iter().all(u8::is_ascii_hexdigit);
        if !is_fan && fan != "pack" || Instant::now() > deadline {
            continue;
        }
        let Ok(dir) = objects.descend(&fan) else { continue };
        for entry in dir.names(MAX_ENTRIES).unwrap_or_default() {
            let check = match fan == "pack" {
                false if is_hex(entry.as_encoded_bytes()) => is_loose_object,
                true if has_ending(&entry, "pack") => is_pack,
                true if has_ending(&entry, "idx") => is_index,
                _ => continue,
            };
            // An unreadable one is reported by its owner and mode.
            let Ok(head) = head(&dir, &entry) else { continue };
            if let Some(why) = wrong(&head, check) {
                count += 1;
                first.get_or_insert_with(|| {
                    format!("{} {why}", PathBuf::from("objects").join(&fan).join(&entry).display())
                });
            }
        }
    }
    first.map(|first| (count, first))
}

fn wrong(head: &[u8], is_sound: fn(&[u8]) -> bool) -> Option<&'static str> {
    if head.is_empty() {
        Some("is empty")
    } else if head.iter().all(|byte| *byte == 0) {
        Some("is full of zeros")
    } else if !is_sound(head) {
        Some("does not have the expected header")
    } else {
        None
    }
}

fn head(dir: &Dir, name: &std::ffi::OsStr) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(8);
    dir.open_file(Path::new(name))?.take(8).read_to_end(&mut head)?;
    Ok(head)
}

fn is_hex(name: &[u8]) -> bool {
    matches!(name.len(), 38 | 62) && name.iter().all(u8::is_ascii_hexdigit)
}

fn has_ending(name: &std::ffi::OsStr, ending: &str) -> bool {
    name.as_encoded_bytes().starts_with(b"pack-")
        && Path::new(name).extension().is_some_and(|is| is == ending)
}

/// The first two bytes of a zlib stream.
fn is_loose_object(head: &[u8]) -> bool {
    matches!(head, [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

fn is_pack(head: &[u8]) -> bool {
    head.starts_with(b"PACK")
}

/// The first version of an index has no magic number: it begins with a count of objects whose names begin with zero.
fn is_index(head: &[u8]) -> bool {
    head.len() == 8
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::time::Duration;

    #[test]
    fn damaged_objects_are_reported_and_sound_ones_are_not() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join("objects").join(name);
        let said = || {
            let dir = Dir::resolve(temp.path()).unwrap().0;
            damaged(&dir, Instant::now() + Duration::from_secs(60))
        };
        let loose = format!("ab/{}", "c".repeat(38));
        for dir in ["ab", "pack", "info"] {
            create_dir_all(at(dir)).unwrap();
        }
        for (name, content, expected) in [
            (loose.as_str(), &b"\x78\x01rest"[..], None),
            (&loose, b"\x78\x9crest", None),
            (&loose, b"", Some("is empty")),
            (&loose, &[0; 100], Some("full of zeros")),
            (&loose, b"<html>", Some("expected header")),
            ("ab/tmp_obj_x", b"", None),
            ("info/packs", b"", None),
            ("pack/pack-1.pack", b"PACK\0\0\0\x02", None),
            ("pack/pack-1.pack", b"", Some("is empty")),
            ("pack/pack-1.pack", b"HTTP", Some("expected header")),
            ("pack/pack-1.idx", b"\xfftOc\0\0\0\x02", None),
            ("pack/pack-1.idx", &[0; 1032], Some("full of zeros")),
            ("pack/pack-1.keep", b"", None),
            ("pack/tmp_pack_1", b"", None),
        ] {
            write(at(name), content).unwrap();
            let found = said().unwrap_or_default();
            assert_eq!(found.0 > 0, expected.is_some(), "{name}: {found:?}");
            assert!(found.1.contains(expected.unwrap_or_default()), "{name}: {found:?}");
            std::fs::remove_file(at(name)).unwrap();
        }
    }
}
