//! Which of many directories a path is in, by text only and without allocating.

/// The last component of a path.
pub(super) fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// A set of absolute directories, each belonging to a runner.
#[derive(Debug, Clone, Default)]
pub(super) struct Prefixes {
    sorted: Vec<(Vec<u8>, usize)>,
    /// The common beginning of all of them: most paths of a host fail here.
    common: usize,
}

impl Prefixes {
    /// Adds a directory; false when it was known.
    pub(super) fn add(&mut self, directory: &[u8], runner: usize) -> bool {
        let entry = (trim(directory).to_vec(), runner);
        let Err(at) = self.sorted.binary_search(&entry) else { return false };
        self.sorted.insert(at, entry);
        // Sorted, so the first and the last differ earliest.
        if let (Some((first, _)), Some((last, _))) = (self.sorted.first(), self.sorted.last()) {
            self.common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        }
        true
    }

    /// The directories of one runner.
    pub(super) fn of(&self, runner: usize) -> impl Iterator<Item = &[u8]> {
        self.sorted.iter().filter(move |(_, of)| *of == runner).map(|(directory, _)| directory.as_slice())
    }

    /// Calls `visit` for each runner with a directory that contains `path` or is equal to it. `/a/b` is in `/a`; `/ab` is not, nor is `/a
    /// (deleted)`: that is another, removed directory, because ours existed a moment ago.
    pub(super) fn each_holding(&self, path: &[u8], mut visit: impl FnMut(usize)) {
        let Some((first, _)) = self.sorted.first() else { return };
        if !path.starts_with(b"/") || path.len() < self.common || path[..self.common] != first[..self.common]
        {
            return;
        }
        let ends =
            (0..path.len()).filter(|&at| path[at] == b'/').chain((path.len() > 1).then_some(path.len()));
        for end in ends {
            let part = &path[..end];
            let from = self.sorted.partition_point(|(directory, _)| directory.as_slice() < part);
            for (_, runner) in self.sorted[from..].iter().take_while(|(directory, _)| directory == part) {
                visit(*runner);
            }
        }
    }

    /// Whether `path` lies in any of them.
    pub(super) fn hold(&self, path: &[u8]) -> bool {
        let mut found = false;
        self.each_holding(path, |_| found = true);
        found
    }
}

/// Without the slash at the end: `/` becomes empty, which is a prefix of every absolute path.
pub(super) fn trim(directory: &[u8]) -> &[u8] {
    directory.strip_suffix(b"/").unwrap_or(directory)
}

/// What remains of `path` below `directory`: empty for the directory itself, else beginning with a slash.
pub(super) fn below<'p>(path: &'p [u8], directory: &[u8]) -> Option<&'p [u8]> {
    let rest = trim(path).strip_prefix(trim(directory))?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

/// The two joined; `below` is empty or begins with a slash.
pub(super) fn join(directory: &[u8], below: &[u8]) -> Vec<u8> {
    let joined = [trim(directory), below].concat();
    if joined.is_empty() { b"/".to_vec() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(prefixes: &Prefixes, path: &str) -> Vec<usize> {
        let mut found = Vec::new();
        prefixes.each_holding(path.as_bytes(), |runner| found.push(runner));
        found
    }

    #[test]
    fn a_path_lies_in_whole_components_only() {
        let mut prefixes = Prefixes::default();
        for (runner, path) in
            ["/r/runner-1/_work", "/r/runner-10/_work", "/r/runner-1/_work/nested"].iter().enumerate()
        {
            assert!(prefixes.add(path.as_bytes(), runner));
            assert!(!prefixes.add(path.as_bytes(), runner));
        }
        for (path, expected) in [
            ("/r/runner-1/_work", &[0][..]),
            ("/r/runner-1/_work/", &[0]),
            ("/r/runner-1/_work/a (deleted)", &[0]),
            ("/r/runner-1/_work/nested/x", &[0, 2]),
            ("/r/runner-10/_work/a", &[1]),
            ("/r/runner-1/_work (deleted)", &[]),
            ("/r/runner-1/_workshop/a", &[]),
            ("/r/runner-1", &[]),
            ("/", &[]),
            ("r/runner-1/_work", &[]),
            ("socket:[1]", &[]),
            ("", &[]),
        ] {
            assert_eq!(holding(&prefixes, path), expected, "{path}");
        }
    }

    #[test]
    fn every_path_is_inside_the_root() {
        let mut prefixes = Prefixes::default();
        prefixes.add(b"/", 3);
        assert_eq!(holding(&prefixes, "/"), [3]);
        assert_eq!(holding(&prefixes, "/a/b"), [3]);
        assert!(holding(&prefixes, "pipe:[1]").is_empty());
    }

    #[test]
    fn parts_fit_together() {
        assert_eq!(below(b"/a/b", b"/a"), Some(&b"/b"[..]));
        assert_eq!(below(b"/a", b"/a/"), Some(&b""[..]));
        assert_eq!(below(b"/a", b"/"), Some(&b"/a"[..]));
        assert_eq!(below(b"/", b"/"), Some(&b""[..]));
        assert_eq!(below(b"/ab", b"/a"), None);
        assert_eq!(join(b"/", b""), b"/");
        assert_eq!(join(b"/", b"/a"), b"/a");
        assert_eq!(join(b"/m", b"/a"), b"/m/a");
    }
}
