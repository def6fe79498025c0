//! A picture: plotters draws it as SVG, and what it has drawn is made to follow the page.
//!
//! Every picture is drawn twice, for a broad window and for a phone: text must not shrink with the picture. Marks and
//! bars have a text of their own, which a browser shows where the pointer rests.

use crate::palette::{Ink, TIP_KIND, themed};
use maud::html;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::cell::RefCell;

/// Why a picture could not be drawn.
pub type Failure = DrawingAreaErrorKind<std::io::Error>;
/// What a step of drawing returns.
pub type Drawing<T = ()> = Result<T, Failure>;
/// Where plotters draws.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A point in pixels, from the upper left.
pub type At = (i32, i32);

/// For which window a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// A desk.
    Wide,
    /// A phone.
    Narrow,
}

impl Window {
    /// The width of the picture.
    #[must_use]
    pub fn width(self) -> i32 {
        match self {
            Window::Wide => 980,
            Window::Narrow => 340,
        }
    }

    /// The size of the letters.
    #[must_use]
    pub fn letters(self) -> f64 {
        match self {
            Window::Wide => 13.0,
            Window::Narrow => 11.5,
        }
    }

    /// One of two, for [`Window::Wide`] and [`Window::Narrow`].
    pub fn pick<T>(self, wide: T, narrow: T) -> T {
        match self {
            Window::Wide => wide,
            Window::Narrow => narrow,
        }
    }
}

/// What draws one picture.
pub struct Pen<'a> {
    /// All of it.
    pub area: Area<'a>,
    /// For which window.
    pub window: Window,
    tips: RefCell<Vec<String>>,
}

/// Draws a picture of that height; `label` says what is to be seen to who cannot see it.
///
/// # Errors
/// What plotters says.
pub fn picture(
    window: Window,
    height: i32,
    label: &str,
    draw: impl FnOnce(&Pen) -> Drawing,
) -> Drawing<String> {
    let mut drawn = String::new();
    let tips = {
        let size = (window.width() as u32, height as u32);
        let area = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
        let pen = Pen { area, window, tips: RefCell::default() };
        draw(&pen)?;
        pen.area.present()?;
        pen.tips.take()
    };
    let class = window.pick("wide", "narrow");
    let head = format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {} {height}\" role=\"img\" aria-label=\"{}\">",
        window.width(),
        html! { (label) }.into_string().replace('"', "&quot;")
    );
    // The first line is plotters' own head, with a size in pixels.
    let lines = drawn.lines().skip(1).map(|line| finished(line, &tips));
    Ok(std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n"))
}

/// A line of SVG with its colours, and with its tip where it has one.
fn finished(line: &str, tips: &[String]) -> String {
    let mark = format!("fill=\"#{TIP_KIND:02X}");
    let tip = line.find(&mark).and_then(|at| {
        let digits = line.get(at + mark.len()..at + mark.len() + 4)?;
        tips.get(usize::from_str_radix(digits, 16).ok()?)
    });
    let element = line.trim_start_matches('<').split(' ').next().unwrap_or_default();
    match (tip, themed(line).strip_suffix("/>")) {
        (Some(tip), Some(open)) => format!("{open}><title>{}</title></{element}>", html! { (tip) }.0),
        _ => themed(line),
    }
}

impl<'a> Pen<'a> {
    /// A style of text, of so many pixels.
    fn style(&self, ink: Ink, pixels: f64, anchor: (HPos, VPos)) -> TextStyle<'static> {
        // plotters writes sizes divided by this.
        let font = ("sans-serif", pixels * 1.24).into_font();
        TextStyle { font, color: ink.colour().to_backend_color(), pos: Pos::new(anchor.0, anchor.1) }
    }

    /// The style of what stands at axes.
    #[must_use]
    pub fn axis_style(&self) -> TextStyle<'static> {
        self.style(Ink::Muted, self.window.letters(), (HPos::Center, VPos::Center))
    }

    /// Text that begins at, ends at, or stands around a point, on its height.
    ///
    /// # Errors
    /// What plotters says.
    pub fn text(&self, at: At, hpos: HPos, ink: Ink, text: &str) -> Drawing {
        let style = self.style(ink, self.window.letters(), (hpos, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), at, style))
    }

    /// The same, bold.
    ///
    /// # Errors
    /// What plotters says.
    pub fn heading(&self, at: At, text: &str) -> Drawing {
        let style = self.style(Ink::Text, self.window.letters() + 1.0, (HPos::Left, VPos::Center));
        let bold = TextStyle { font: style.font.style(FontStyle::Bold), ..style };
        self.area.draw(&Text::new(text.to_owned(), at, bold))
    }

    /// A line through points.
    ///
    /// # Errors
    /// What plotters says.
    pub fn line(&self, points: &[At], ink: Ink, width: u32) -> Drawing {
        self.area.draw(&PathElement::new(points.to_vec(), ink.colour().stroke_width(width)))
    }

    /// A filled rectangle.
    ///
    /// # Errors
    /// What plotters says.
    pub fn rectangle(&self, corner: At, other: At, ink: Ink) -> Drawing {
        self.area.draw(&Rectangle::new([corner, other], ink.colour().filled()))
    }

    /// A field that shows `tip` where the pointer rests.
    ///
    /// # Errors
    /// What plotters says.
    pub fn tip(&self, corner: At, other: At, tip: String) -> Drawing {
        let number = self.tips.borrow().len();
        self.tips.borrow_mut().push(tip);
        self.rectangle(corner, other, Ink::Tip(number))
    }

    /// The mark of a series: each has another shape, so that colour is not needed to tell them apart.
    ///
    /// # Errors
    /// What plotters says.
    pub fn mark(&self, series: usize, (x, y): At) -> Drawing {
        let shape =
            |points: &[(i32, i32)]| -> Vec<At> { points.iter().map(|(dx, dy)| (x + dx, y + dy)).collect() };
        let ink = Ink::Series(series).colour();
        let polygon = |points| self.area.draw(&Polygon::new(shape(points), ink.filled()));
        let stroke =
            |points: &[(i32, i32)]| self.area.draw(&PathElement::new(shape(points), ink.stroke_width(2)));
        match series % crate::palette::SERIES {
            0 => self.area.draw(&Circle::new((x, y), 4, ink.filled())),
            1 => polygon(&[(-4, -4), (4, -4), (4, 4), (-4, 4)]),
            2 => polygon(&[(0, -5), (5, 4), (-5, 4)]),
            3 => polygon(&[(0, -5), (5, 0), (0, 5), (-5, 0)]),
            4 => polygon(&[(0, 5), (5, -4), (-5, -4)]),
            5 => self
                .area
                .draw(&Circle::new((x, y), 4, Ink::Surface.colour().filled()))
                .and_then(|()| self.area.draw(&Circle::new((x, y), 4, ink.stroke_width(2)))),
            6 => stroke(&[(-4, -4), (4, 4)]).and_then(|()| stroke(&[(-4, 4), (4, -4)])),
            7 => stroke(&[(0, -5), (0, 5)]).and_then(|()| stroke(&[(-5, 0), (5, 0)])),
            _ => polygon(&[(-5, -2), (5, -2), (5, 2), (-5, 2)]),
        }
    }
}

/// The mark of a series on its line, for a legend; `dashed` as [`Ink::Dashed`].
///
/// # Errors
/// What plotters says.
pub fn swatch(series: usize, kind: Swatch) -> Drawing<String> {
    let drawn = picture(Window::Narrow, 14, "", |pen| match kind {
        Swatch::Line => {
            pen.line(&[(1, 7), (27, 7)], Ink::Series(series), 2)?;
            pen.mark(series, (14, 7))
        }
        Swatch::Plain => pen.line(&[(1, 7), (27, 7)], Ink::Series(series), 2),
        Swatch::Dashed => pen.line(&[(1, 7), (27, 7)], Ink::Dashed(series), 2),
        Swatch::Area => pen.rectangle((8, 1), (20, 13), Ink::Series(series)),
    })?;
    let inner = drawn.split_once('\n').map_or("", |(_, inner)| inner);
    let (class, left, width) =
        if kind == Swatch::Area { ("swatch square", 8, 12) } else { ("swatch", 0, 28) };
    Ok(format!("<svg class=\"{class}\" viewBox=\"{left} 0 {width} 14\" aria-hidden=\"true\">{inner}"))
}

/// What a legend shows of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swatch {
    /// A line with marks.
    Line,
    /// A line alone.
    Plain,
    /// A dashed line.
    Dashed,
    /// An area.
    Area,
}
