//! The list of points.

use std::collections::BTreeSet;

use super::super::{Point, Points, Shape};
use crate::stats::Counter;

/// Names are different, and those of rooms are none of them; a counter is counted by one point; every point says what it
/// is and what it means by its arguments, of which there are four at most; gauges, which go down too, are no point's.
#[test]
fn points_can_be_told_apart() {
    let names: BTreeSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
    let rooms: BTreeSet<_> = Point::ALL.iter().map(|point| point.room()).collect();
    assert_eq!(names.len(), Point::ALL.len());
    assert!(names.is_disjoint(&rooms) && !names.contains("all"), "a room and a point of one name");
    let counters: Vec<Counter> = Point::ALL.iter().filter_map(|point| point.counter()).collect();
    let different: BTreeSet<_> = counters.iter().map(|counter| counter.name()).collect();
    assert_eq!(different.len(), counters.len());
    assert!(counters.iter().all(|counter| !counter.name().starts_with("nr_")));
    for &point in Point::ALL {
        assert!(point.about().trim().ends_with('.'), "{point:?}");
        assert!(point.arguments().len() <= 4 && point.results().len() <= 4, "{point:?}");
        assert!(point.shape() == Shape::Slice || point.results().is_empty(), "{point:?}");
        let of_va = |names: &[&str]| names.iter().position(|name| *name == "va").is_none_or(|at| at == 0);
        assert!(of_va(point.arguments()) && of_va(point.results()), "{point:?}");
    }
}

/// A word names a point, a room with all of its points, or all; others name none.
#[test]
fn words_name_points() {
    assert_eq!(Points::named("cow"), Some(Points::NONE.with(Point::Cow)));
    let buddy = Points::named("buddy").unwrap();
    assert_eq!(buddy.each().collect::<Vec<_>>(), [Point::Alloc, Point::Free]);
    assert_eq!(buddy.to_string(), "alloc free");
    assert_eq!(Points::named("all").unwrap().each().count(), Point::ALL.len());
    assert_eq!((Points::named(""), Points::named("Cow"), Points::named("pgfault")), (None, None, None));
}
