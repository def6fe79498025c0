//! Axes, which plotters asks where a figure is and what stands there, and curves between two of them.

use crate::canvas::{At, Drawing, Pen};
use crate::palette::Ink;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

/// A scale with ticks.
#[derive(Clone, Debug)]
pub struct Axis {
    logarithmic: bool,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to a bit more than `high`, with about `count` ticks.
    #[must_use]
    pub fn from_zero(high: f64, count: usize, write: impl Fn(f64) -> String) -> Axis {
        let high = if high > 0.0 { high } else { 1.0 };
        let rough = high / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|of| of * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let last = (high / step).ceil() as u32;
        let ticks = (0..=last).map(|n| f64::from(n) * step).map(|value| (value, write(value)));
        Axis { logarithmic: false, low: 0.0, high: f64::from(last) * step, ticks: ticks.collect() }
    }

    /// From 0 to a bit more than `high`, with ticks that are round in binary units.
    #[must_use]
    pub fn binary(high: f64, write: impl Fn(f64) -> String) -> Axis {
        let high = high.max(1.0);
        let step = 2f64.powf((high / 4.0).log2().round());
        let last = (high / step).ceil() as u32;
        let ticks = (0..=last).map(|n| f64::from(n) * step).map(|value| (value, write(value)));
        Axis { logarithmic: false, low: 0.0, high: f64::from(last) * step, ticks: ticks.collect() }
    }

    /// Logarithmic, over all of `values` that are more than 0, with ticks at powers of ten, and between them where
    /// there are few of those; at every second one where they would be more than `most`.
    #[must_use]
    pub fn logarithmic(
        values: impl Iterator<Item = f64>,
        most: usize,
        write: impl Fn(f64) -> String,
    ) -> Axis {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .fold((f64::INFINITY, 0f64), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low / 1.15, high * 1.15) };
        let decades = (high / low).log10();
        let steps: &[f64] = match decades {
            0.0..0.8 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
            0.8..3.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let all = exponents.flat_map(|exponent| steps.iter().map(move |step| step * 10f64.powi(exponent)));
        let ticks: Vec<_> = all.filter(|tick| (low..=high).contains(tick)).collect();
        let every = if ticks.len() > most { 2 } else { 1 };
        let ticks = ticks.into_iter().step_by(every).map(|tick| (tick, write(tick)));
        Axis { logarithmic: true, low, high, ticks: ticks.collect() }
    }

    /// Logarithmic, with ticks of one's own.
    #[must_use]
    pub fn with_ticks(ticks: Vec<(f64, String)>) -> Axis {
        let low = ticks.iter().map(|tick| tick.0).fold(f64::INFINITY, f64::min);
        let high = ticks.iter().map(|tick| tick.0).fold(0f64, f64::max);
        Axis { logarithmic: true, low: low / 1.2, high: high * 1.2, ticks }
    }

    /// Groups beside one another, the first around 1.
    #[must_use]
    pub fn groups(names: Vec<String>) -> Axis {
        let high = names.len() as f64 + 0.5;
        let ticks = names.into_iter().enumerate().map(|(n, name)| (n as f64 + 1.0, name));
        Axis { logarithmic: false, low: 0.5, high, ticks: ticks.collect() }
    }

    /// Where a figure is between two pixels.
    #[must_use]
    pub fn pixel(&self, figure: f64, from: i32, to: i32) -> i32 {
        let place =
            |figure: f64| if self.logarithmic { figure.max(f64::MIN_POSITIVE).log10() } else { figure };
        let (low, high) = (place(self.low), place(self.high));
        let share = ((place(figure) - low) / (high - low)).clamp(0.0, 1.0);
        from + (share * f64::from(to - from)).round() as i32
    }

    /// Figures with what stands beside them.
    #[must_use]
    pub fn ticks(&self) -> &[(f64, String)] {
        &self.ticks
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.pixel(*value, limit.0, limit.1)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Lines between the ticks are asked for as well: there are none.
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|tick| tick.0).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|tick| tick.0 == *value).map_or(String::new(), |tick| tick.1.clone())
    }
}

/// One line of a panel.
#[derive(Clone, Debug)]
pub struct Curve {
    /// The series.
    pub series: usize,
    /// How it is drawn.
    pub kind: Kind,
    /// What is read where the pointer rests, before the figures.
    pub name: String,
    /// The points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A line with marks.
    Marked,
    /// A line alone.
    Plain,
    /// A dashed line.
    Dashed,
    /// A line, and the area below it.
    Area,
}

/// A panel: curves between two axes, under a title.
pub struct Panel<'a> {
    /// Above it.
    pub title: &'a str,
    /// The upper left corner.
    pub corner: At,
    /// Width and height, with all that stands around.
    pub size: (i32, i32),
    /// To the right.
    pub x: &'a Axis,
    /// Upwards.
    pub y: &'a Axis,
    /// What is to the right.
    pub x_title: &'a str,
    /// The space for what stands at the left.
    pub left: i32,
}

impl Panel<'_> {
    /// Draws it; `tip` says what is read at a point.
    ///
    /// # Errors
    /// What plotters says.
    pub fn draw(&self, pen: &Pen, curves: &[Curve], tip: impl Fn(&Curve, (f64, f64)) -> String) -> Drawing {
        let (x, y) = self.corner;
        pen.heading((x + 4, y + 10), self.title)?;
        let area = pen.area.clone().shrink((x, y + 22), (self.size.0, self.size.1 - 22));
        let mut chart = ChartBuilder::on(&area)
            .margin_right(18)
            .margin_top(6)
            .x_label_area_size(if self.x_title.is_empty() { 24 } else { 42 })
            .y_label_area_size(self.left)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        chart
            .configure_mesh()
            .bold_line_style(Ink::Grid.colour())
            .axis_style(Ink::Muted.colour())
            .set_all_tick_mark_size(4)
            .label_style(pen.axis_style())
            .x_desc(self.x_title)
            .axis_desc_style(pen.axis_style())
            .draw()?;
        for curve in curves {
            let points = curve.points.iter().copied();
            let ink = if curve.kind == Kind::Dashed { Ink::Dashed } else { Ink::Series };
            let colour = ink(curve.series).colour();
            if curve.kind == Kind::Area {
                let series = AreaSeries::new(points.clone(), self.y.low, colour.mix(0.25));
                chart.draw_series(series)?;
            }
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        }
        for curve in curves {
            for &(x, y) in &curve.points {
                let (px, py) = chart.backend_coord(&(x, y));
                if curve.kind == Kind::Marked {
                    pen.mark(curve.series, (px, py))?;
                }
                pen.tip((px - 7, py - 7), (px + 7, py + 7), tip(curve, (x, y)))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks().iter().map(|tick| tick.1.as_str()).collect()
    }

    /// Ticks are round, reach over the largest figure, and their number is about what was asked for.
    #[test]
    fn ticks_are_round() {
        let write = |value: f64| value.to_string();
        assert_eq!(texts(&Axis::from_zero(1060.0, 5, write)), ["0", "250", "500", "750", "1000", "1250"]);
        assert_eq!(texts(&Axis::from_zero(7.0, 7, write)), ["0", "1", "2", "3", "4", "5", "6", "7"]);
        assert_eq!(texts(&Axis::from_zero(0.0, 2, write)), ["0", "0.5", "1"]);
        assert_eq!(texts(&Axis::binary(5.0, write)), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(texts(&Axis::binary(33.0, write)), ["0", "8", "16", "24", "32", "40"]);
        let logarithmic = |values: &[f64], most| {
            let axis = Axis::logarithmic(values.iter().copied(), most, write);
            texts(&axis).join(" ")
        };
        assert_eq!(logarithmic(&[0.0, 8.0, 25.0], 8), "7 10 15 20");
        assert_eq!(logarithmic(&[3.0, 400.0], 8), "5 10 20 50 100 200");
        assert_eq!(logarithmic(&[1.0, 400_000.0], 8), "1 10 100 1000 10000 100000");
        assert_eq!(logarithmic(&[1.0, 400_000.0], 4), "1 100 10000");
        assert_eq!(logarithmic(&[], 4), "1 2 5 10");
    }

    /// A figure is where its share of the axis is; what is beside the axis stays at its end.
    #[test]
    fn figures_have_their_place() {
        let axis = Axis::from_zero(100.0, 5, short);
        assert_eq!(
            [-5.0, 0.0, 25.0, 100.0, 500.0].map(|value| axis.pixel(value, 10, 210)),
            [10, 10, 60, 210, 210]
        );
        let axis = Axis::with_ticks(vec![(1.0, "a".to_owned()), (100.0, "b".to_owned())]);
        assert_eq!(axis.pixel(10.0, 0, 1000), 500);
        assert_eq!(
            (axis.pixel(0.0, 0, 1000), axis.format_ext(&100.0), axis.format_ext(&3.0)),
            (0, "b".to_owned(), String::new())
        );
        let axis = Axis::groups(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!((axis.pixel(1.0, 0, 100), axis.pixel(2.0, 0, 100)), (25, 75));
    }

    fn short(value: f64) -> String {
        crate::words::short(value)
    }
}
