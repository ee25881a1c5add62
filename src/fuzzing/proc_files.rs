use super::contains;
use crate::model::{FileId, FilesystemId, Pid, StartTime};
use crate::observe::host_lock::holding;
use crate::observe::processes::mountinfo::{self, Mount};
use crate::sys::mappings::{MappedFile, Visitor, in_text};
use crate::sys::process::{boot_time, identity, started};
use std::time::{Duration, SystemTime};

/// `/proc/PID/stat` and `/proc/stat`: a process's name changes no other field.
pub fn stat(bytes: &[u8]) {
    let _ = identity(Pid(77), bytes);
    let line = [
        b"77 (",
        name(bytes).as_slice(),
        b") S 5 77 77 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 4711 0 0 18446744073709551615",
    ]
    .concat();
    let line = [&line[..], &b" 0".repeat(26), b"\n"].concat();
    let who = identity(Pid(77), &line).unwrap_or_else(|why| panic!("{why}: {line:?}"));
    assert_eq!((who.id.start, who.parent), (StartTime(4711), Pid(5)));
    assert!(!who.is_zombie && !who.is_kernel_thread);

    let first = [b"btime 5\n", bytes].concat();
    assert_eq!(boot_time(&first), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5)));
    if let (Some(boot), Some(ticks)) =
        (boot_time(bytes), bytes.first_chunk().copied().map(u64::from_le_bytes))
    {
        assert!(started(boot, StartTime(ticks)).is_none_or(|time| time >= boot));
    }
}

/// A name as the kernel keeps and shows it: 15 bytes without NUL; line ends and backslashes are escaped.
fn name(bytes: &[u8]) -> Vec<u8> {
    let kept = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    escaped(&kept[..kept.len().min(15)], |byte| match byte {
        b'\n' => Some(b"\\n".to_vec()),
        b'\\' => Some(b"\\\\".to_vec()),
        _ => None,
    })
}

fn escaped(bytes: &[u8], special: impl Fn(u8) -> Option<Vec<u8>>) -> Vec<u8> {
    bytes.iter().flat_map(|byte| special(*byte).unwrap_or_else(|| vec![*byte])).collect()
}

/// Arbitrary names from the input, each ending at a NUL or at the input's end.
fn names(bytes: &[u8]) -> [&[u8]; 3] {
    let mut parts = bytes.split(|byte| *byte == 0);
    [(); 3].map(|()| parts.next().unwrap_or_default())
}

/// `/proc/PID/mountinfo`: the names of a mount hide no other mount and are read exactly; a mount that is printed is read back equal.
pub fn mountinfo(bytes: &[u8]) {
    if let Some(mounts) = mountinfo::parse(bytes) {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        assert_eq!(mounts.len(), lines, "every line or none");
        // A name with this ending loses it each time it is read.
        if !mounts.iter().any(|mount| mount.root.ends_with(b"//deleted")) {
            let printed: Vec<u8> = mounts.iter().flat_map(print).collect();
            assert_eq!(mountinfo::parse(&printed), Some(mounts));
        }
    }
    let _ = mountinfo::option(bytes, "hidepid");
    let _ = mountinfo::overlay_layers(bytes);
    hostile_mount(names(bytes));
}

fn hostile_mount([root, point, layer]: [&[u8]; 3]) {
    let (root, point) = ([b"/", root].concat(), [b"/", point].concat());
    if root.ends_with(b"//deleted") {
        return;
    }
    // As mount(8) quotes it for the kernel, and as the kernel then prints it.
    let quoted = escaped(layer, |byte| b":\\".contains(&byte).then(|| vec![b'\\', byte]));
    let options = [b"rw,lowerdir=/l1:/", octal(&quoted, b",= \t\n\\").as_slice(), b",upperdir=/u"].concat();
    let device = FilesystemId { major: 8, minor: 1 };
    let mount =
        Mount { id: 36, device, root: root.into(), point: point.into(), kind: b"overlay", options: &options };
    let good = b"1 0 8:1 / / rw - ext4 /dev/a rw\n";
    let text = [&good[..], &print(&mount), good].concat();
    let mounts = mountinfo::parse(&text).unwrap_or_else(|| panic!("hidden by {:?}", text));
    assert_eq!(mounts.len(), 3);
    assert_eq!(mounts[1], mount);
    let layers = mountinfo::overlay_layers(mounts[1].options);
    assert_eq!(layers, [b"/l1".to_vec(), [b"/", layer].concat(), b"/u".to_vec()]);
}

fn print(mount: &Mount<'_>) -> Vec<u8> {
    let name = |name: &[u8]| octal(name, b" \t\n\\");
    [
        format!("{} 0 {}:{} ", mount.id, mount.device.major, mount.device.minor).as_bytes(),
        &name(&mount.root),
        b" ",
        &name(&mount.point),
        b" rw shared:1 - ",
        mount.kind,
        b" none ",
        mount.options,
        b"\n",
    ]
    .concat()
}

/// The kernel's escapes of separators in names (fs/seq_file.c, `mangle_path`).
fn octal(bytes: &[u8], special: &[u8]) -> Vec<u8> {
    escaped(bytes, |byte| special.contains(&byte).then(|| format!("\\{byte:03o}").into_bytes()))
}

/// `/proc/locks`: no line hides the holder of a lock, and a waiter is not a holder.
pub fn locks(bytes: &[u8]) {
    let file = FileId { dev: rustix::fs::makedev(0xfe, 3), ino: 5 };
    let table = String::from_utf8_lossy(bytes);
    for pid in holding(&table, file) {
        assert!(contains(bytes, pid.to_string().as_bytes()) && contains(bytes, b"FLOCK"), "{pid}");
    }
    let held = "1: FLOCK  ADVISORY  WRITE 7007 fe:03:5 0 EOF\n";
    let waits = "1: -> FLOCK  ADVISORY  WRITE 7007 fe:03:5 0 EOF\n";
    for table in [format!("{held}{table}"), format!("{table}\n{held}")] {
        assert!(holding(&table, file).contains(&Pid(7007)), "{table}");
    }
    let is_named = |table: &str| holding(table, file).contains(&Pid(7007));
    assert_eq!(is_named(&format!("{waits}{table}")), is_named(&table));
}

/// `/proc/PID/maps`: a file is found in its directory and hides no other file; anonymous memory has no name.
pub fn maps(bytes: &[u8]) {
    in_text(bytes, &mut Visits::default());
    let [directory, file, ..] = names(bytes);
    let directory = [b"/", directory, b"/"].concat();
    let name = [&directory, file].concat();
    let shown = escaped(&name, |byte| (byte == b'\n').then(|| b"\\012".to_vec()));
    let line = |inode: u64, name: &[u8]| {
        [format!("7f00-7f10 r-xp 00002000 fe:0a {inode}    ").as_bytes(), name, b"\n"].concat()
    };
    // prctl(2) takes printable characters except these for the name of anonymous memory.
    let label = bytes
        .iter()
        .copied()
        .filter(|byte| (byte.is_ascii_graphic() || *byte == b' ') && !b"[]\\$`".contains(byte));
    let anonymous =
        [&b"7f20-7f30 rw-p 00000000 00:00 0    [anon:"[..], &label.collect::<Vec<u8>>(), b"]\n"].concat();

    let mut seen = Visits::default();
    in_text(&[line(11, b"/before"), line(12, &shown), anonymous, line(13, b"/after")].concat(), &mut seen);
    let device = FilesystemId { major: 0xfe, minor: 10 };
    for (inode, name) in [(11, &b"/before"[..]), (13, b"/after")] {
        let wanted = (MappedFile { device, inode }, name.to_vec());
        assert!(seen.0.contains(&wanted), "{wanted:?} is not among {:?}", seen.0);
    }
    // A line end and its escape look alike: a directory with both in its name is ambiguous.
    if !(contains(&directory, b"\n") && contains(&directory, b"\\012")) {
        let is_below =
            |(file, name): &(MappedFile, Vec<u8>)| file.inode == 12 && name.starts_with(&directory);
        assert!(seen.0.iter().any(is_below), "{directory:?} is not among {:?}", seen.0);
    }
    assert!(seen.0.iter().all(|(file, _)| file.device == device), "{:?}", seen.0);
}

#[derive(Default)]
struct Visits(Vec<(MappedFile, Vec<u8>)>);

impl Visitor for Visits {
    fn wants(&mut self, _: MappedFile) -> bool {
        true
    }

    fn visit(&mut self, file: MappedFile, name: &[u8]) {
        self.0.push((file, name.to_vec()));
    }
}
