//! The layout: which part of the screen shows what. Where it is too low for all, the table stays longest.

use ratatui::layout::Rect;

use super::state::{List, State};

/// Lines of the heading.
const HEADING: u16 = 3;
/// Lines of messages in the pane of the capture's health, with their title, at the most.
const NOTICES: u16 = 9;

/// Parts of the screen, from the top to the bottom; those without a line are not shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) heading: Rect,
    pub(super) timeline: Rect,
    pub(super) tabs: Rect,
    pub(super) titles: Rect,
    pub(super) table: Rect,
    pub(super) notices: Rect,
    pub(super) keys: Rect,
}

impl Layout {
    pub(super) fn new(state: &State) -> Self {
        let (width, height) = state.size;
        let is_table = !matches!(state.view().list, List::Transaction(_));
        let notices = match state.view().list {
            List::Health if height >= 20 => {
                let lines = u16::try_from(state.notices.0.len()).unwrap_or(u16::MAX);
                if lines == 0 { 0 } else { (lines + 1).min(NOTICES).min(height / 4) }
            }
            _ => 0,
        };
        let timeline = match height {
            0..20 => 0,
            20..30 => 3,
            30..40 => 5,
            _ => 8,
        };
        let mut next = 0;
        let mut take = |lines: u16| {
            let lines = lines.min(height.saturating_sub(next));
            let part = Rect::new(0, next, width, lines);
            next += lines;
            part
        };
        let heading = take(if height >= 10 { HEADING } else { 0 });
        let timeline = take(timeline);
        let tabs = take(u16::from(height >= 5));
        let titles = take(u16::from(is_table && height >= 3));
        let used = heading.height + timeline.height + tabs.height + titles.height;
        let keys = u16::from(height >= 4);
        let table = take(height.saturating_sub(used + notices + keys));
        Self { heading, timeline, tabs, titles, table, notices: take(notices), keys: take(keys) }
    }
}
