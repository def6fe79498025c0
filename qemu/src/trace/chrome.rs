//! The Chrome trace event format, which ui.perfetto.dev opens: JSON, an object an event, one track a CPU.
//!
//! | of an event | what |
//! |---|---|
//! | `name` | the point, or the step of a remap, or the thread that runs |
//! | `cat` | its room and its point; `thread` |
//! | `ph`, `ts` | B, E, i; microseconds since boot, with three decimals |
//! | `pid`, `tid` | 1; the number of the CPU and one more, as 0 is nobody's |
//! | `args` | what it says; `n`, by how much its counter went up; `pid`; `continued` where a slice goes on |

use super::dump::{Dump, Phase, Point, Record};
use super::tracks::{Event, Tracks, What};
use serde_json::{Map, Value, json};

/// The process of all tracks.
const PROCESS: u64 = 1;

/// The whole file.
#[must_use]
pub fn write(dump: &Dump, tracks: &Tracks, title: &str) -> String {
    let mut events = vec![json!({
        "name": "process_name", "ph": "M", "pid": PROCESS, "tid": 0, "args": { "name": format!("Quire: {title}") }
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
    format!("{{\"displayTimeUnit\":\"ns\",\"otherData\":{other},\"traceEvents\":[\n{lines}\n]}}\n")
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
    let (whole, rest) = (event.time / 1000, event.time % 1000);
    let time = whole as f64 + rest as f64 / 1000.0;
    let mut one = json!({ "name": name, "cat": cat, "ph": phase, "ts": time, "pid": PROCESS, "tid": track, "args": args });
    if event.phase == Phase::Instant {
        // It concerns its own track alone.
        one["s"] = json!("t");
    }
    one
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

/// Numbers that are looked up elsewhere are hexadecimal, as the console prints them.
fn shown(name: &str, value: u64) -> Value {
    let is_place = matches!(name, "va" | "old" | "new" | "step") || name.ends_with("pfn");
    if is_place { json!(format!("{value:#x}")) } else { json!(value) }
}
