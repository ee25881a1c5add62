//! The output: its width, and whether it takes colour.

use super::super::escape;
use anstyle::{AnsiColor, Style};
use std::ffi::OsStr;
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// The width if none is known, and the least one that is used.
const DEFAULT_WIDTH: usize = 80;
const MIN_WIDTH: usize = 60;

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Always, despite `NO_COLOR`: it was asked for explicitly.
    Always,
    /// Never.
    Never,
}

/// The meaning of a piece of text; the palette defines its look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Heading,
    Faint,
    Good,
    Busy,
    Warn,
    Bad,
}

/// A terminal, a file or a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    width: usize,
    colour: bool,
}

/// The environment's properties of the screen; read once, by [`Screen::of_stdout`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// Columns, when it is a terminal.
    pub terminal: Option<u16>,
    /// `NO_COLOR`.
    pub no_color: Option<&'a OsStr>,
    /// `TERM`.
    pub term: Option<&'a OsStr>,
    /// `COLUMNS`, which watch(1) sets for the command it repeats.
    pub columns: Option<&'a OsStr>,
}

impl Screen {
    /// A screen of a known width, without colours.
    pub fn plain(width: usize) -> Self {
        Self { width: width.max(MIN_WIDTH), colour: false }
    }

    /// The same with colours.
    pub fn coloured(width: usize) -> Self {
        Self { colour: true, ..Self::plain(width) }
    }

    /// Standard output, as this process was started.
    pub fn of_stdout(when: ColorWhen) -> Self {
        use std::io::IsTerminal as _;
        let stdout = std::io::stdout();
        // A terminal that does not report its width (a serial line) returns 0.
        let width = || terminal_size::terminal_size_of(&stdout).map_or(0, |(width, _)| width.0);
        let (no_color, term, columns) =
            (std::env::var_os("NO_COLOR"), std::env::var_os("TERM"), std::env::var_os("COLUMNS"));
        let around = Surroundings {
            terminal: stdout.is_terminal().then(width),
            no_color: no_color.as_deref(),
            term: term.as_deref(),
            columns: columns.as_deref(),
        };
        Self::choose(when, around)
    }

    /// Decides from these properties. An empty `NO_COLOR` counts as unset (no-color.org).
    pub fn choose(when: ColorWhen, around: Surroundings<'_>) -> Self {
        let colour = match when {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => {
                around.terminal.is_some()
                    && around.no_color.is_none_or(OsStr::is_empty)
                    && around.term.is_none_or(|term| term != "dumb")
            }
        };
        let asked = || around.columns?.to_str()?.parse().ok().filter(|width| *width > 0);
        let width = around.terminal.filter(|width| *width > 0).map(usize::from).or_else(asked);
        Self { colour, ..Self::plain(width.unwrap_or(DEFAULT_WIDTH)) }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether colour is used.
    pub fn has_colour(&self) -> bool {
        self.colour
    }

    /// Text in a tone. The text is escaped already: the only escape sequences that reach a screen are made here.
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        let style = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Heading => Style::new().bold(),
            Tone::Faint => Style::new().dimmed(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Busy => AnsiColor::Cyan.on_default(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
        };
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        format!("{style}{text}{style:#}")
    }

    /// Appends `label: text`, wrapped, with the following lines indented below the text.
    pub(super) fn paragraph(&self, out: &mut String, tone: Tone, label: &str, text: &str) {
        let indent = label.width().min(MAX_INDENT);
        for (n, line) in wrap(text, self.width.saturating_sub(indent)).into_iter().enumerate() {
            let _ = match n {
                0 => writeln!(out, "{}{line}", self.paint(tone, label)),
                _ => writeln!(out, "{:indent$}{line}", ""),
            };
        }
    }
}

/// Names may be of any length; text below one is indented at most this far.
pub(super) const MAX_INDENT: usize = 120;

/// Breaks text at spaces into lines of at most `width` columns, and never between a number and its unit. A single longer word gets a
/// line of its own, so that a path can be copied whole. There is at least one line.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in pieces(text) {
        let line = lines.last_mut().expect("it is never empty");
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// The pieces between which a line may end.
fn pieces(text: &str) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    let mut begun = 0;
    for (at, _) in text.match_indices(' ').chain([(text.len(), "")]) {
        let rest = text.get(at + 1..).unwrap_or_default();
        let next = rest.split(' ').next().unwrap_or_default();
        let is_number = text[begun..at].ends_with(|last: char| last.is_ascii_digit());
        if !(is_number && is_unit(next)) {
            found.push(&text[begun..at]);
            begun = at + 1;
        }
    }
    found
}

fn is_unit(word: &str) -> bool {
    let word = word.trim_end_matches([',', ';', ':', '.', ')']);
    matches!(word, "%" | "B" | "KiB" | "MiB" | "GiB" | "TiB" | "PiB" | "s" | "min" | "h" | "d")
}

/// Escapes a name and shortens it to `width` columns by removing its middle: names of runners and paths differ at their end.
pub(in crate::report) fn fit(name: impl AsRef<OsStr>, width: usize) -> String {
    const GAP: &str = "...";
    let name = escape::os(name.as_ref());
    if name.width() <= width {
        return name;
    }
    let room = width.saturating_sub(GAP.len());
    let tail_room = room.div_ceil(2);
    let head = take(name.chars(), room - tail_room);
    let tail: String = take(name.chars().rev(), tail_room).chars().rev().collect();
    format!("{head}{GAP}{tail}")
}

/// As many characters as fit.
fn take(chars: impl Iterator<Item = char>, width: usize) -> String {
    let mut out = String::new();
    for c in chars {
        out.push(c);
        if out.width() > width {
            out.pop();
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    fn around(terminal: Option<u16>) -> Surroundings<'static> {
        Surroundings { terminal, ..Default::default() }
    }

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let set = |text: &'static str| Some(OsStr::new(text));
        let terminal = around(Some(100));
        for (when, around, colour) in [
            (ColorWhen::Auto, terminal, true),
            (ColorWhen::Auto, around(None), false),
            (ColorWhen::Auto, Surroundings { no_color: set("1"), ..terminal }, false),
            (ColorWhen::Auto, Surroundings { no_color: set(""), ..terminal }, true),
            (ColorWhen::Auto, Surroundings { term: set("dumb"), ..terminal }, false),
            (ColorWhen::Auto, Surroundings { term: set("xterm"), ..terminal }, true),
            (ColorWhen::Always, Surroundings { no_color: set("1"), ..around(None) }, true),
            (ColorWhen::Never, terminal, false),
        ] {
            assert_eq!(Screen::choose(when, around).has_colour(), colour, "{when:?} {around:?}");
        }
    }

    #[test]
    fn the_width_is_the_terminals_else_the_variable_of_watch_else_80() {
        let columns = Some(OsStr::new("132"));
        for (around, width) in [
            (around(Some(100)), 100),
            (around(Some(0)), 80),
            (around(Some(20)), 60),
            (around(None), 80),
            (Surroundings { columns, ..around(None) }, 132),
            (Surroundings { columns, ..around(Some(100)) }, 100),
            (Surroundings { columns: Some(OsStr::new("wide")), ..around(None) }, 80),
        ] {
            assert_eq!(Screen::choose(ColorWhen::Auto, around).width(), width, "{around:?}");
        }
    }

    #[test]
    fn paint_adds_nothing_without_colour() {
        assert_eq!(Screen::plain(80).paint(Tone::Bad, "full"), "full");
        assert_eq!(Screen::coloured(80).paint(Tone::Good, "ok"), "\u{1b}[32mok\u{1b}[0m");
        assert_eq!(Screen::coloured(80).paint(Tone::Plain, "ok"), "ok");
    }

    #[test]
    fn long_names_lose_their_middle_and_fit_by_columns() {
        assert_eq!(fit("runner-1", 12), "runner-1");
        assert_eq!(fit("build-farm-rack-12-runner-04", 16), "build-...nner-04");
        assert_eq!(fit("日本語日本語日本語", 10), "日...本語");
        assert_eq!(fit("a\nb", 12), r"a\nb");
        assert_eq!(fit(OsStr::from_bytes(b"caf\xe9"), 12), r"caf\xe9", "no replacement character");
    }

    #[test]
    fn text_wraps_at_spaces_and_long_words_stay_whole() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("/a/very/long/path x", 5), ["/a/very/long/path", "x"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn no_line_ends_between_a_number_and_its_unit() {
        assert_eq!(wrap("it is 78 %, and 9 d old", 9), ["it is", "78 %, and", "9 d old"]);
        assert_eq!(wrap("in 3 runners", 5), ["in 3", "runners"]);
        assert_eq!(wrap("about 12 GiB (4 s)", 12), ["about 12 GiB", "(4 s)"]);
    }
}
