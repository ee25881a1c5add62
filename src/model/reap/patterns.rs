//! `match` and `keep`: globs over names, labels and images.
//!
//! `runner-*` is a glob over the name of an environment, `label:KEY` and `label:KEY=GLOB` select by a label, and
//! `image:GLOB` names a container image without a tag by its short id. Images are meant by such a pattern alone: `*` is every
//! environment and no image.

use super::{Class, Environment};
use globset::{Glob, GlobSet, GlobSetBuilder};

/// One pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Name(GlobSet),
    Image(GlobSet),
    Label(String, Option<GlobSet>),
}

/// Why a pattern is invalid. The message follows the pattern's text.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// It, or the glob in it, is empty.
    #[error("is empty")]
    Empty,
    /// It is not a glob.
    #[error("is not a glob: {0}")]
    NoGlob(globset::ErrorKind),
    /// `label:` without a key.
    #[error("names no label, expected `label:KEY` or `label:KEY=GLOB`")]
    NoLabel,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let glob = |glob: &str| match Glob::new(glob).and_then(compiled) {
            Ok(_) if glob.is_empty() => Err(PatternError::Empty),
            Ok(glob) => Ok(glob),
            Err(error) => Err(PatternError::NoGlob(error.kind().clone())),
        };
        let what = if let Some(label) = text.strip_prefix("label:") {
            let (key, value) = label.split_once('=').map_or((label, None), |(key, value)| (key, Some(value)));
            if key.is_empty() {
                return Err(PatternError::NoLabel);
            }
            What::Label(key.to_owned(), value.map(glob).transpose()?)
        } else if let Some(image) = text.strip_prefix("image:") {
            What::Image(glob(image)?)
        } else {
            What::Name(glob(text)?)
        };
        Ok(Self { text: text.to_owned(), what })
    }

    /// Whether it matches this environment.
    pub fn names(&self, environment: &Environment) -> bool {
        match (&self.what, environment.class) {
            (What::Name(glob), Class::Environment) | (What::Image(glob), Class::Image) => {
                glob.is_match(&environment.name)
            }
            (What::Label(key, value), Class::Environment) => environment
                .labels
                .iter()
                .any(|(found, text)| found == key && value.as_ref().is_none_or(|glob| glob.is_match(text))),
            (What::Name(_) | What::Label(..), Class::Image) | (What::Image(_), Class::Environment) => false,
        }
    }

    /// Whether it selects images.
    pub fn is_of_images(&self) -> bool {
        matches!(self.what, What::Image(_))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A set of one: a glob that is too large to compile is an error there, and a panic in `Glob::compile_matcher`.
fn compiled(glob: Glob) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    set.add(glob);
    set.build()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// The first pattern that matches the environment.
pub fn first<'p>(patterns: &'p [Pattern], environment: &Environment) -> Option<&'p Pattern> {
    patterns.iter().find(|pattern| pattern.names(environment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reap::EnvironmentState;

    #[test]
    fn a_glob_that_is_too_large_to_compile_is_refused() {
        // With an alternative it is no literal, which would need no compiling.
        let refused = Pattern::parse(&format!("{{x,y}}{}*", "a".repeat(1 << 20)));
        assert!(matches!(refused, Err(PatternError::NoGlob(_))), "a megabyte is taken");
        assert!(Pattern::parse("{a,b}*").is_ok());
    }

    #[test]
    fn each_pattern_matches_the_names_it_describes() {
        let mut vm = Environment::new("1", "runner-12", EnvironmentState::Stopped);
        vm.labels = vec![("ci".into(), "ephemeral".into()), ("bare".into(), String::new())];
        let image = Environment {
            class: Class::Image,
            ..Environment::new("s", "0123456789ab", EnvironmentState::Stopped)
        };
        for (pattern, names_vm, names_image) in [
            ("runner-*", true, false),
            ("runner-1", false, false),
            ("runner-1?", true, false),
            ("runner-{12,13}", true, false),
            ("*", true, false),
            ("image:*", false, true),
            ("image:0123*", false, true),
            ("image:f*", false, false),
            ("label:ci", true, false),
            ("label:ci=eph*", true, false),
            ("label:ci=other", false, false),
            ("label:bare", true, false),
            ("label:c", false, false),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!((parsed.names(&vm), parsed.names(&image)), (names_vm, names_image), "{pattern}");
        }
    }

    #[test]
    fn invalid_patterns_are_refused() {
        for (text, why) in [
            ("", "empty"),
            ("[", "not a glob"),
            ("label:", "label"),
            ("label:=x", "label"),
            ("image:", "empty"),
        ] {
            assert!(Pattern::parse(text).unwrap_err().to_string().contains(why), "{text}");
        }
    }
}
