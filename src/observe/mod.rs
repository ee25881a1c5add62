//! What is on the host: effects that only read. Nothing here changes a file, and what cannot be read is said to be unknown.

pub mod measure;
