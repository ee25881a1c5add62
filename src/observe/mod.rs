//! Looking, and nothing else: every effect here only reads.

pub mod caches;
pub mod filesystems;
pub mod guarded;
pub mod locks;
pub mod measure;
pub mod runners;
