//! What GitHub's `actions/runner` calls things and how it writes them: names in a runner's directory, its settings, its
//! environment, its units and the lines of its logs. Names and parsers of text; nothing here opens a file.
//!
//! All other modules take these from here, so that another kind of runner is another module beside this one. References are to
//! the sources of v2.336.0.

pub mod environment;
pub mod layout;
pub mod listener;
pub mod log;
pub(crate) mod settings;
pub mod unit;
pub mod worker;
