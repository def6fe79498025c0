//! A file of the Chrome trace event format, read back: slices begin, nest and end, and what there is of each point.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// What a file has of one point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfPoint {
    /// Slices that begin; those that only go on are not counted again.
    pub slices: u64,
    /// Of slices, pieces that go on.
    pub continued: u64,
    /// Instants.
    pub instants: u64,
    /// The sum of what they counted.
    pub n: u64,
}

/// What a file has of each point, by name.
pub type Found = BTreeMap<String, OfPoint>;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is no such file.
    Format(String),
    /// On this track, event of this number: an end without its beginning.
    End(u64, usize, String),
    /// On this track: a slice that does not end.
    Open(u64, String),
    /// On this track, event of this number: earlier than the one before.
    Time(u64, usize),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Format(why) => write!(f, "the file is no trace: {why}"),
            Wrong::End(track, event, name) => {
                write!(f, "track {track}, event {event}: `{name}` ends, and another slice is open, or none")
            }
            Wrong::Open(track, name) => write!(f, "track {track}: `{name}` does not end"),
            Wrong::Time(track, event) => {
                write!(f, "track {track}, event {event}: earlier than the one before")
            }
        }
    }
}

/// A track so far.
#[derive(Default)]
struct Track {
    /// Name and category of each open slice: an end has both.
    open: Vec<(String, String)>,
    last: f64,
}

/// Reads a file.
///
/// # Errors
/// [`Wrong`].
pub fn check(text: &str) -> Result<Found, Wrong> {
    let format = |why: &str| Wrong::Format(why.to_owned());
    let file: Value = serde_json::from_str(text).map_err(|error| Wrong::Format(error.to_string()))?;
    let events = file["traceEvents"].as_array().ok_or_else(|| format("no list of events"))?;
    let (mut tracks, mut found) = (BTreeMap::<u64, Track>::new(), Found::new());
    for (number, event) in events.iter().enumerate() {
        let word =
            |key: &str| event[key].as_str().ok_or_else(|| Wrong::Format(format!("event {number}: no {key}")));
        let (phase, name) = (word("ph")?, word("name")?);
        if phase == "M" {
            continue;
        }
        let number_of = |key: &str| event[key].as_u64().filter(|&number| u32::try_from(number).is_ok());
        let tid = number_of("tid").filter(|&tid| tid != 0 && number_of("pid").is_some());
        let tid = tid.ok_or_else(|| format("an event without a track"))?;
        let time = event["ts"].as_f64().ok_or_else(|| format("an event without a time"))?;
        let track = tracks.entry(tid).or_default();
        if time < track.last {
            return Err(Wrong::Time(tid, number));
        }
        track.last = time;
        let slice = (name.to_owned(), word("cat")?.to_owned());
        match phase {
            "B" => track.open.push(slice),
            "E" if track.open.pop() != Some(slice) => {
                return Err(Wrong::End(tid, number, name.to_owned()));
            }
            "E" | "i" => {}
            other => return Err(Wrong::Format(format!("event {number}: a phase `{other}`"))),
        }
        if let Some((_, point)) = word("cat")?.split_once(',') {
            count(found.entry(point.to_owned()).or_default(), phase, &event["args"]);
        }
    }
    let open = tracks.iter().find_map(|(tid, track)| Some((*tid, track.open.last()?.0.clone())));
    open.map_or(Ok(found), |(tid, name)| Err(Wrong::Open(tid, name)))
}

fn count(of_point: &mut OfPoint, phase: &str, args: &Value) {
    of_point.n += args["n"].as_u64().unwrap_or(0);
    let continued = args["continued"] == Value::Bool(true);
    match phase {
        "B" if continued => of_point.continued += 1,
        "B" => of_point.slices += 1,
        "i" => of_point.instants += 1,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::chrome;
    use super::super::dump::{Dump, tests::text};
    use super::super::tracks::Tracks;
    use super::*;

    /// A file with these events of track 1, each `(phase, name, time)`.
    fn file(events: &[(&str, &str, u64)]) -> String {
        let one = |&(ph, name, ts): &(&str, &str, u64)| serde_json::json!({ "ph": ph, "name": name, "ts": ts, "pid": 1, "tid": 1, "cat": format!("room,{name}") });
        serde_json::json!({ "traceEvents": events.iter().map(one).collect::<Vec<_>>() }).to_string()
    }

    /// Slices that cross, do not end, have not begun, or go back in time are found.
    #[test]
    fn what_is_wrong_is_found() {
        let good = [("B", "a", 1), ("B", "b", 2), ("E", "b", 2), ("i", "c", 3), ("E", "a", 4)];
        let found = check(&file(&good)).unwrap();
        assert_eq!((found["a"].slices, found["b"].slices, found["c"].instants), (1, 1, 1));
        let crossed = [("B", "a", 1), ("B", "b", 2), ("E", "a", 3), ("E", "b", 4)];
        assert_eq!(check(&file(&crossed)), Err(Wrong::End(1, 2, "a".to_owned())));
        assert_eq!(check(&file(&good[1..])), Err(Wrong::End(1, 3, "a".to_owned())));
        assert_eq!(check(&file(&good[..4])), Err(Wrong::Open(1, "a".to_owned())));
        assert_eq!(check(&file(&[("i", "a", 2), ("i", "a", 1)])), Err(Wrong::Time(1, 1)));
        let of_another = file(&good[..1])
            .replace("]", ",{\"ph\":\"E\",\"name\":\"a\",\"ts\":2,\"pid\":1,\"tid\":1,\"cat\":\"thread\"}]");
        assert_eq!(check(&of_another), Err(Wrong::End(1, 1, "a".to_owned())), "an end of another category");
        for nobody in ["\"tid\":0", "\"tid\":4294967296", "\"id\":1"] {
            assert!(matches!(check(&file(&good).replace("\"tid\":1", nobody)), Err(Wrong::Format(_))));
        }
        assert!(matches!(check(&file(&good).replace("\"pid\":1", "\"id\":1")), Err(Wrong::Format(_))));
        assert!(matches!(check("{}"), Err(Wrong::Format(_))));
        assert!(matches!(check(&file(&[("Q", "a", 1)])), Err(Wrong::Format(_))));
    }

    /// What is written is read back: a slice in two pieces is one, what an end counts is counted, and a step has its name.
    #[test]
    fn there_and_back() {
        let first = "B 7d1 1 0 10004 7 1 fffff7800000 1 0 0\ni 7d2 2 2 10004 7 1 1000 1 2 2010305\n\
                     i 7d3 3 3 10004 7 1 20005 0 62 0\n";
        let second =
            "i 7d4 4 3 0 0 1 10004 7 61 0\nE 7d5 5 0 10004 7 3 1000 0 0 0\ni 7d6 6 1 10004 7 1 1000 0 0 0\n";
        let dump = Dump::read(&text(&[first, second])).unwrap();
        let written = chrome::write(&dump, &Tracks::new(&dump), "a test");
        let found = check(&written).unwrap();
        assert_eq!(found["fault"], OfPoint { slices: 1, continued: 1, instants: 0, n: 4 });
        assert_eq!((found["cow"].instants, found["cow"].n, found["step"].instants), (1, 1, 1));
        let has = |part: &str| assert!(written.contains(part), "{part} is not in:\n{written}");
        has("\"name\":\"hvo_begin\"");
        has("\"owed\":\"flush\"");
        has("\"va\":\"0xfffff7800000\"");
        has("\"ts\":2.0012");
        has("{\"name\":\"CPU 1\"}");
        has("\"continued\":true");
    }
}
