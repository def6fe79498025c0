//! Colours by name. What is drawn has placeholders, which become variables of the page's style sheet: so one picture
//! follows the reader's light or dark scheme.
//!
//! ```text
//!   Ink::Series(3) ── draw ──► fill="#500003" ── themed ──► fill="var(--s3)"
//! ```
//! A placeholder is a kind and a number. A tip's is the number of its text, see [`canvas`](crate::canvas).

use plotters::style::RGBColor;
use std::fmt::Write as _;

/// What a stroke or an area is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Text, and lines that matter as much.
    Text,
    /// Text of axes.
    Muted,
    /// Lines behind the figures.
    Grid,
    /// What stands behind everything.
    Surface,
    /// A series, from 0; after the last colour the first comes again.
    Series(usize),
    /// A series that is there to compare with: dashed where it is a line.
    Dashed(usize),
    /// A field of a heat map, from 0, nothing, to [`HEATS`] - 1.
    Heat(usize),
    /// Text on that.
    OnHeat(usize),
    /// Nothing to see, but a text where the pointer rests.
    Tip(usize),
}

/// The colours of series.
pub const SERIES: usize = 9;
/// The steps of a heat map.
pub const HEATS: usize = 6;

const KINDS: [(u8, &str); 6] =
    [(0x40, "text"), (0x41, "muted"), (0x42, "grid"), (0x43, "surface"), (0x60, "h"), (0x70, "t")];
const SERIES_KIND: u8 = 0x50;
const DASHED_KIND: u8 = 0x51;
/// The kind of a tip.
pub const TIP_KIND: u8 = 0xF1;

impl Ink {
    /// The placeholder.
    #[must_use]
    pub fn colour(self) -> RGBColor {
        let (kind, number) = match self {
            Ink::Text => (0x40, 0),
            Ink::Muted => (0x41, 0),
            Ink::Grid => (0x42, 0),
            Ink::Surface => (0x43, 0),
            Ink::Series(n) => (SERIES_KIND, n % SERIES),
            Ink::Dashed(n) => (DASHED_KIND, n % SERIES),
            Ink::Heat(n) => (0x60, n.min(HEATS - 1)),
            Ink::OnHeat(n) => (0x70, n.min(HEATS - 1)),
            Ink::Tip(n) => (TIP_KIND, n),
        };
        RGBColor(kind, (number >> 8) as u8, number as u8)
    }
}

/// A line of SVG with variables in place of placeholders.
#[must_use]
pub fn themed(line: &str) -> String {
    let (mut made, mut rest) = (String::with_capacity(line.len()), line);
    while let Some(at) = rest.find("=\"#") {
        let (before, from) = rest.split_at(at);
        made += before;
        let digits = from.get(3..9).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match digits.and_then(|placeholder| variable((placeholder >> 16) as u8, placeholder & 0xFFFF)) {
            Some(variable) => {
                made += "=\"";
                made += &variable;
                rest = &from[9..];
            }
            None => {
                made += &from[..3];
                rest = &from[3..];
            }
        }
    }
    made + rest
}

/// What stands for a kind and a number; of a dashed one also the attribute after it, but for the last quotation mark.
fn variable(kind: u8, number: u32) -> Option<String> {
    let mut made = String::new();
    // Writing to a string cannot fail.
    let _ = match kind {
        SERIES_KIND => write!(made, "var(--s{number})"),
        DASHED_KIND => write!(made, "var(--s{number})\" stroke-dasharray=\"5 4"),
        TIP_KIND => write!(made, "transparent"),
        _ => match KINDS.iter().find(|known| known.0 == kind)? {
            (_, name @ ("h" | "t")) => write!(made, "var(--{name}{number})"),
            (_, name) => write!(made, "var(--{name})"),
        },
    };
    Some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every placeholder becomes a variable of the style sheet, which has it in both schemes; other colours stay.
    #[test]
    fn placeholders_become_variables() {
        let style = include_str!("page.css");
        let inks = [Ink::Text, Ink::Muted, Ink::Grid, Ink::Surface].into_iter();
        let inks = inks.chain((0..SERIES).map(Ink::Series)).chain((0..SERIES).map(Ink::Dashed));
        for ink in inks.chain((0..HEATS).map(Ink::Heat)).chain((0..HEATS).map(Ink::OnHeat)) {
            let RGBColor(red, green, blue) = ink.colour();
            let made = themed(&format!("<rect fill=\"#{red:02X}{green:02X}{blue:02X}\" x=\"1\"/>"));
            let name = made.split_once("var(").unwrap().1.split_once(')').unwrap().0;
            assert!(made.starts_with("<rect fill=\"var(--") && made.ends_with(" x=\"1\"/>"), "{made}");
            assert_eq!(style.matches(&format!("{name}: #")).count(), 2, "{name}");
        }
        assert_eq!(
            themed("<a b=\"#123456\" c=\"#5\" d=\"#400000\""),
            "<a b=\"#123456\" c=\"#5\" d=\"var(--text)\""
        );
        assert!(themed("stroke=\"#510002\"").contains("var(--s2)\" stroke-dasharray=\""));
    }
}
