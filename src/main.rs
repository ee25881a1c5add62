//! The `disk-guard` command.
fn main() {}
