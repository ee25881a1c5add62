//! A directory in the middle of being emptied.

use crate::sys::dir::Dir;
use crate::sys::handles::Permit;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// An open directory below which something is outstanding.
pub(super) struct Node<'a> {
    pub(super) dir: Dir,
    pub(super) name: Box<CStr>,
    /// `None` for a root: its parent is the base.
    pub(super) parent: Option<Arc<Node<'a>>>,
    /// Readers and subdirectories that are not done.
    pub(super) outstanding: AtomicUsize,
    /// Something in it is kept.
    pub(super) spoiled: AtomicBool,
    /// How often it was read again.
    pub(super) rereads: AtomicU32,
    /// Entries met in this pass.
    pub(super) entries: AtomicU64,
    _permit: Option<Permit<'a>>,
}

impl<'a> Node<'a> {
    /// With one reader outstanding: the one that begins.
    pub(super) fn new(
        dir: Dir,
        name: Box<CStr>,
        parent: Option<Arc<Node<'a>>>,
        permit: Option<Permit<'a>>,
    ) -> Self {
        Self {
            dir,
            name,
            parent,
            outstanding: AtomicUsize::new(1),
            spoiled: AtomicBool::new(false),
            rereads: AtomicU32::new(0),
            entries: AtomicU64::new(0),
            _permit: permit,
        }
    }
}

/// Something in `node` is kept, so `node` is kept; the base is no node.
pub(super) fn spoil(node: Option<&Node<'_>>) {
    if let Some(node) = node {
        node.spoiled.store(true, Ordering::Relaxed);
    }
}

/// Where an entry of `parent` is, from the base on.
pub(super) fn path_of(parent: Option<&Node<'_>>, name: &CStr) -> PathBuf {
    let mut names = vec![name];
    let mut above = parent;
    while let Some(node) = above {
        names.push(&node.name);
        above = node.parent.as_deref();
    }
    names.iter().rev().map(|name| OsStr::from_bytes(name.to_bytes())).collect()
}
