//! Which files a process has mapped.
//!
//! Linux 6.11+ answers the question per mapping (`PROCMAP_QUERY`, include/uapi/linux/fs.h). Measured on one process with 28 mappings: 15
//! us without names, 24 us with all of them, 21 us for reading the text of `/proc/PID/maps` and more for parsing it. So names are asked
//! for only if the visitor does not know the file. Older kernels provide the text.

use super::process::LookError;
use super::process_dir::{LINK_LIMIT, ProcessDir};
use crate::model::FilesystemId;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::fs::File;
use std::io::Read as _;

/// `struct procmap_query`.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    mapping_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    major: u32,
    minor: u32,
    name_size: u32,
    build_id_size: u32,
    name_address: u64,
    build_id_address: u64,
}

impl Query {
    fn file(&self) -> MappedFile {
        let device = FilesystemId { major: self.major, minor: self.minor };
        MappedFile { device, inode: self.inode }
    }
}

const PROCMAP_QUERY: Opcode = opcode::read_write::<Query>(b'f', 17);
/// `PROCMAP_QUERY_COVERING_OR_NEXT_VMA | PROCMAP_QUERY_FILE_BACKED_VMA`
const NEXT_FILE: u64 = 0x10 | 0x20;

/// How many mappings are looked at before the process counts as unreadable: twice the default `vm.max_map_count`.
const LIMIT: usize = 131_060;

/// Buffers that are used again for every process.
#[derive(Debug)]
pub struct Scratch {
    name: Box<[u8; LINK_LIMIT]>,
    text: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { name: Box::new([0; LINK_LIMIT]), text: Vec::new() }
    }
}

/// A mapped file: its superblock and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MappedFile {
    /// Not `st_dev`: the device of the superblock, as in mountinfo.
    pub device: FilesystemId,
    /// Its inode number.
    pub inode: u64,
}

/// A visitor of mappings.
pub trait Visitor {
    /// Whether the file's name matters.
    fn wants(&mut self, file: MappedFile) -> bool;
    /// Receives the name: that of `/proc/PID/map_files`, with `" (deleted)"` behind removed ones.
    fn visit(&mut self, file: MappedFile, name: &[u8]);
}

/// How a walk over the mappings ended.
#[derive(Debug, PartialEq, Eq)]
enum QueryEnd {
    /// All were visited.
    Whole,
    /// The address space was replaced or torn down meanwhile (exec, exit), or there is none.
    Lost,
    /// The kernel has no such query.
    Unsupported,
}

/// Passes every file that `process` has mapped to the visitor, once for each mapping.
///
/// # Errors
/// [`LookError`]; `Hidden` when the address space was replaced again and again while it was read.
pub fn for_each_mapped_file(
    process: &ProcessDir,
    scratch: &mut Scratch,
    visitor: &mut impl Visitor,
) -> Result<(), LookError> {
    for _ in 0..3 {
        let mut maps = process.open(c"maps")?;
        let walk = match by_query(&maps, &mut scratch.name, visitor) {
            Ok(QueryEnd::Unsupported) => by_text(&mut maps, &mut scratch.text, visitor),
            other => other,
        };
        match walk.map_err(|error| LookError::from_io(process.pid(), error))? {
            QueryEnd::Whole => return Ok(()),
            // Exiting processes and kernel threads have no address space and no executable; a running process has both.
            QueryEnd::Lost | QueryEnd::Unsupported => {
                process.link(c"exe", &mut super::process_dir::link_buffer())?;
            }
        }
    }
    let source = std::io::Error::other("its address space keeps changing");
    Err(LookError::Hidden { pid: process.pid(), source })
}

fn by_query(
    maps: &File,
    name: &mut [u8; LINK_LIMIT],
    visitor: &mut impl Visitor,
) -> std::io::Result<QueryEnd> {
    let mut query = Query::default();
    let mut address = 0;
    // A file has several mappings side by side: if the name of one was wanted, that of the next is asked for at once.
    let mut with_name = false;
    for _ in 0..LIMIT {
        query.size = size_of::<Query>() as u64;
        query.flags = NEXT_FILE;
        query.address = address;
        let mut answer = ask(maps, &mut query, with_name.then_some(&mut *name));
        let is_wanted = answer.is_ok() && visitor.wants(query.file());
        if is_wanted && !with_name {
            query.address = query.start;
            answer = ask(maps, &mut query, Some(&mut *name));
        }
        match answer {
            Ok(()) => {
                if is_wanted {
                    let length = (query.name_size as usize).min(name.len());
                    let name = name[..length].split(|&byte| byte == 0).next().unwrap_or_default();
                    // The mapping may have been replaced between two questions: the last answer is consistent by itself.
                    visitor.visit(query.file(), name);
                }
                with_name = is_wanted;
                address = query.end;
            }
            Err(Errno::NOENT) => return Ok(QueryEnd::Whole),
            Err(Errno::SRCH) => return Ok(QueryEnd::Lost),
            Err(Errno::NOTTY) => return Ok(QueryEnd::Unsupported),
            Err(Errno::INTR) => {}
            // The name may be too long, and nobody has wanted it yet.
            Err(_) if with_name => with_name = false,
            Err(error) => return Err(error.into()),
        }
    }
    Err(std::io::Error::other("it has too many mappings"))
}

/// Asks for a mapping, and for its file's name where there is room for one.
fn ask(maps: &File, query: &mut Query, name: Option<&mut [u8; LINK_LIMIT]>) -> rustix::io::Result<()> {
    (query.name_size, query.name_address) = match name {
        Some(room) => (LINK_LIMIT as u32, room.as_mut_ptr() as u64),
        None => (0, 0),
    };
    // SAFETY: the opcode is PROCMAP_QUERY and Query has the layout of the kernel's structure for it; `size` is its size, and
    // the name buffer, when one is given, is live and as long as `name_size` says. No build id is asked for.
    #[allow(unsafe_code)]
    unsafe {
        ioctl(maps, Updater::<{ PROCMAP_QUERY }, Query>::new(query))
    }
}

/// `start-end perms offset major:minor inode      name`; only a line end is escaped in the name (fs/proc/task_mmu.c).
fn by_text(maps: &mut File, text: &mut Vec<u8>, visitor: &mut impl Visitor) -> std::io::Result<QueryEnd> {
    const BYTES: u64 = 64 << 20;
    text.clear();
    if maps.take(BYTES).read_to_end(text)? as u64 == BYTES {
        return Err(std::io::Error::other("it has too many mappings"));
    }
    if text.is_empty() {
        return Ok(QueryEnd::Lost);
    }
    in_text(text, visitor);
    Ok(QueryEnd::Whole)
}

/// Shows the files that a text of maps names.
pub(crate) fn in_text(text: &[u8], visitor: &mut impl Visitor) {
    for line in text.split(|&byte| byte == b'\n') {
        let Some((file, name)) = parse_line(line) else { continue };
        if !visitor.wants(file) {
            continue;
        }
        visitor.visit(file, name);
        // `\012` may mean a line end or itself: both readings are checked.
        if let Some(unescaped) = unescape_line_ends(name) {
            visitor.visit(file, &unescaped);
        }
    }
}

fn parse_line(line: &[u8]) -> Option<(MappedFile, &[u8])> {
    let slash = line.iter().position(|&byte| byte == b'/')?;
    let mut fields = std::str::from_utf8(&line[..slash]).ok()?.split_ascii_whitespace().skip(3);
    let (major, minor) = fields.next()?.split_once(':')?;
    let device = FilesystemId {
        major: u32::from_str_radix(major, 16).ok()?,
        minor: u32::from_str_radix(minor, 16).ok()?,
    };
    let inode = fields.next()?.parse().ok()?;
    // Memory that is mapped from no file may be labelled with anything, slashes too: `[anon:x/y]` (prctl(2)).
    fields.next().is_none().then_some((MappedFile { device, inode }, &line[slash..]))
}

fn unescape_line_ends(name: &[u8]) -> Option<Vec<u8>> {
    const ESCAPE: &[u8] = b"\\012";
    let mut rest = name;
    let mut whole = Vec::new();
    while let Some(at) = rest.windows(ESCAPE.len()).position(|window| window == ESCAPE) {
        whole.extend_from_slice(&rest[..at]);
        whole.push(b'\n');
        rest = &rest[at + ESCAPE.len()..];
    }
    (rest.len() < name.len()).then(|| {
        whole.extend_from_slice(rest);
        whole
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::Proc;
    use crate::sys::process_dir::Processes;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Collects names, or ignores them.
    struct FoundNames(BTreeSet<(u64, Vec<u8>)>, bool);

    impl Visitor for FoundNames {
        fn wants(&mut self, _: MappedFile) -> bool {
            self.1
        }

        fn visit(&mut self, file: MappedFile, name: &[u8]) {
            self.0.insert((file.inode, name.to_vec()));
        }
    }

    #[test]
    fn a_line_of_text_is_taken_apart() {
        let line = b"7f00-7f10 r-xp 00002000 fe:0a 4711    /a b/c (deleted)";
        let (file, name) = parse_line(line).unwrap();
        assert_eq!(file, MappedFile { device: FilesystemId { major: 254, minor: 10 }, inode: 4711 });
        assert_eq!(name, b"/a b/c (deleted)");
        assert!(parse_line(b"7f00-7f10 rw-p 00000000 00:00 0     [stack]").is_none());
        assert!(parse_line(b"7f00-7f10 rw-p 00000000 00:00 0     [anon:x/srv/r/_work]").is_none());
        assert_eq!(unescape_line_ends(b"/a\\012b").unwrap(), b"/a\nb");
        assert!(unescape_line_ends(b"/a\\013b").is_none());
    }

    #[test]
    fn both_ways_see_the_same_files_of_a_real_process() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let processes = Processes::open(&Proc::new(Path::new("/proc"))).unwrap();
        let process = processes.process(crate::model::Pid(child.id() as i32)).unwrap();
        let mut from_text = FoundNames(BTreeSet::new(), true);
        let walk = by_text(&mut process.open(c"maps").unwrap(), &mut Vec::new(), &mut from_text);
        assert_eq!(walk.unwrap(), QueryEnd::Whole);
        let mut names = FoundNames(BTreeSet::new(), true);
        for_each_mapped_file(&process, &mut Scratch::default(), &mut names).unwrap();
        let mut none = FoundNames(BTreeSet::new(), false);
        for_each_mapped_file(&process, &mut Scratch::default(), &mut none).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(names.0.iter().any(|(_, name)| name.ends_with(b"/sleep")), "{:?}", names.0);
        assert_eq!(names.0, from_text.0);
        assert!(none.0.is_empty(), "what is not wanted is not named");
    }
}
