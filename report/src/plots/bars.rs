//! Horizontal bars in groups, with what they mean at the left and the figure at the right.

use crate::axis::Axis;
use crate::canvas::{At, Drawing, Pen};
use crate::palette::Ink;
use plotters::style::text_anchor::HPos;

/// One bar.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    /// At its left; may be empty.
    pub name: String,
    /// The series, for its colour.
    pub series: usize,
    /// Where it ends; `None`: there is none, only the text.
    pub to: Option<f64>,
    /// At its right.
    pub figure: String,
    /// Where the pointer rests.
    pub tip: String,
}

/// Bars under a heading.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub title: String,
    pub bars: Vec<Bar>,
}

/// Where bars stand, and how high they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// The upper left corner.
    pub corner: At,
    pub width: i32,
    /// For names.
    pub left: i32,
    /// For figures.
    pub right: i32,
    /// From bar to bar.
    pub step: i32,
}

/// The space of a group beside its bars.
const AROUND: i32 = 38;
/// The line of ticks.
const TICKS: i32 = 22;
/// From one text of it to the next.
const APART: i32 = 28;

/// The height of `groups`.
pub(super) fn height(groups: &[Group], step: i32) -> i32 {
    let bars: usize = groups.iter().map(|group| group.bars.len()).sum();
    groups.len() as i32 * AROUND + bars as i32 * step + TICKS
}

/// Draws them one below the other, on one axis whose ticks stand above and go through all; bars begin at `from`.
pub(super) fn draw(pen: &Pen, groups: &[Group], room: Room, axis: &Axis, from: f64) -> Drawing {
    let (x, y) = room.corner;
    let (left, right) = (x + room.left, x + room.width - room.right);
    let bottom = y + height(groups, room.step);
    let ticks = axis.ticks().iter();
    let mut ticks: Vec<_> =
        ticks.map(|(value, text)| (axis.pixel(*value, left, right), *value == from, text)).collect();
    // From where bars begin outwards: a text that has no room is left out.
    let begin = axis.pixel(from, left, right);
    ticks.sort_by_key(|tick| (tick.0 - begin).abs());
    let mut written: Vec<i32> = Vec::new();
    for (at, is_begin, text) in ticks {
        let ink = if is_begin { Ink::Muted } else { Ink::Grid };
        pen.line(&[(at, y + TICKS), (at, bottom)], ink, 1)?;
        if written.iter().all(|other| (at - other).abs() >= APART) {
            pen.text((at, y + 10), HPos::Center, Ink::Muted, text)?;
            written.push(at);
        }
    }
    let mut y = y + TICKS;
    for group in groups {
        if !group.title.is_empty() {
            // The grid stops at a heading, which would be crossed by it.
            pen.rectangle((x, y + 6), (x + room.width, y + AROUND - 8), Ink::Surface)?;
            pen.heading((x, y + 20), &group.title)?;
        }
        y += AROUND - 4;
        for bar in &group.bars {
            let (middle, thick) = (y + room.step / 2, (room.step - 4).min(14));
            pen.text((left - 8, middle), HPos::Right, Ink::Text, &bar.name)?;
            let begin = axis.pixel(from, left, right);
            let mut end = begin;
            if let Some(to) = bar.to {
                end = axis.pixel(to, left, right);
                if end == begin {
                    end += 1;
                }
                let corner = (begin.min(end), middle - thick / 2);
                pen.rectangle(corner, (begin.max(end), middle + thick / 2), Ink::Series(bar.series))?;
            }
            let beside = begin.max(end) + 6;
            pen.text((beside, middle), HPos::Left, Ink::Text, &bar.figure)?;
            let tip = ((x, y), (x + room.width, y + room.step));
            pen.tip(tip.0, tip.1, bar.tip.clone())?;
            y += room.step;
        }
        y += 4;
    }
    Ok(())
}
