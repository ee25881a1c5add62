//! Globs of the configuration, compiled. A glob that does not compile is refused when the configuration is read.

use glob::{MatchOptions, Pattern, PatternError};
use globset::{Glob, GlobSet, GlobSetBuilder};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::OnceLock;

/// Globs of at most this many bytes in total always compile: their compiled form stays far below globset's limit.
const SHORT: usize = 4096;

/// A glob over absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathGlob {
    pattern: Pattern,
    parts: Vec<GlobPart>,
}

/// One name of a [`PathGlob`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GlobPart {
    /// This name and no other.
    Named(OsString),
    /// A pattern.
    Wild(Pattern),
}

impl PathGlob {
    /// How names are compared: `*` stops at `/` and matches no hidden name.
    pub const OPTIONS: MatchOptions = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };

    /// A glob that matches this path only. A component that is not UTF-8 matches nothing.
    pub fn literal(path: &Path) -> Self {
        Self::parse(&Pattern::escape(&path.to_string_lossy())).expect("an escaped path is a glob")
    }

    /// Reads a glob.
    ///
    /// # Errors
    /// It is none, as a whole or in one of its names.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let parts = text.split('/').filter(|part| !part.is_empty()).map(GlobPart::parse);
        Ok(Self { pattern: Pattern::new(text)?, parts: parts.collect::<Result<_, _>>()? })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        self.pattern.as_str()
    }

    /// Its names from the root on.
    pub fn parts(&self) -> &[GlobPart] {
        &self.parts
    }

    /// Whether it matches this path as a whole.
    pub fn matches(&self, path: &Path) -> bool {
        self.pattern.matches_path_with(path, Self::OPTIONS)
    }

    /// Whether it matches this path or a directory above it.
    pub fn covers(&self, path: &Path) -> bool {
        path.ancestors().any(|part| self.matches(part))
    }
}

impl GlobPart {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let is_wild = text.contains(['*', '?', '[']);
        if is_wild { Pattern::new(text).map(Self::Wild) } else { Ok(Self::Named(text.into())) }
    }
}

/// Globs over the names of directories.
#[derive(Debug, Clone, Default)]
pub struct DirGlobs {
    globs: Vec<Glob>,
    /// Compiled at the first use: compiling makes system calls, and most hooks never use it.
    set: OnceLock<GlobSet>,
}

impl DirGlobs {
    /// Reads globs.
    ///
    /// # Errors
    /// One of them is none, or together they are too large to be compiled.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self, globset::Error> {
        let globs = texts.iter().map(|text| Glob::new(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let set = OnceLock::new();
        if texts.iter().map(|text| text.as_ref().len()).sum::<usize>() > SHORT {
            let _ = set.set(compile(&globs)?);
        }
        Ok(Self { globs, set })
    }

    /// As they were written.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.globs.iter().map(Glob::glob)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.globs.is_empty()
    }

    /// Whether one of them matches this name.
    pub fn matches(&self, name: &OsStr) -> bool {
        self.set.get_or_init(|| compile(&self.globs).expect("short globs compile")).is_match(Path::new(name))
    }
}

impl PartialEq for DirGlobs {
    fn eq(&self, other: &Self) -> bool {
        self.globs == other.globs
    }
}

impl Eq for DirGlobs {}

fn compile(globs: &[Glob]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(glob.clone());
    }
    set.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_glob_judges_a_path_and_what_is_below_it() {
        let glob = PathGlob::parse("/home/*/actions-runner*").unwrap();
        assert!(glob.matches(Path::new("/home/ci/actions-runner-1")));
        assert!(!glob.matches(Path::new("/home/ci/x/actions-runner-1")));
        assert!(!glob.matches(Path::new("/home/ci/actions-runner-1/_work")));
        assert!(glob.covers(Path::new("/home/ci/actions-runner-1/_work")));
        assert!(!glob.covers(Path::new("/home/ci")));
        assert_eq!(glob.parts()[0], GlobPart::Named("home".into()));
    }

    #[test]
    fn an_invalid_glob_is_refused_as_a_whole_and_by_component() {
        for bad in ["/nfs/[", "/a[/]b", "/a/***"] {
            assert!(PathGlob::parse(bad).is_err(), "{bad}");
        }
        assert!(DirGlobs::parse(&["target", "["]).is_err());
    }

    #[test]
    fn directory_globs_match_as_they_were_written() {
        let globs = DirGlobs::parse(&["target", "target-*", "{debug,release}"]).unwrap();
        for name in ["target", "target-2", "debug"] {
            assert!(globs.matches(OsStr::new(name)), "{name}");
        }
        assert!(!globs.matches(OsStr::new("src")));
        assert_eq!(globs.texts().collect::<Vec<_>>(), ["target", "target-*", "{debug,release}"]);
        assert_eq!(globs, globs.clone());
    }

    /// Short ones are compiled when they are first asked, so they must compile whatever they say; of long ones the configuration
    /// asks.
    #[test]
    fn short_globs_always_compile_and_others_are_compiled_at_once() {
        let dense = "[a-z0-9]?*{a,b}".repeat(SHORT / 15);
        assert!(dense.len() <= SHORT && !DirGlobs::parse(&[&dense]).unwrap().matches(OsStr::new("x")));
        let long = DirGlobs::parse(&["x".repeat(SHORT + 1)]).unwrap();
        assert!(long.set.get().is_some());
        assert!(DirGlobs::parse(&["?*[a-z]".repeat(1 << 20)]).is_err(), "too large to be compiled");
    }
}
