//! The only code that renames or deletes. It imports `model` and `sys` alone: what goes is decided elsewhere.

pub mod remove_tree;
