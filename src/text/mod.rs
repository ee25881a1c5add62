//! Text for people: names from disk made harmless, and sizes, ages and reasons in words.

pub(crate) mod words;

pub use crate::escape;
