//! The Chrome trace event format, which ui.perfetto.dev opens: JSON, an object an event, one track a CPU.
//!
//! | of an event | what |
//! |---|---|
//! | `name` | the point, or the step of a remap, or the thread that runs |
//! | `cat` | its room and its point; `thread` |
//! | `ph`, `ts` | B, E, i; microseconds since boot: three decimals, and a fourth (`microseconds`) |
//! | `pid`, `tid` | 1; the number of the CPU and one more, as 0 is nobody's |
//! | `args` | what it says; `n`, by how much its counter went up; `pid`; `continued` where a slice goes on |
//!
//! What the importer of ui.perfetto.dev is strict about, and is kept here:
//!
//! | it | so |
//! |---|---|
//! | sorts events by time alone, those of one time as they stand in the file | each track is in order in the file, an end before the beginning that follows it |
//! | closes the newest slice of the track if `cat` and `name` of the end are its own, else none | an end has both |
//! | takes `ts` for microseconds and cuts off what is below a nanosecond | the fourth decimal |
//! | in some versions took `ts` for nanoseconds where `displayTimeUnit` was `ns` | there is none |
//! | makes a thread of every `tid`, that of metadata too, and has one of its own for 0 | the name of the process is said by CPU 0 |
//! | has integers of 64 bits with a sign, and a double for what is larger | numbers beyond 2^53 are hexadecimal words |

use super::dump::{Dump, Phase, Point, Record};
use super::tracks::{Event, Tracks, What};
use serde_json::{Map, Value, json};

/// The process of all tracks.
const PROCESS: u64 = 1;

/// The whole file.
#[must_use]
pub fn write(dump: &Dump, tracks: &Tracks, title: &str) -> String {
    let mut events = vec![json!({
        "name": "process_name", "ph": "M", "pid": PROCESS, "tid": 1, "args": { "name": format!("Quire: {title}") }
    })];
    for cpu in 0..dump.cpus.len() {
        let about = |name: &str, args: Value| json!({ "name": name, "ph": "M", "pid": PROCESS, "tid": cpu + 1, "args": args });
        events.push(about("thread_name", json!({ "name": format!("CPU {cpu}") })));
        events.push(about("thread_sort_index", json!({ "sort_index": cpu })));
    }
    events.extend(tracks.events.iter().map(|event| one(dump, event)));
    // A line an event: files are compared and searched so.
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let other = json!({
        "records": dump.records.len(), "lost": dump.lost(), "filtered": dump.filtered,
        "openAtTheEnd": tracks.unended, "openAtTheBeginning": tracks.unbegun,
    });
    let lines = lines.join(",\n");
    format!("{{\"otherData\":{other},\"traceEvents\":[\n{lines}\n]}}\n")
}

fn one(dump: &Dump, event: &Event) -> Value {
    let (name, cat, args) = match &event.what {
        What::Thread { name, pid } => {
            let pid = (*pid != 0).then(|| ("pid".to_owned(), json!(pid)));
            (name.clone(), "thread".to_owned(), Map::from_iter(pid))
        }
        What::Record(record) => about(dump, record, record.phase),
        What::Unended(record) => marked(dump, record, "unended"),
        What::Unbegun(record) => {
            let (name, cat, mut args) = about(dump, record, Phase::End);
            args.insert("unbegun".to_owned(), json!(true));
            (name, cat, args)
        }
        What::Piece(record) => marked(dump, record, "continued"),
    };
    let (phase, track) = (letter(event.phase), event.cpu + 1);
    let time = microseconds(event.time);
    let mut one = json!({ "name": name, "cat": cat, "ph": phase, "ts": time, "pid": PROCESS, "tid": track, "args": args });
    if event.phase == Phase::Instant {
        // It concerns its own track alone.
        one["s"] = json!("t");
    }
    one
}

/// A time as a number of microseconds. Three decimals are in most cases no number of base two: whoever takes them times 1000
/// and cuts the rest off has the nanosecond before. A fifth of a nanosecond more is cut off, or rounded off, as well.
fn microseconds(ns: u64) -> f64 {
    let decimals = format!("{}.{:03}2", ns / 1000, ns % 1000);
    decimals.parse().unwrap_or_default()
}

fn letter(phase: Phase) -> &'static str {
    match phase {
        Phase::Begin => "B",
        Phase::End => "E",
        Phase::Instant => "i",
    }
}

type About = (String, String, Map<String, Value>);

/// A piece of a slice, which counts nothing by itself.
fn marked(dump: &Dump, record: &Record, mark: &str) -> About {
    let (name, cat, _) = about(dump, record, Phase::Begin);
    (name, cat, Map::from_iter([(mark.to_owned(), json!(true))]))
}

fn about(dump: &Dump, record: &Record, phase: Phase) -> About {
    let point = &dump.points[&record.point];
    let names = if phase == Phase::End { &point.results } else { &point.arguments };
    let mut args = Map::new();
    for (name, &value) in names.iter().zip(&record.args) {
        args.insert(name.clone(), shown(name, value));
    }
    if record.n != 0 && point.counter.is_some() {
        args.insert("n".to_owned(), json!(record.n));
    }
    if record.pid != 0 && phase != Phase::End {
        args.insert("pid".to_owned(), json!(record.pid));
    }
    (name(dump, point, record, &mut args), format!("{},{}", point.room, point.name), args)
}

/// A step of a remap is called by its own name, and the word that says which is taken apart.
fn name(dump: &Dump, point: &Point, record: &Record, args: &mut Map<String, Value>) -> String {
    if args.remove("step").is_none() {
        return point.name.clone();
    }
    let [kind, owed, level] = [0, 8, 16].map(|shift| record.args[3] >> shift & 0xff);
    const OWED: [&str; 4] = ["nothing", "flush, then make", "make", "flush"];
    args.insert("owed".to_owned(), json!(OWED.get(owed as usize)));
    args.insert("level".to_owned(), json!(level));
    args.insert("entries".to_owned(), json!(record.args[3] >> 24));
    dump.steps.get(&kind).unwrap_or(&point.name).clone()
}

/// The largest integer up to which a double has them all.
const MOST: u64 = 1 << 53;

/// Numbers that are looked up elsewhere are hexadecimal, as the console prints them, and those that readers would round.
fn shown(name: &str, value: u64) -> Value {
    let is_place = matches!(name, "va" | "old" | "new" | "step") || name.ends_with("pfn");
    if is_place || value > MOST { json!(format!("{value:#x}")) } else { json!(value) }
}

#[cfg(test)]
mod tests {
    use super::super::dump::tests::text;
    use super::*;

    /// Every time is the nanosecond that it was: for who cuts off and for who rounds, and for who reads the decimals exactly
    /// and who adds them up, as the importer does.
    #[test]
    fn times_are_exact() {
        let added_up = |decimals: &str| {
            let (whole, rest) = decimals.split_once('.').unwrap();
            let digits = |text: &str| text.bytes().fold(0.0, |sum, c| sum * 10.0 + f64::from(c - b'0'));
            digits(whole) + digits(rest) / 10f64.powi(rest.len() as i32)
        };
        let (mut ns, mut early) = (1u64, 0);
        while ns < 1_000_000_000_000_000 {
            let time = microseconds(ns);
            let read = added_up(&time.to_string());
            for time in [time, read] {
                assert_eq!(((time * 1000.0) as u64, (time * 1000.0).round() as u64), (ns, ns), "{time}");
            }
            early += u64::from((ns as f64 / 1000.0 * 1000.0) as u64 != ns);
            ns += ns / 977 + 1;
        }
        assert!(early > 100, "{early} times with three decimals are early: the fourth is needed");
    }

    /// What readers would round is written as a word; nothing changes what times mean; no thread is there but the CPUs.
    #[test]
    fn what_importers_are_strict_about() {
        let thread = "i 7d2 2 2 10004 7 1 1000 ffffff8000000001 20000000000001 2010305\n\
                      i 7d3 3 1 10004 7 1 1000 0 0 0\n";
        let dump = Dump::read(&text(&[thread])).unwrap();
        let written = write(&dump, &Tracks::new(&dump), "a test");
        assert!(!written.contains("displayTimeUnit"));
        let file: Value = serde_json::from_str(&written).unwrap();
        let events = file["traceEvents"].as_array().unwrap();
        assert!(events.iter().all(|event| event["pid"] == PROCESS && event["tid"] == 1), "{written}");
        assert_eq!((shown("asid", MOST), shown("space", MOST + 1)), (json!(MOST), json!("0x20000000000001")));
        assert_eq!(shown("space", u64::MAX), json!("0xffffffffffffffff"));
    }
}
