//! `check-config` for people.

use crate::config::Config;
use crate::report::escape;
use std::path::Path;

/// Where the effective configuration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigOrigin<'a> {
    /// A file that was read.
    File(&'a Path),
    /// The file is not there: the defaults hold.
    Defaults(&'a Path),
}

/// The effective configuration as a file that would give the same one, its origin as a comment at its head: what is
/// printed can be saved and used.
pub fn config(origin: ConfigOrigin<'_>, config: &Config) -> String {
    let head = match origin {
        ConfigOrigin::File(path) => format!("# {} is valid. In effect:", escape::path(path)),
        ConfigOrigin::Defaults(path) => {
            format!("# {} does not exist: the defaults are in effect.", escape::path(path))
        }
    };
    format!("{head}\n{}\n", config.effective().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_text_is_a_valid_configuration() {
        let default = Config::default();
        for origin in
            [ConfigOrigin::File(Path::new("/etc/x\n.toml")), ConfigOrigin::Defaults(Path::new("/etc/x.toml"))]
        {
            let text = config(origin, &default);
            assert!(text.starts_with("# /etc/x"), "{text}");
            assert_eq!(Config::parse(&text).unwrap().effective(), default.effective());
        }
    }
}
