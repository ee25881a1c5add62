//! Text for people: names from disk made harmless, and sizes, ages and reasons in words.

pub mod escape;
pub(crate) mod words;
