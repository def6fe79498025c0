//! The page of plots in a real browser: it has nothing wrong, and what is wrong would be found.
//!
//! `make test` installs the browser; `cargo test -p tests --test browser` needs chromium, or `CHROMIUM=`.
#![forbid(unsafe_code, unstable_features)]

use qemu::root;
use report::browser::{Browser, VIEWS};
use report::page::page;
use report::store::Store;
use std::path::PathBuf;

/// A folder of the test's own below `target`, where its pages and their pictures stay to be looked at.
fn folder(name: &str) -> PathBuf {
    let folder = root().join("target/report-trials").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn start() -> Browser {
    Browser::start().unwrap_or_else(|error| panic!("{error}"))
}

/// What the browser finds in a page.
fn findings(browser: &mut Browser, name: &str, page: &str) -> Vec<String> {
    let file = folder(name).join("index.html");
    std::fs::write(&file, page).unwrap();
    browser.check(&file).unwrap_or_else(|error| panic!("{error}"))
}

/// The page of the stored figures, that of samples of every plot, and that without any figure: in every view nothing
/// is asked for or said, no text leaves its picture, touches another, or is pale or small. A picture of each is left.
#[test]
fn the_page_is_sound() {
    let mut browser = start();
    let nothing = folder("nothing");
    let stores = [
        ("stored", Store::new(&nothing, &root().join("tests/figures"))),
        ("samples", Store::new(&nothing, &root().join("report/samples"))),
        ("missing", Store::new(&nothing, &nothing)),
    ];
    for (name, store) in stores {
        let found = findings(&mut browser, name, &page(&store).unwrap());
        assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
        for view in VIEWS {
            let picture = folder(name).join(format!("{}.png", view.name));
            assert!(std::fs::metadata(&picture).unwrap().len() > 20_000, "{}", picture.display());
        }
    }
}

/// One mistake each, put into a page: what the browser must say, and in which views.
const MISTAKES: [(&str, &str, &str, &[&str]); 11] = [
    ("pale", "<p style='color:#999'>x</p>", "contrast 2.", &["phone-light", "desk-light"]),
    ("dark", "<p style='color:#666'>x</p>", "contrast ", &["phone-dark", "desk-dark"]),
    ("small", "<p style='font-size:9px'>x</p>", "letters of 9.0", ALL),
    ("broad", "<div style='width:600px;height:1px'></div>", "pixels wide, the window 390", PHONE),
    ("loud", "<script>console.warn('x')</script>", "on the console", ALL),
    ("broken", "<script>nothing.at.all</script>", "an exception", ALL),
    ("network", "<img src='http://127.0.0.1:9/x.png' alt=''>", "it asks for http://127.0.0.1:9/x.png", ALL),
    ("clipped", "<text x='395' y='60' font-size='14'>long text</text>", "a text leaves its picture", ALL),
    ("touching", "<text x='60' y='52' font-size='14'>other</text>", "texts touch", ALL),
    ("shrunk", "<text x='60' y='160' font-size='3'>x</text>", "letters of ", ALL),
    (
        "behind",
        "<rect x='50' y='90' width='90' height='40' fill='var(--text)'/>\
        <text x='60' y='112' font-size='14' fill='var(--text)'>on it</text>",
        "contrast 1.00",
        ALL,
    ),
];
const ALL: &[&str] = &["phone-light", "phone-dark", "desk-light", "desk-dark"];
const PHONE: &[&str] = &["phone-light", "phone-dark"];

/// A page with one plot, in which `inside` stands in the picture if it belongs there, else after it.
fn small_page(inside: &str) -> String {
    let in_picture = inside.starts_with("<text") || inside.starts_with("<rect");
    let (picture, after) = if in_picture { (inside, "") } else { ("", inside) };
    format!(
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>\
        <meta name='viewport' content='width=device-width, initial-scale=1'><title>x</title><style>\
        :root {{ --text: #111; --page: #fff; }}\
        @media (prefers-color-scheme: dark) {{ :root {{ --text: #eee; --page: #111; }} }}\
        body {{ color: var(--text); background: var(--page); margin: 0; }}\
        svg {{ width: 100%; display: block; }} text {{ fill: var(--text); }}</style></head><body>\
        <section class='card' id='one'><div class='plot'>\
        <svg viewBox='0 0 400 200' role='img' aria-label='x'><text x='50' y='50' font-size='14'>first</text>{picture}</svg>\
        </div></section>{after}</body></html>"
    )
}

/// Each mistake is found in the views that it is in, and only there; without one nothing is.
#[test]
fn mistakes_are_found() {
    let mut browser = start();
    assert_eq!(findings(&mut browser, "none", &small_page("")), Vec::<String>::new());
    for (name, inside, sentence, views) in MISTAKES {
        let found = findings(&mut browser, name, &small_page(inside));
        for view in VIEWS {
            let own = format!("{}: ", view.name);
            let said = found.iter().any(|finding| finding.starts_with(&own) && finding.contains(sentence));
            assert_eq!(said, views.contains(&view.name), "{name}, {}:\n{}", view.name, found.join("\n"));
        }
    }
    let empty = small_page("").replace("<section class='card' id='one'>", "<section>");
    assert!(
        findings(&mut browser, "empty", &empty).iter().any(|finding| finding.ends_with("it has no plot"))
    );
}
