//! Reads `/proc/PID/mountinfo` as bytes, without the procfs crate: that fails on the first mount point that is not UTF-8 and does not
//! decode `\040` and similar escapes, so that one hostile or odd name would hide every mount.

use crate::model::FilesystemId;
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::Path;

/// One mount. `point` is relative to the root directory of the process whose file this is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount<'a> {
    pub(crate) id: u64,
    pub(crate) device: FilesystemId,
    /// The directory of the filesystem that is mounted.
    pub(crate) root: Cow<'a, [u8]>,
    pub(crate) point: Cow<'a, [u8]>,
    pub(crate) kind: &'a [u8],
    /// Options of the superblock, still escaped.
    pub(crate) options: &'a [u8],
}

/// Opens the table of our own mount namespace. `proc` is where the procfs is mounted.
///
/// # Errors
/// As for opening a file.
pub(crate) fn open_own(proc: &Path) -> io::Result<File> {
    File::open(proc.join("self/mountinfo"))
}

/// Reads the same table whole.
///
/// # Errors
/// As for reading a file.
pub(crate) fn read_own(proc: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut open_own(proc)?, &mut text)?;
    Ok(text)
}

/// Reads the table of the calling thread, which may have left the mount namespace of its process.
///
/// # Errors
/// As for reading a file.
pub(crate) fn read_of_thread() -> io::Result<Vec<u8>> {
    std::fs::read("/proc/thread-self/mountinfo")
}

/// All mounts, or `None` when a line has another form than in proc(5).
pub(crate) fn parse(text: &[u8]) -> Option<Vec<Mount<'_>>> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(parse_line).collect()
}

/// `36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/sda rw,errors=continue`
pub(crate) fn parse_line(line: &[u8]) -> Option<Mount<'_>> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = number(fields.next()?)?;
    let _parent = fields.next()?;
    let device = fields.next()?;
    let colon = device.iter().position(|&byte| byte == b':')?;
    let device = FilesystemId {
        major: u32::try_from(number(&device[..colon])?).ok()?,
        minor: u32::try_from(number(&device[colon + 1..])?).ok()?,
    };
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let _mount_options = fields.next()?;
    fields.by_ref().find(|field| *field == b"-")?;
    let kind = fields.next()?;
    let _source = fields.next()?;
    let options = fields.next()?;
    // A directory that was removed while it was mounted keeps its old name and this mark (fs/d_path.c, `seq_dentry`).
    let root = match root {
        Cow::Borrowed(root) => Cow::Borrowed(root.strip_suffix(b"//deleted").unwrap_or(root)),
        Cow::Owned(root) => Cow::Owned(root.strip_suffix(b"//deleted").unwrap_or(&root).to_vec()),
    };
    Some(Mount { id, device, root, point, kind, options })
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Decodes the kernel's `\ooo`.
pub(crate) fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if !field.contains(&b'\\') {
        return Cow::Borrowed(field);
    }
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = (byte == b'\\')
            .then(|| tail.first_chunk::<3>())
            .flatten()
            .filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) && digits[0] <= b'3');
        if let Some(digits) = octal {
            plain.push(digits.iter().fold(0, |value, digit| value << 3 | (digit - b'0')));
            rest = &tail[3..];
        } else {
            plain.push(byte);
            rest = tail;
        }
    }
    Cow::Owned(plain)
}

/// The value of an option of the superblock: `Some("")` for one without a value.
pub(crate) fn option<'a>(options: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    options.split(|&byte| byte == b',').map(unescape).find_map(|option| {
        let rest = option.strip_prefix(name.as_bytes())?;
        match rest {
            [] => Some(Cow::Owned(Vec::new())),
            [b'=', value @ ..] => Some(Cow::Owned(value.to_vec())),
            _ => None,
        }
    })
}

/// The directories that an overlay is made of. A layer may hold an escaped colon, an option an escaped comma.
pub(crate) fn overlay_layers(options: &[u8]) -> Vec<Vec<u8>> {
    let mut layers = Vec::new();
    for option in options.split(|&byte| byte == b',').map(unescape) {
        let Some(equals) = option.iter().position(|&byte| byte == b'=') else { continue };
        let (name, value) = (&option[..equals], &option[equals + 1..]);
        match name {
            b"upperdir" | b"workdir" | b"lowerdir+" | b"datadir+" => layers.push(value.to_vec()),
            b"lowerdir" => layers.extend(split_layers(value)),
            _ => {}
        }
    }
    layers
}

fn split_layers(value: &[u8]) -> Vec<Vec<u8>> {
    let mut layers = vec![Vec::new()];
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, layers.last_mut()) {
            (b'\\', Some(layer)) => layer.extend(bytes.next()),
            (b':', _) => layers.push(Vec::new()),
            (byte, Some(layer)) => layer.push(byte),
            (_, None) => {}
        }
    }
    layers.retain(|layer| !layer.is_empty());
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_read_exactly() {
        let text =
            b"36 35 98:7 /a\\040b /m\\011\xff\\134x\\012 rw shared:1 master:2 - ext4 /dev/a\\040b rw,errors=x\n\
              37 36 0:21 / / rw - btrfs none rw,subvol=/@\n";
        let mounts = parse(text).unwrap();
        assert_eq!(mounts[0].id, 36);
        assert_eq!(mounts[0].device, FilesystemId { major: 98, minor: 7 });
        assert_eq!(&*mounts[0].root, b"/a b");
        assert_eq!(&*mounts[0].point, b"/m\t\xff\\x\n");
        assert_eq!(mounts[1].kind, b"btrfs");
    }

    #[test]
    fn a_removed_root_keeps_its_name_and_a_broken_line_is_no_answer() {
        let line = b"36 35 98:7 /work/x//deleted /mnt rw - ext4 /dev/a rw\n";
        assert_eq!(&*parse(line).unwrap()[0].root, b"/work/x");
        assert!(parse(b"36 35 98:7 / /mnt rw\n").is_none());
        assert!(parse(b"").unwrap().is_empty());
    }

    #[test]
    fn options_and_layers() {
        let proc = b"rw,gid=4,hidepid=invisible";
        assert_eq!(option(proc, "hidepid").unwrap(), &b"invisible"[..]);
        assert_eq!(option(proc, "rw").unwrap(), &b""[..]);
        assert!(option(proc, "hide").is_none());
        let overlay = b"rw,lowerdir=/a\\134:b:/c\\054d::/e,upperdir=/u,workdir=/w,index=off";
        assert_eq!(
            overlay_layers(overlay),
            [&b"/a:b"[..], b"/c,d", b"/e", b"/u", b"/w"].map(<[u8]>::to_vec).to_vec()
        );
    }
}
