//! `docs/trace.md` has a row for each tracepoint, and none for what is not there.

use mm::trace::Point;

use crate::tree::files;

/// The row of a point.
fn row(point: Point) -> String {
    let words = |names: &[&str]| if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    let counter = point.counter().map_or("-".to_owned(), |counter| format!("`{}`", counter.name()));
    let (name, room, shape, about) = (point.name(), point.room(), point.shape().name(), point.about().trim());
    let arguments = match point.results() {
        [] => words(point.arguments()),
        results => format!("{}; {}", words(point.arguments()), words(results)),
    };
    format!("| `{name}` | {room} | {shape} | {counter} | {arguments} | {about} |")
}

/// The table is the list of points, in its order: name, room, shape, counter, arguments, what it says.
#[test]
fn every_point_has_its_row() {
    let page = files().into_iter().find(|file| file.path == "docs/trace.md").expect("docs/trace.md");
    let rows = page.text.lines().skip_while(|line| !line.starts_with("| point |")).skip(2);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).map(str::to_owned).collect();
    let expected: Vec<_> = Point::ALL.iter().map(|&point| row(point)).collect();
    for (found, expected) in rows.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(rows.len(), expected.len(), "rows of docs/trace.md, and points");
}
