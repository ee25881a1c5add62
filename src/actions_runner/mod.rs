//! Names and formats of GitHub's `actions/runner`: names in a runner's directory, its settings, its environment, its units and the lines
//! of its logs. Only names and parsers of text; nothing here opens a file.
//!
//! All other modules use these names, so that another kind of runner needs only another module beside this one. References are to the
//! sources of v2.336.0.

pub mod environment;
pub mod layout;
pub mod listener;
pub mod log;
pub(crate) mod settings;
pub mod unit;
pub mod worker;
