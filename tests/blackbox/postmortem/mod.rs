//! Why runners and jobs died: real deaths, and a table of staged ones of which the truth is known.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

mod deaths;
mod endings;
mod genuine;
mod staged;
