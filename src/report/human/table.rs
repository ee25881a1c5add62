//! A table with stable columns whatever names it contains, with free text in its last column.

use super::screen::{Screen, Tone, wrap};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// Below this many columns the last column's text goes under its row.
const MIN_TEXT: usize = 34;
/// Between columns.
const GAP: usize = 2;
/// How far text that goes under its row is indented.
const UNDER: usize = 4;

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// One field: escaped text and what it means.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new(Tone::Plain, text)
    }
}

/// Columns of fixed width, then text that is wrapped to what is left.
pub(super) struct Table {
    align: Vec<Align>,
    header: Vec<&'static str>,
    rows: Vec<(Vec<Cell>, Text)>,
}

/// The text after a row's cells.
enum Text {
    /// As many lines as it takes.
    Whole(String),
    /// One line: the first of these that fits, or none.
    OneOf(Vec<String>),
}

impl Text {
    /// The text of a short row that fits into so many columns.
    fn in_short(&self, room: usize) -> Option<&str> {
        match self {
            Self::Whole(_) => None,
            Self::OneOf(texts) => texts.iter().map(String::as_str).find(|text| text.width() <= room),
        }
    }
}

/// A line of a table: its pieces, each in its tone.
pub(super) type TableLine = Vec<(Tone, String)>;

/// A table laid out for a screen.
pub(super) struct Laid {
    pub(super) header: TableLine,
    /// Each row with the lines below it.
    pub(super) rows: Vec<Vec<TableLine>>,
}

impl Table {
    /// One more header than alignments: the last is that of the text; an empty one when there is no text.
    pub(super) fn new<const N: usize>(columns: [(&'static str, Align); N], text: &'static str) -> Self {
        let mut header: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        header.push(text);
        Self { align: columns.iter().map(|(_, align)| *align).collect(), header, rows: Vec::new() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N], text: impl Into<String>) {
        debug_assert_eq!(N, self.align.len(), "a row has a cell for every column");
        self.rows.push((cells.into(), Text::Whole(text.into())));
    }

    /// A row that takes one line at every width, with the first of `texts` that fits.
    pub(super) fn short_row<const N: usize>(&mut self, cells: [Cell; N], texts: Vec<String>) {
        debug_assert_eq!(N, self.align.len(), "a row has a cell for every column");
        self.rows.push((cells.into(), Text::OneOf(texts)));
    }

    pub(super) fn render(&self, screen: &Screen, out: &mut String) {
        let Laid { header, rows } = self.lay(screen.width());
        for line in std::iter::once(&header).chain(rows.iter().flatten()) {
            let line: String = line.iter().map(|(tone, text)| screen.paint(*tone, text)).collect();
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }

    /// The table on a screen of so many columns.
    pub(super) fn lay(&self, width: usize) -> Laid {
        let widths = self.widths();
        let left = widths.iter().sum::<usize>() + GAP * widths.len();
        let room = width.saturating_sub(left);
        let beside = room >= MIN_TEXT;
        let cells: Vec<Cell> = self.header.iter().map(|name| Cell::new(Tone::Heading, *name)).collect();
        let mut header = self.line(&widths, &cells[..widths.len()]);
        let name = self.header[widths.len()];
        let is_beside = |(_, text): &(Vec<Cell>, Text)| text.in_short(room).is_some();
        if beside || (name.width() <= room && self.rows.iter().any(is_beside)) {
            append(&mut header, Tone::Heading, name);
        }
        let rows = self.rows.iter().map(|(cells, text)| {
            let mut line = self.line(&widths, cells);
            let text = match text {
                Text::Whole(text) => text,
                Text::OneOf(_) => {
                    if let Some(text) = text.in_short(room) {
                        append(&mut line, Tone::Plain, text);
                    }
                    return vec![line];
                }
            };
            let indent = if beside { left } else { UNDER };
            let mut lines =
                wrap(text, width.saturating_sub(indent)).into_iter().filter(|line| !line.is_empty());
            if let Some(first) = beside.then(|| lines.next()).flatten() {
                append(&mut line, Tone::Plain, &first);
            }
            let more = lines.map(|more| vec![(Tone::Plain, format!("{:indent$}{more}", ""))]);
            std::iter::once(line).chain(more).collect()
        });
        Laid { header, rows: rows.collect() }
    }

    fn widths(&self) -> Vec<usize> {
        (0..self.align.len())
            .map(|n| {
                let cells = self.rows.iter().map(|(cells, _)| cells[n].text.width());
                cells.chain([self.header[n].width()]).max().unwrap_or(0)
            })
            .collect()
    }

    fn line(&self, widths: &[usize], cells: &[Cell]) -> TableLine {
        let mut line = TableLine::new();
        for (n, ((cell, width), align)) in cells.iter().zip(widths).zip(&self.align).enumerate() {
            let gap = if n == 0 { 0 } else { GAP };
            // Padding is outside the colour, and counts columns, not characters.
            let padding = width - cell.text.width();
            let (before, after) = match align {
                Align::Left => (gap, padding),
                Align::Right => (gap + padding, 0),
            };
            line.push((Tone::Plain, " ".repeat(before)));
            line.push((cell.tone, cell.text.clone()));
            line.push((Tone::Plain, " ".repeat(after)));
        }
        line
    }
}

fn append(line: &mut TableLine, tone: Tone, text: &str) {
    line.push((Tone::Plain, " ".repeat(GAP)));
    line.push((tone, text.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new([("NAME", Align::Left), ("SIZE", Align::Right)], "WHY");
        table.row(
            [Cell::plain("one"), Cell::new(Tone::Good, "1 B")],
            "because it is so and not in any other way",
        );
        table.row([Cell::plain("日本"), Cell::plain("1024 GiB")], "");
        table
    }

    fn render(width: usize, colour: bool) -> String {
        let mut out = String::new();
        let screen = if colour { Screen::coloured(width) } else { Screen::plain(width) };
        sample().render(&screen, &mut out);
        out
    }

    #[test]
    fn text_stands_beside_its_row_when_there_is_room() {
        insta::assert_snapshot!(render(80, false), @"
        NAME      SIZE  WHY
        one        1 B  because it is so and not in any other way
        日本  1024 GiB
        ");
    }

    #[test]
    fn columns_align_by_width_and_text_wraps_in_its_column() {
        insta::assert_snapshot!(render(60, false), @"
        NAME      SIZE  WHY
        one        1 B  because it is so and not in any other way
        日本  1024 GiB
        ");
    }

    #[test]
    fn colour_changes_no_alignment() {
        let plain =
            render(80, true).replace("\u{1b}[32m", "").replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        assert_eq!(plain, render(80, false));
    }

    #[test]
    fn a_short_row_takes_one_line_with_the_longest_text_that_has_room() {
        for (width, shown) in [(80, "the reason, in words"), (60, "reason"), (40, "")] {
            let mut table = Table::new([("NAME", Align::Left)], "WHY");
            let name = "x".repeat(
                width - 24
                    + if width == 60 {
                        8
                    } else if width == 40 {
                        20
                    } else {
                        0
                    },
            );
            table.short_row([Cell::plain(name)], vec!["the reason, in words".into(), "reason".into()]);
            let rows = table.lay(width).rows;
            let line: String = rows[0][0].iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!(rows[0].len(), 1, "{line}");
            assert_eq!(line.trim_start_matches('x').trim(), shown, "{width}");
        }
    }

    #[test]
    fn text_is_printed_below_its_row_when_the_line_is_full() {
        let mut table = Table::new([("NAME", Align::Left)], "WHY");
        table.row([Cell::plain("a name of more than thirty columns")], "the reason, in words");
        let mut out = String::new();
        table.render(&Screen::plain(60), &mut out);
        insta::assert_snapshot!(out, @"
        NAME
        a name of more than thirty columns
            the reason, in words
        ");
    }
}
