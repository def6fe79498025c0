//! The page from known figures: every plot is drawn, every figure on it comes from a file, and what is missing or
//! broken is said.
#![forbid(unsafe_code, unstable_features)]

use qemu::root;
use report::page::page;
use report::plots::{Drawn, PLOTS, Plot};
use report::store::{Place, Store};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Two folders of figures that go with the test.
struct Folders(PathBuf);

impl Folders {
    fn empty() -> Folders {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("quire-page-{}-{number}", std::process::id()));
        std::fs::create_dir_all(folder.join("measured")).unwrap();
        std::fs::create_dir_all(folder.join("stored")).unwrap();
        Folders(folder)
    }

    /// With the samples as stored figures.
    fn full() -> Folders {
        let folders = Folders::empty();
        for file in std::fs::read_dir(root().join("report/samples")).unwrap().map(|file| file.unwrap().path())
        {
            std::fs::copy(&file, folders.stored().join(file.file_name().unwrap())).unwrap();
        }
        folders
    }

    fn measured(&self) -> PathBuf {
        self.0.join("measured")
    }

    fn stored(&self) -> PathBuf {
        self.0.join("stored")
    }

    fn store(&self) -> Store {
        Store::new(&self.measured(), &self.stored())
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.0.join(path), text).unwrap();
    }

    /// The figure of a row becomes another.
    fn change(&self, experiment: &str, name: &str, value: i64) {
        let path = self.stored().join(format!("{experiment}.json"));
        let mut rows: serde_json::Value = serde_json::from_str(&read(&path)).unwrap();
        let row = rows.as_array_mut().unwrap().iter_mut().find(|row| row["name"] == name).unwrap();
        row["value"] = value.into();
        std::fs::write(path, rows.to_string()).unwrap();
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn plot(id: &str) -> &'static Plot {
    PLOTS.iter().find(|plot| plot.id == id).unwrap()
}

fn drawn(id: &str, folders: &Folders) -> Drawn {
    (plot(id).draw)(&folders.store()).unwrap().unwrap()
}

/// How often `what` is in the picture for a desk, and in that for a phone.
fn times(drawn: &Drawn, what: &str) -> [usize; 2] {
    [0, 1].map(|n| drawn.pictures[n].matches(what).count())
}

/// Every plot has a picture for each window, a sentence, a table, and the sources of its figures.
#[test]
fn every_plot_is_drawn() {
    let folders = Folders::full();
    for plot in PLOTS {
        let drawn = drawn(plot.id, &folders);
        assert_eq!(drawn.pictures.len(), 2, "{}", plot.id);
        for (picture, class) in drawn.pictures.iter().zip(["wide", "narrow"]) {
            assert!(picture.starts_with(&format!("<svg class=\"{class}\" viewBox=\"0 0 ")), "{}", plot.id);
            assert!(
                picture.contains("role=\"img\" aria-label=\"") && picture.ends_with("</svg>"),
                "{}",
                plot.id
            );
            assert!(picture.matches("<title>").count() > 5, "{} has tips", plot.id);
        }
        assert!(drawn.finding.contains(|letter: char| letter.is_ascii_digit()), "{}", drawn.finding);
        let columns = drawn.table.heads.len();
        assert!(drawn.table.lines.len() > 3 && columns > 2, "{}", plot.id);
        assert!(drawn.table.lines.iter().all(|line| line.len() == columns), "{}", plot.id);
        assert_eq!((&drawn.origin.place, drawn.origin.commits.len()), (&Place::Stored, 0), "{}", plot.id);
    }
}

/// One bar an operation, in its group; a mark of each series and point, one panel an operation or a policy.
#[test]
fn what_is_in_the_pictures() {
    let folders = Folders::full();
    let linux = drawn("linux", &folders);
    assert_eq!(times(&linux, "quire"), [0, 0]);
    assert_eq!(linux.table.lines.len(), 10, "the frequency and the processor are no operations");
    assert_eq!(times(&linux, " on Linux, "), [10, 10]);
    assert_eq!(times(&drawn("faults", &folders), "<title>"), [34, 34], "a bar for each part that is not 0");
    // 8 ways of counting, 3 operations, 10 numbers of pages.
    assert_eq!(times(&drawn("curves", &folders), "<title>"), [240, 240]);
    assert_eq!(times(&drawn("questions", &folders), "<title>"), [48, 48]);
    // 9 policies of 24 samples of 3 quantities.
    assert_eq!(times(&drawn("timeline", &folders), "<title>"), [648, 648]);
    assert_eq!(times(&drawn("timeline", &folders), "<polygon"), [9, 9], "what was touched is an area");
    let density = drawn("density", &folders);
    assert!(density.pictures[0].contains("stroke-dasharray"), "Linux is dashed");
    assert!(density.pictures[0].contains("<title>always: 8.8 % of never<"), "21 of 239 children");
    assert!(
        density.pictures[0].contains("<title>Linux 7.2, always: 7.0 % of never<"),
        "16 of Linux's own 230"
    );
    // 5 strategies of 5 lists in 2 directions with FEAT_BBM, 4 without.
    assert_eq!(times(&drawn("hvo", &folders), "<title>"), [90, 90]);
    // 5 strategies, 6 deeds, and what others get done.
    assert_eq!(times(&drawn("pauses", &folders), "<title>"), [35, 35]);
    // 5 strategies and upstream.
    assert_eq!(times(&drawn("pools", &folders), "<title>"), [24, 24]);
}

/// A figure that is changed in its file is changed in the picture's tips, in the table or in the sentence, or in all.
#[test]
fn figures_come_from_the_files() {
    let changes = [
        ("linux", "mmbench", "syscall_getpid", 123_457, "123,457"),
        ("faults", "faultparts", "fault_4k_write.entry", 123_457, "123,457"),
        ("curves", "curves", "rfc-v2.munmap.64", 123_457, "123,457"),
        ("questions", "mapcount", "rfc-v1.mapped.exact", 4321, "43.2"),
        ("density", "thpfork", "always.-64", 123_457, "123,457"),
        ("timeline", "timeline", "never.3.touched", 123_457, "123,457"),
        ("hvo", "hvo", "alias-mask-bbm2-pmd-4.optimise_1.ns", 123_457, "123,457"),
        ("pauses", "hvo", "pause-mask-bbm2-pmd-4.optimise_1.longest", 123_457, "123,457"),
        ("pools", "hvopools", "alias-mask-bbm2-pmd-2.free.permille", 12_345, "12,345"),
    ];
    assert_eq!(changes.len(), PLOTS.len());
    for (id, experiment, row, value, written) in changes {
        let folders = Folders::full();
        let text = |drawn: &Drawn| format!("{}{:?}{:?}", drawn.finding, drawn.pictures, drawn.table.lines);
        let before = drawn(id, &folders);
        assert!(!text(&before).contains(written), "{id}");
        folders.change(experiment, row, value);
        let after = drawn(id, &folders);
        assert!(text(&after).contains(written), "{id}");
        assert_ne!(before.pictures, after.pictures, "{id}");
    }
}

/// Sentences say what the files say: with the figures of the largest and the smallest exchanged they say it of others.
#[test]
fn sentences_follow_the_figures() {
    let folders = Folders::full();
    assert!(drawn("linux", &folders).finding.starts_with("Of 10 operations, all cost less"));
    assert!(
        drawn("pauses", &folders)
            .finding
            .starts_with("alias, bbml2 and fault hold nobody; pause for up to 355,887")
    );
    folders.change("hvo", "alias-mask-bbm2-pmd-4.optimise_1.longest", 400_000);
    let finding = drawn("pauses", &folders).finding;
    assert!(finding.starts_with("bbml2 and fault hold nobody; alias for up to 400,000"), "{finding}");
    assert!(drawn("questions", &folders).finding.starts_with("thp-like always gets 5 of 6 questions right"));
    folders.change("mapcount", "thp-like.average.exact", 9999);
    let finding = drawn("questions", &folders).finding;
    assert!(finding.starts_with("thp-like always gets 4 of 6 questions right"), "{finding}");
    let fault = "fault 4k write: 828 instructions, 31 % of them zeroing.";
    assert!(drawn("faults", &folders).finding.contains(fault));
    folders.change("faultparts", "fault_4k_write.tables", 1000);
    let finding = drawn("faults", &folders).finding;
    assert!(finding.contains("fault 4k write: 1,738 instructions, 58 % of them tables."), "{finding}");
}

/// What an experiment's own file says of it stands with its plot.
#[test]
fn experiments_are_told() {
    let page = page(&Folders::full().store()).unwrap();
    let experiments = qemu::bench::experiment::all().unwrap();
    for experiment in experiments.iter().filter(|one| PLOTS.iter().any(|plot| plot.experiment == one.name)) {
        let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        assert!(page.contains(&format!("<dd>{}</dd>", escaped(&experiment.workload))), "{}", experiment.name);
        assert!(
            page.contains(&format!("<code>experiment {}</code>", experiment.name)),
            "{}",
            experiment.name
        );
    }
}

/// Without any figures every plot is a box that says what to run, and there is no picture.
#[test]
fn what_is_missing_says_what_to_run() {
    let page = page(&Folders::empty().store()).unwrap();
    assert_eq!(page.matches("class=\"missing\"").count(), PLOTS.len());
    assert!(!page.contains("<svg"));
    for plot in PLOTS {
        assert!(
            page.contains(&format!("<code>make bench EXPERIMENT={}</code>", plot.experiment)),
            "{}",
            plot.id
        );
    }
}

/// A part of an experiment gives the part of the plot that it is about.
#[test]
fn parts_are_drawn() {
    let folders = Folders::full();
    let row = "[{\"name\":\"never.-64\",\"unit\":\"children\",\"value\":5,\"linux_7_2\":4,\"ratio\":1.25}]";
    folders.write("measured/thpfork.json", row);
    assert_eq!(drawn("density", &folders).table.lines.len(), 2);
    let row = "[{\"name\":\"mm-owner.fork.8\",\"unit\":\"ns\",\"value\":77}]";
    folders.write("measured/curves.json", row);
    assert_eq!(times(&drawn("curves", &folders), "<title>"), [1, 1]);
    folders
        .write("measured/mapcount.json", "[{\"name\":\"mm-owner.split_2m\",\"unit\":\"ns\",\"value\":84}]");
    assert!((plot("questions").draw)(&folders.store()).unwrap().is_none());
    page(&folders.store()).unwrap();
}

/// What was measured here goes before what is stored, and says so with its day; a row that failed is no figure.
#[test]
fn measured_before_stored() {
    let folders = Folders::full();
    let stored = page(&folders.store()).unwrap();
    assert!(!stored.contains("Measured in this checkout"));
    let rows = "[\n{\"name\":\"fault_4k_write.entry\",\"unit\":\"ns\",\"value\":111111},\n\
        {\"name\":\"fault_4k_write.tables\",\"unit\":\"errno\",\"value\":-12}\n]\n";
    folders.write("measured/faultparts.json", rows);
    let set = folders.store().set("faultparts").unwrap().unwrap();
    assert_eq!(set.rows.len(), 1);
    assert!(
        matches!(&set.origin.place, Place::Measured(day) if day.starts_with("20") && day.ends_with("UTC"))
    );
    let page = page(&folders.store()).unwrap();
    assert_eq!(page.matches("Measured in this checkout").count(), 1);
    assert!(page.contains("111,111") && page.contains("1 measured in this checkout"));
}

/// The head of the page names the commits whose figures it shows, each once, and not the one that is checked out; each plot
/// names its own.
#[test]
fn commits_are_those_of_the_figures() {
    let folders = Folders::full();
    assert!(!page(&folders.store()).unwrap().contains("<dt>Kernel</dt>"), "the samples are of no commit");
    let stored = folders.stored().join("hvo.json");
    let rows =
        read(&stored).replacen("[\n", "[\n{\"commits\":[\"aaa of x\",\"bbb of y, and changes\"]},\n", 1);
    std::fs::write(&stored, rows).unwrap();
    folders.write(
        "measured/curves.json",
        "[{\"commits\":[\"bbb of y, and changes\"]},{\"name\":\"mm-owner.fork.8\",\"unit\":\"ns\",\"value\":77}]",
    );
    let page = page(&folders.store()).unwrap();
    let head = page.split("<dt>Kernel</dt><dd>").nth(1).and_then(|rest| rest.split("</dd>").next());
    let both =
        [Some("commit aaa of x; bbb of y, and changes"), Some("commit bbb of y, and changes; aaa of x")];
    assert!(both.contains(&head), "{head:?}");
    assert!(page.contains("UTC, of commit bbb of y, and changes."), "the plot that was measured here");
    assert!(page.contains("</span>, of commit aaa of x; bbb of y, and changes."), "those that are stored");
}

/// What a comparison with Linux has left goes before the stored ratios; what is not a cost is left out.
#[test]
fn a_comparison_goes_first() {
    let folders = Folders::full();
    let compared = |is_of_the_peers: bool| {
        format!(
            r#"{{"machine":{{"linux":"7.2.99","suite":"x","args":"mitigations=off","cpu":"y","qemu":"7.2",
            "is_of_the_peers":{is_of_the_peers},"commits":["c0ffee"]}},"figures":[
            {{"program":"mmbench","name":"fault_4k_write","unit":"ns","linux":1000,"quire":2500,"ratio":2.5}},
            {{"program":"mmbench","name":"munmap_4k_64m","unit":"ns","linux":100,"quire":50,"ratio":0.5}},
            {{"program":"thpfork","name":"never.1","unit":"children","linux":3,"quire":3,"ratio":1.0}},
            {{"program":"mmbench","name":"x","unit":"ns","linux":0,"quire":1}},
            {{"program":"mmbench","name":"y","unit":"ns","quire":1,"linux_error":"absent"}}]}}"#
        )
    };
    folders.write("measured/linux.json", &compared(true));
    let linux = drawn("linux", &folders);
    assert!(page(&folders.store()).unwrap().contains("Again: <code>make compare-linux</code>"));
    let says = "1 of 2 goals are met. Linux is 7.2.99, measured here on y under QEMU 7.2, with “mitigations=off”. \
        Goals are those against Linux 7.2.";
    assert!(linux.finding.ends_with(says), "{}", linux.finding);
    assert_eq!((linux.table.heads[2].as_str(), linux.origin.commits[0].as_str()), ("Linux 7.2.99", "c0ffee"));
    assert_eq!(linux.table.lines[1], ["fault_4k_write", "2,500", "1,000", "2.500", "missed"]);
    assert_eq!((linux.table.lines.len(), linux.table.lines[0][4].as_str()), (2, "met"));
    folders.write("measured/linux.json", &compared(false));
    assert!(!drawn("linux", &folders).finding.contains("goal"), "a goal of another machine");
    assert!(linux.legend.iter().any(|(_, name)| name == "dearer than Linux"));
}

/// The figures that the tree stores are drawn, as far as there are any, and say of which commits they are.
#[test]
fn the_figures_of_the_tree() {
    let folders = Folders::empty();
    let stored = root().join("tests/figures");
    let store = Store::new(&folders.measured(), &stored);
    let mut seen = 0;
    for plot in PLOTS {
        let drawn = (plot.draw)(&store).unwrap();
        assert_eq!(drawn.is_some(), stored.join(format!("{}.json", plot.experiment)).exists(), "{}", plot.id);
        seen += usize::from(drawn.is_some_and(|drawn| !drawn.origin.commits.is_empty()));
    }
    assert!(seen >= 5, "{seen} plots");
}

/// The console is one boot, so of an experiment of several, or with rows that are counted from outside, it has a part; the
/// page says so.
#[test]
fn the_console_has_a_part() {
    let page = page(&Folders::full().store()).unwrap();
    for (name, whole) in [("mmbench", true), ("thpfork", true), ("hvo", false), ("faultparts", false)] {
        let words = if whole { ", on the console: " } else { ", a part of it on the console: " };
        assert!(page.contains(&format!("{words}<code>experiment {name}</code>")), "{name}");
    }
}

/// A file that is no list of figures is an error that names it.
#[test]
fn broken_files_are_named() {
    let folders = Folders::full();
    for text in ["", "{}", "[{\"name\":\"a\"}]", "[{\"name\":\"a\",\"unit\":\"ns\",\"value\":\"x\"}]"] {
        folders.write("measured/curves.json", text);
        let error = page(&folders.store()).unwrap_err().to_string();
        assert!(error.contains("measured/curves.json: "), "{error}");
    }
}

/// The page needs nothing but itself, and its colours are those of its style sheet.
#[test]
fn it_stands_alone() {
    let page = page(&Folders::full().store()).unwrap();
    for foreign in ["http:", "https:", "<script", "<link", "<img", "src=", "url(", "@import", "javascript:"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let (_, body) = page.split_once("</style>").unwrap();
    assert!(!body.contains("=\"#0") && !body.contains("=\"#4") && !body.contains("=\"#5"), "a placeholder");
    let colours: Vec<_> = body.match_indices("fill=\"").map(|(at, _)| &body[at + 6..at + 10]).collect();
    assert!(colours.len() > 1000);
    assert!(colours.iter().all(|colour| ["var(", "none", "tran"].contains(colour)));
    let anchors: Vec<_> = PLOTS.iter().map(|plot| plot.id).collect();
    assert!(
        anchors
            .iter()
            .all(|id| page.contains(&format!("href=\"#{id}\"")) && page.contains(&format!(" id=\"{id}\"")))
    );
}
