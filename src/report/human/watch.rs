//! `status --watch`: headline and disks are fixed, below them as many runners as fit, and how many more there are.

use super::screen::{Screen, Tone};
use super::status::{UNGUARDED, disks, standings, table};
use super::table::TableLine;
use super::{standing_tone, words};
use crate::model::HostStatus;
use crate::report::escape;
use crate::sys::reach::IS_SILENT;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};

/// The content of the screen, and the scroll position of its runners.
#[derive(Debug)]
pub struct WatchScreen {
    /// The host as it was last seen; nothing before the first look has ended.
    pub host: Option<HostStatus>,
    screen: Screen,
    /// The first runner that is shown.
    first: usize,
    /// How many were shown.
    page: usize,
}

/// Where to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scroll {
    /// One runner up.
    Up,
    /// One runner down.
    Down,
    /// As many runners up as are shown.
    PageUp,
    /// As many runners down as are shown.
    PageDown,
    /// To the first runner.
    First,
    /// To the last runner.
    Last,
}

impl WatchScreen {
    /// Nothing seen yet.
    pub fn new(screen: Screen) -> Self {
        Self { host: None, screen, first: 0, page: 1 }
    }

    /// Moves among the runners.
    pub fn scroll(&mut self, to: Scroll) {
        let page = self.page.max(1);
        self.first = match to {
            Scroll::Up => self.first.saturating_sub(1),
            Scroll::Down => self.first.saturating_add(1),
            Scroll::PageUp => self.first.saturating_sub(page),
            Scroll::PageDown => self.first.saturating_add(page),
            Scroll::First => 0,
            Scroll::Last => usize::MAX,
        };
    }

    /// Draws.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let Some(host) = &self.host else {
            frame.render_widget("disk-guard is examining the host ... q quits", area);
            return;
        };
        let width = usize::from(area.width);
        let disks = disks(host, width).lay(width);
        let above: Vec<TableLine> = disks.rows.into_iter().flatten().collect();
        // On a small screen the disks leave the runners a third of it.
        let disk_lines = (above.len() + 1).min(usize::from(area.height) * 2 / 3);
        let heights = [1, 1, disk_lines as u16, 1].map(Constraint::Length);
        let heights = heights.into_iter().chain([Constraint::Fill(1), Constraint::Length(1)]);
        let parts = Layout::vertical(heights).split(area);
        let headline = self.headline(host);
        frame.render_widget(headline, parts[0]);
        frame.render_widget(self.silence(host), parts[1]);
        let disks = std::iter::once(&disks.header).chain(&above).map(|line| self.line(line));
        frame.render_widget(Text::from(disks.collect::<Vec<_>>()), parts[2]);

        let runners = table(host, width).lay(width);
        let room = usize::from(parts[4].height).saturating_sub(1);
        let heights: Vec<usize> = runners.rows.iter().map(Vec::len).collect();
        let first = self.first.min(last_first(&heights, room));
        let shown = fitting(&heights[first..], room);
        (self.first, self.page) = (first, shown);
        let rows = runners.rows[first..first + shown].iter().flatten();
        let lines = std::iter::once(&runners.header).chain(rows).map(|line| self.line(line));
        frame.render_widget(Text::from(lines.collect::<Vec<_>>()), parts[4]);
        let footer = self.footer(host, first, shown);
        frame.render_widget(footer, parts[5]);
    }

    fn headline(&self, host: &HostStatus) -> Line<'static> {
        let mut pieces = vec![
            (Tone::Heading, escape::text(&host.host).into_owned()),
            (Tone::Plain, format!("  {}", words::count(host.runners.len(), "runner"))),
        ];
        for (n, (standing, count)) in standings(host).enumerate() {
            pieces.push((Tone::Plain, if n == 0 { ": " } else { ", " }.into()));
            pieces.push((standing_tone(standing), format!("{count} {}", standing.as_str())));
        }
        let time = words::timestamp(host.time).strftime("%F %H:%M:%S UTC");
        pieces.push((Tone::Plain, format!("  {time}")));
        self.line(&pieces)
    }

    /// The first mount that does not answer.
    fn silence(&self, host: &HostStatus) -> Line<'static> {
        let told = host.notes.iter().find_map(|note| {
            let (before, _) = note.split_once(IS_SILENT)?;
            let mount = before.rsplit(": ").next()?;
            Some((Tone::Warn, format!("{}does not answer", escape::text(mount))))
        });
        self.line(&told.into_iter().collect())
    }

    fn footer(&self, host: &HostStatus, first: usize, shown: usize) -> Line<'static> {
        let after = host.runners.len() - first - shown;
        let hidden = match (first, after) {
            (0, 0) => String::new(),
            (0, after) => format!("{after} more below  "),
            (first, 0) => format!("{first} more above  "),
            (first, after) => format!("{first} more above, {after} below  "),
        };
        let reclaimable: u64 = host.runners.iter().map(|runner| runner.reclaimable_bytes).sum();
        let mut pieces = vec![
            (Tone::Heading, hidden),
            (Tone::Plain, format!("{} reclaimable  ", words::size(reclaimable))),
            (Tone::Faint, "q quits".into()),
        ];
        if host.runners.iter().any(|runner| !runner.guarded.is_guarded()) {
            pieces.push((Tone::Faint, format!("  ! {UNGUARDED}")));
        }
        self.line(&pieces)
    }

    fn line(&self, pieces: &TableLine) -> Line<'static> {
        pieces.iter().map(|(tone, text)| Span::styled(text.clone(), self.style(*tone))).collect()
    }

    /// Bold and faint are no colours.
    fn style(&self, tone: Tone) -> Style {
        let of = |colour| if self.screen.has_colour() { Style::new().fg(colour) } else { Style::new() };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Heading => Style::new().add_modifier(Modifier::BOLD),
            Tone::Faint => Style::new().add_modifier(Modifier::DIM),
            Tone::Good => of(Color::Green),
            Tone::Busy => of(Color::Cyan),
            Tone::Warn => of(Color::Yellow),
            Tone::Bad => of(Color::Red).add_modifier(Modifier::BOLD),
        }
    }
}

/// How many of these rows fit completely.
fn fitting(heights: &[usize], room: usize) -> usize {
    let mut used = 0;
    heights
        .iter()
        .take_while(|height| {
            used += **height;
            used <= room
        })
        .count()
}

/// The first row of the last page: scrolling ends there.
fn last_first(heights: &[usize], room: usize) -> usize {
    let from_end: Vec<usize> = heights.iter().rev().copied().collect();
    heights.len() - fitting(&from_end, room).max(usize::from(!heights.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen(watch: &mut WatchScreen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| watch.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| row(y).trim_end().to_owned() + "\n").collect()
    }

    fn farm(runners: usize) -> WatchScreen {
        let mut host = samples::host();
        let idle = host.runners[3].clone();
        host.runners = (0..runners)
            .map(|n| {
                let mut one = idle.clone();
                one.runner.name = format!("ci-{n}");
                one
            })
            .collect();
        WatchScreen { host: Some(host), ..WatchScreen::new(Screen::plain(80)) }
    }

    #[test]
    fn at_80_columns_and_24_lines() {
        let mut watch = WatchScreen { host: Some(samples::host()), ..WatchScreen::new(Screen::plain(80)) };
        insta::assert_snapshot!(screen(&mut watch, 80, 24), @r"
        ci-host-07  5 runners: 1 busy, 2 idle, 1 unknown, 1 drained  2026-03-04 14:25:10

        DISK                     USE%  AVAILABLE      SIZE  IUSE%  LEVEL
        /home    [###########.]   92%   21.0 GiB   234 GiB    12%  high
        /srv/ci  [###########.]   98%   2.00 GiB   100 GiB    12%  critical
        /        [###.........]   26%   37.0 GiB  50.0 GiB      -  no runner

        RUNNER                STATE         CACHES  RECLAIMABLE  NEWEST  WHY
        runner-1              busy        12.3 GiB            -   2 min
            job acme/app #1234567890 `build` since 14:02 UTC, 23 min (Worker pid 4711)
        runner-2              drained     8.42 GiB     8.42 GiB     3 d  by hand
        runner-3              unknown  >= 18.0 GiB            -     5 h
            process 991 of uid 1002 cannot be examined: its open files may lie here
        build-fa...runner-04  idle        4.00 GiB            -   3 min  recent content
        日 本 \u{2...::error::  idle !      2.00 GiB            -  40 min  unguarded








        8.42 GiB reclaimable  q quits  ! its jobs do not run disk-guard's hook; until th
        ");
    }

    #[test]
    fn headline_and_disks_stay_while_the_runners_move() {
        let mut watch = farm(40);
        let top = screen(&mut watch, 100, 20);
        assert!(top.contains("ci-host-07") && top.contains("/srv/ci") && top.contains("\nci-0 "), "{top}");
        assert!(top.contains("29 more below"), "{top}");
        watch.scroll(Scroll::PageDown);
        let next = screen(&mut watch, 100, 20);
        assert!(next.contains("/srv/ci") && next.contains("\nci-11 "), "{next}");
        assert!(next.contains("11 more above, 18 below"), "{next}");
        watch.scroll(Scroll::Last);
        let end = screen(&mut watch, 100, 20);
        assert!(end.contains("\nci-39 ") && end.contains("29 more above"), "{end}");
        watch.scroll(Scroll::Up);
        assert!(screen(&mut watch, 100, 20).contains("28 more above, 1 below"));
        watch.scroll(Scroll::First);
        assert_eq!(screen(&mut watch, 100, 20), top);
    }

    #[test]
    fn any_size_of_screen_and_number_of_runners_is_borne() {
        for runners in [0, 1, 5, 200] {
            let mut watch = farm(runners);
            for (width, height) in [(1, 1), (20, 3), (60, 8), (80, 24), (300, 100), (80, 5)] {
                let text = screen(&mut watch, width, height);
                assert_eq!(text.lines().count(), usize::from(height), "{width}x{height}");
                watch.scroll(Scroll::Last);
            }
        }
        assert!(screen(&mut WatchScreen::new(Screen::plain(80)), 80, 3).contains("examining the host"));
    }

    #[test]
    fn colour_is_used_where_it_is_wanted_alone() {
        for screen in [Screen::coloured(80), Screen::plain(80)] {
            let colour = screen.has_colour();
            let mut watch = WatchScreen { host: Some(samples::host()), ..WatchScreen::new(screen) };
            let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
            terminal.draw(|frame| watch.draw(frame)).unwrap();
            let cells = &terminal.backend().buffer().content;
            assert_eq!(cells.iter().any(|cell| cell.fg == Color::Red), colour);
            assert_eq!(cells.iter().all(|cell| cell.fg == Color::Reset), !colour);
        }
    }
}
