//! Groups of bars: in two columns of about the same height on a desk, one below the other on a phone.

use super::bars::{self, Group, Room};
use crate::axis::Axis;
use crate::canvas::{Drawing, Pen, Window};

/// Between two columns.
const BETWEEN: i32 = 28;

/// Groups that share an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns<'a> {
    pub groups: &'a [Group],
    /// For names: on a desk, on a phone.
    pub left: (i32, i32),
    /// For figures: on a desk, on a phone.
    pub right: (i32, i32),
    /// Where bars begin.
    pub from: f64,
}

/// From bar to bar.
pub(super) fn step(window: Window) -> i32 {
    window.pick(20, 19)
}

impl<'a> Columns<'a> {
    fn parts(&self, window: Window) -> (&'a [Group], &'a [Group]) {
        let height = |groups: &[Group]| bars::height(groups, step(window));
        let taller = |at: &usize| height(&self.groups[..*at]).max(height(&self.groups[*at..]));
        let all = self.groups.len();
        let balanced = (0..=all).min_by_key(taller).unwrap_or(all);
        self.groups.split_at(window.pick(balanced, all))
    }

    /// The height of the taller column.
    pub(super) fn height(&self, window: Window) -> i32 {
        let (one, other) = self.parts(window);
        bars::height(one, step(window)).max(bars::height(other, step(window)))
    }

    /// Draws them from the upper edge on.
    pub(super) fn draw(&self, pen: &Pen, axis: &Axis) -> Drawing {
        let window = pen.window;
        let width = window.pick((window.width() - BETWEEN) / 2, window.width());
        let (left, right) = (window.pick(self.left.0, self.left.1), window.pick(self.right.0, self.right.1));
        let room = |x| Room { corner: (x, 0), width, left, right, step: step(window) };
        let (one, other) = self.parts(window);
        bars::draw(pen, one, room(0), axis, self.from)?;
        if other.is_empty() { Ok(()) } else { bars::draw(pen, other, room(width + BETWEEN), axis, self.from) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plots::bars::Bar;

    /// On a desk the two columns are about as high, and on a phone everything is in one.
    #[test]
    fn columns_are_balanced() {
        let bar =
            || Bar { name: String::new(), series: 0, to: None, figure: String::new(), tip: String::new() };
        let group = |bars| Group { title: String::new(), bars: (0..bars).map(|_| bar()).collect() };
        let groups = [1, 1, 5, 1, 2].map(group);
        let columns = Columns { groups: &groups, left: (0, 0), right: (0, 0), from: 0.0 };
        let lengths = |window| {
            let (one, other) = columns.parts(window);
            (one.len(), other.len())
        };
        assert_eq!((lengths(Window::Wide), lengths(Window::Narrow)), ((3, 2), (5, 0)));
        assert_eq!(columns.height(Window::Wide), bars::height(&groups[..3], step(Window::Wide)));
        assert_eq!(columns.height(Window::Narrow), bars::height(&groups, step(Window::Narrow)));
    }
}
