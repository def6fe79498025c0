//! What each CPU did, one after the other.
//!
//! A slice belongs to a thread. Where the thread leaves its CPU the slice is cut, and goes on where the thread does,
//! marked as continued; under all of them lies a slice for the thread that the CPU runs. So what a CPU does nests.

use super::dump::{Dump, Phase, Record};
use std::collections::BTreeMap;

/// One thing on a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The track.
    pub cpu: usize,
    /// Nanoseconds since boot.
    pub time: u64,
    /// Beginning or end of a piece, or neither.
    pub phase: Phase,
    /// What it is.
    pub what: What,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The CPU runs this thread.
    Thread {
        /// Its name.
        name: String,
        /// Its process; 0: none.
        pid: u64,
    },
    /// A record: a slice begins or ends, or an instant.
    Record(Record),
    /// Of this slice, which is open, a piece ends because its thread leaves, or begins where it comes back.
    Piece(Record),
    /// A slice ends here in the file alone: it was open when the trace ended.
    Unended(Record),
    /// A slice ends that had begun before the trace, or whose beginning was lost.
    Unbegun(Record),
}

/// The tracks, in the order of their records.
#[derive(Clone, Debug, Default)]
pub struct Tracks {
    /// Every event, in order on its track.
    pub events: Vec<Event>,
    /// Slices that were open when the trace ended.
    pub unended: u64,
    /// Slices that had begun before it.
    pub unbegun: u64,
}

/// A thread, or the idle thread of a CPU that has no number.
type Who = (u64, usize);

struct Builder<'d> {
    dump: &'d Dump,
    tracks: Tracks,
    /// Of each thread, its name and process.
    names: BTreeMap<u64, (String, u64)>,
    /// Of each thread, its open slices, the outermost first.
    open: BTreeMap<Who, Vec<Record>>,
    /// Of each CPU, the thread that it runs, as far as is known.
    runs: Vec<Option<Who>>,
    switch: Option<u64>,
}

impl Tracks {
    /// The tracks of a dump.
    #[must_use]
    pub fn new(dump: &Dump) -> Tracks {
        let switch = dump.points.iter().find(|(_, point)| point.name == "switch").map(|(number, _)| *number);
        let names = dump.threads.iter().map(|(number, name)| (*number, (name.clone(), 0))).collect();
        let runs = vec![None; dump.cpus.len()];
        let open = BTreeMap::new();
        let mut builder = Builder { dump, tracks: Tracks::default(), names, open, runs, switch };
        builder.learn_names();
        dump.records.iter().for_each(|record| builder.add(record));
        builder.end();
        builder.tracks
    }
}

impl Builder<'_> {
    /// A thread is called as it was where a CPU came to it: that says the program too.
    fn learn_names(&mut self) {
        for record in self.dump.records.iter().filter(|record| Some(record.point) == self.switch) {
            let [thread, pid, first, second] = record.args;
            let bytes = [first.to_le_bytes(), second.to_le_bytes()].concat();
            let name = String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned();
            self.names.insert(thread, (name, pid));
        }
    }

    fn add(&mut self, record: &Record) {
        let (cpu, time) = (record.cpu, record.time);
        let who = who(record.thread, cpu);
        // Without `switch`, or where records of it were lost, a thread is seen only when it says something.
        if self.runs[cpu] != Some(who) {
            self.leave(cpu, time);
            self.come(cpu, time, who, record.pid);
        }
        let open = self.open.entry(who).or_default();
        match record.phase {
            _ if Some(record.point) == self.switch => {
                self.leave(cpu, time);
                self.come(cpu, time, (record.args[0], 0), record.args[1]);
                return;
            }
            Phase::Begin => open.push(*record),
            Phase::End => match open.last() {
                Some(last) if last.point == record.point => {
                    open.pop();
                }
                _ => {
                    self.tracks.unbegun += 1;
                    return self.push(cpu, time, Phase::Instant, What::Unbegun(*record));
                }
            },
            Phase::Instant => {}
        }
        self.push(cpu, time, record.phase, What::Record(*record));
    }

    fn push(&mut self, cpu: usize, time: u64, phase: Phase, what: What) {
        self.tracks.events.push(Event { cpu, time, phase, what });
    }

    /// The thread of a CPU leaves it: its slices are cut.
    fn leave(&mut self, cpu: usize, time: u64) {
        let Some(who) = self.runs[cpu].take() else { return };
        for record in self.open.get(&who).cloned().unwrap_or_default().into_iter().rev() {
            self.push(cpu, time, Phase::End, What::Piece(record));
        }
        let thread = self.thread(who, 0);
        self.push(cpu, time, Phase::End, thread);
    }

    /// A thread comes to a CPU: its slices go on there.
    fn come(&mut self, cpu: usize, time: u64, who: Who, pid: u64) {
        self.runs[cpu] = Some(who);
        let thread = self.thread(who, pid);
        self.push(cpu, time, Phase::Begin, thread);
        for record in self.open.get(&who).cloned().unwrap_or_default() {
            self.push(cpu, time, Phase::Begin, What::Piece(record));
        }
    }

    fn thread(&self, (number, _): Who, pid: u64) -> What {
        let (name, known) = self.names.get(&number).cloned().unwrap_or_else(|| ("idle".to_owned(), 0));
        What::Thread { name, pid: if pid == 0 { known } else { pid } }
    }

    /// What is open ends with the last record of its CPU.
    fn end(&mut self) {
        self.tracks.unended = self.open.values().map(|open| open.len() as u64).sum();
        for cpu in 0..self.runs.len() {
            let last =
                self.tracks.events.iter().rfind(|event| event.cpu == cpu).map_or(0, |event| event.time);
            let Some(who) = self.runs[cpu] else { continue };
            for record in self.open.remove(&who).unwrap_or_default().into_iter().rev() {
                self.push(cpu, last, Phase::End, What::Unended(record));
            }
            self.leave(cpu, last);
        }
    }
}

/// The idle threads that were never switched to have no numbers, and one for each CPU.
fn who(thread: u64, cpu: usize) -> Who {
    if thread == 0 { (0, cpu) } else { (thread, 0) }
}

#[cfg(test)]
mod tests {
    use super::super::dump::tests::text;
    use super::*;

    /// `(cpu, time, letter, what)` of each event.
    fn drawn(tracks: &Tracks) -> Vec<String> {
        let draw = |event: &Event| {
            let what = match &event.what {
                What::Thread { name, pid } => format!("{name}/{pid}"),
                What::Record(record) => format!("point {}", record.point),
                What::Piece(record) => format!("piece {}", record.point),
                What::Unended(record) => format!("unended {}", record.point),
                What::Unbegun(record) => format!("unbegun {}", record.point),
            };
            format!("{} {} {:?} {what}", event.cpu, event.time, event.phase)
        };
        tracks.events.iter().map(draw).collect()
    }

    fn tracks(cpus: &[&str]) -> Tracks {
        Tracks::new(&Dump::read(&text(cpus)).unwrap())
    }

    /// A slice whose thread is switched out is cut there, and goes on where the thread does; it is one slice.
    #[test]
    fn a_slice_goes_on_with_its_thread() {
        // Thread 10004 faults on CPU 0, leaves it for 20005 ("b"), and ends its fault on CPU 1, where it follows 0.
        let first = "B 1 1 0 10004 7 1 1000 1 0 0\ni 2 2 3 10004 7 1 20005 0 62 0\n";
        let second = "i 3 3 3 0 0 1 10004 7 61 0\nE 4 4 0 10004 7 0 1000 0 0 0\n";
        let tracks = tracks(&[first, second]);
        let expected = [
            "0 1 Begin a/7",
            "0 1 Begin point 0",
            "0 2 End piece 0",
            "0 2 End a/7",
            "0 2 Begin b/0",
            "1 3 Begin idle/0",
            "1 3 End idle/0",
            "1 3 Begin a/7",
            "1 3 Begin piece 0",
            "1 4 End point 0",
            "0 2 End b/0",
            "1 4 End a/7",
        ];
        assert_eq!(drawn(&tracks), expected);
        assert_eq!((tracks.unended, tracks.unbegun), (0, 0));
    }

    /// A slice that was open before the trace, and one that is open at its end, are not lost, and are said to be so.
    #[test]
    fn slices_at_the_ends_of_the_trace() {
        let tracks = tracks(&["E 1 1 0 10004 7 0 1000 0 0 0\nB 2 2 0 10004 7 1 1000 1 0 0\n"]);
        let expected = [
            "0 1 Begin main/7",
            "0 1 Instant unbegun 0",
            "0 2 Begin point 0",
            "0 2 End unended 0",
            "0 2 End main/0",
        ];
        assert_eq!(drawn(&tracks), expected);
        assert_eq!((tracks.unended, tracks.unbegun), (1, 1));
    }

    /// Without records of changes of threads a thread comes to a CPU with the first thing that it says there.
    #[test]
    fn threads_without_switches() {
        let tracks = tracks(&["i 1 1 1 10004 0 1 0 0 0 0\ni 2 2 1 20005 9 1 0 0 0 0\n"]);
        let expected = [
            "0 1 Begin main/0",
            "0 1 Instant point 1",
            "0 2 End main/0",
            "0 2 Begin idle/9",
            "0 2 Instant point 1",
            "0 2 End idle/0",
        ];
        assert_eq!(drawn(&tracks), expected);
    }
}
