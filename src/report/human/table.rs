//! A table that keeps its columns whatever the names in it are, with free text in its last column.

use super::screen::{Screen, Tone, wrap};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// Below this many columns the last column's text goes under its row.
const MIN_TEXT: usize = 34;
/// Between columns.
const GAP: usize = 2;
/// How far text that goes under its row is indented.
const UNDER: usize = 4;

/// Where a column's text stands.
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
    rows: Vec<(Vec<Cell>, String)>,
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
        self.rows.push((cells.into(), text.into()));
    }

    pub(super) fn render(&self, screen: &Screen, out: &mut String) {
        let widths = self.widths();
        let left = widths.iter().sum::<usize>() + GAP * widths.len();
        let beside = screen.width().saturating_sub(left) >= MIN_TEXT;
        self.render_header(screen, &widths, beside, out);
        for (cells, text) in &self.rows {
            let line = self.line(screen, &widths, cells);
            let indent = if beside { left } else { UNDER };
            let mut lines = wrap(text, screen.width() - indent).into_iter().filter(|line| !line.is_empty());
            let first = if beside { lines.next() } else { None };
            let _ = match first {
                Some(first) => writeln!(out, "{line}{:GAP$}{first}", ""),
                None => writeln!(out, "{}", line.trim_end()),
            };
            for more in lines {
                let _ = writeln!(out, "{:indent$}{more}", "");
            }
        }
    }

    fn render_header(&self, screen: &Screen, widths: &[usize], beside: bool, out: &mut String) {
        let cells: Vec<Cell> = self.header.iter().map(|name| Cell::new(Tone::Heading, *name)).collect();
        let mut line = self.line(screen, widths, &cells[..widths.len()]);
        if beside {
            let _ = write!(line, "{:GAP$}{}", "", screen.paint(Tone::Heading, self.header[widths.len()]));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }

    fn widths(&self) -> Vec<usize> {
        (0..self.align.len())
            .map(|n| {
                let cells = self.rows.iter().map(|(cells, _)| cells[n].text.width());
                cells.chain([self.header[n].width()]).max().unwrap_or(0)
            })
            .collect()
    }

    fn line(&self, screen: &Screen, widths: &[usize], cells: &[Cell]) -> String {
        let fields: Vec<String> = cells
            .iter()
            .zip(widths)
            .zip(&self.align)
            .map(|((cell, width), align)| {
                let text = screen.paint(cell.tone, &cell.text);
                // Padding stands outside the colour, and counts columns, not characters.
                let padding = " ".repeat(width - cell.text.width());
                match align {
                    Align::Left => text + &padding,
                    Align::Right => padding + &text,
                }
            })
            .collect();
        fields.join(&" ".repeat(GAP))
    }
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
        sample().render(&Screen::new(width, colour), &mut out);
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
    fn text_goes_below_its_row_when_there_is_no_room() {
        let mut table = Table::new([("NAME", Align::Left)], "WHY");
        table.row([Cell::plain("a name of more than thirty columns")], "the reason, in words");
        let mut out = String::new();
        table.render(&Screen::new(60, false), &mut out);
        insta::assert_snapshot!(out, @"
        NAME
        a name of more than thirty columns
            the reason, in words
        ");
    }
}
