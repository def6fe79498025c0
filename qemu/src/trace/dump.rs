//! The lines of `trace dump` (`kernel/src/console/trace.rs`).

use std::collections::BTreeMap;
use std::fmt;

/// A point, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// Its room.
    pub room: String,
    /// Whether it begins and ends.
    pub is_slice: bool,
    /// The counter that counts the same thing.
    pub counter: Option<String>,
    /// By how much that went up while the point was on.
    pub counted: u64,
    /// What arguments mean.
    pub arguments: Vec<String>,
    /// What they mean at the end of a slice.
    pub results: Vec<String>,
}

/// Where in its slice a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It begins.
    Begin,
    /// It ends.
    End,
    /// There is none.
    Instant,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place among the records of all CPUs.
    pub order: u64,
    /// Nanoseconds since boot.
    pub time: u64,
    /// The number of its point.
    pub point: u64,
    /// Beginning, end, or neither.
    pub phase: Phase,
    /// The CPU.
    pub cpu: usize,
    /// The thread; 0: one that was never switched to, which is the idle thread of the CPU.
    pub thread: u64,
    /// Its process; 0: none.
    pub pid: u64,
    /// By how much the counter went up.
    pub n: u64,
    /// The arguments.
    pub args: [u64; 4],
}

/// All of a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// The points by their numbers.
    pub points: BTreeMap<u64, Point>,
    /// The names of the steps of remaps, by their numbers.
    pub steps: BTreeMap<u64, String>,
    /// The names of threads that lived when it was taken, by their numbers.
    pub threads: BTreeMap<u64, String>,
    /// Of each CPU: records written, and lost.
    pub cpus: Vec<(u64, u64)>,
    /// A filter may have held records back.
    pub filtered: bool,
    /// The records in their order.
    pub records: Vec<Record>,
}

/// Why a text holds no dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoDump {
    /// It has no beginning, or no end.
    Incomplete,
    /// A line that cannot be read.
    Line(String),
    /// A CPU has said how many records it has, and there are so many.
    Records(usize, u64),
}

impl fmt::Display for NoDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoDump::Incomplete => f.write_str("the kernel has not dumped its trace, or not all of it"),
            NoDump::Line(line) => write!(f, "`{line}` is no line of a trace"),
            NoDump::Records(cpu, records) => write!(f, "CPU {cpu} has {records} records, and said otherwise"),
        }
    }
}

impl Dump {
    /// Reads what stands between `trace: begin` and `trace: end`.
    ///
    /// # Errors
    /// [`NoDump`].
    pub fn read(log: &str) -> Result<Dump, NoDump> {
        let inside = log.split_once("trace: begin\n").and_then(|(_, rest)| rest.split_once("trace: end"));
        let (inside, _) = inside.ok_or(NoDump::Incomplete)?;
        let mut dump = Dump::default();
        for line in inside.lines() {
            dump.line(line).ok_or_else(|| NoDump::Line(line.to_owned()))?;
        }
        for (cpu, &(written, lost)) in dump.cpus.iter().enumerate() {
            let there = dump.records.iter().filter(|record| record.cpu == cpu).count() as u64;
            if there != written - lost {
                return Err(NoDump::Records(cpu, there));
            }
        }
        dump.records.sort_by_key(|record| record.order);
        Ok(dump)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (kind, rest) = line.split_once(' ')?;
        let words: Vec<&str> = rest.split(' ').collect();
        match (kind, words.as_slice()) {
            ("filtered", [yes]) => self.filtered = *yes == "1",
            ("step", [number, name]) => {
                self.steps.insert(number.parse().ok()?, (*name).to_owned());
            }
            ("point", [number, name, room, shape, counter, arguments]) => {
                let point = Point {
                    name: (*name).to_owned(),
                    room: (*room).to_owned(),
                    is_slice: *shape == "slice",
                    counter: (*counter != "-").then(|| (*counter).to_owned()),
                    counted: 0,
                    arguments: names(arguments),
                    results: Vec::new(),
                };
                self.points.insert(number.parse().ok()?, point);
            }
            ("results", [number, results]) => self.point(number)?.results = names(results),
            ("counted", [number, counted]) => self.point(number)?.counted = counted.parse().ok()?,
            ("thread", [number, _, name]) => {
                self.threads.insert(hex(number)?, (*name).to_owned());
            }
            ("cpu", [number, written, lost]) => {
                let in_turn = number.parse() == Ok(self.cpus.len());
                self.cpus.push((written.parse().ok()?, lost.parse().ok()?));
                return in_turn.then_some(());
            }
            ("B" | "E" | "i", words) => self.record(kind, words)?,
            _ => return None,
        }
        Some(())
    }

    fn point(&mut self, number: &str) -> Option<&mut Point> {
        self.points.get_mut(&number.parse().ok()?)
    }

    fn record(&mut self, phase: &str, words: &[&str]) -> Option<()> {
        let phase = match phase {
            "B" => Phase::Begin,
            "E" => Phase::End,
            _ => Phase::Instant,
        };
        let words: Option<Vec<u64>> = words.iter().map(|word| hex(word)).collect();
        let [time, order, point, thread, pid, n, args @ ..] =
            words?.try_into().ok().map(|all: [u64; 10]| all)?;
        self.points.get(&point)?;
        let cpu = self.cpus.len().checked_sub(1)?;
        self.records.push(Record { order, time, point, phase, cpu, thread, pid, n, args });
        Some(())
    }

    /// Records that made room for others.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.cpus.iter().map(|(_, lost)| lost).sum()
    }
}

fn names(list: &str) -> Vec<String> {
    list.split(',').filter(|name| *name != "-").map(str::to_owned).collect()
}

fn hex(word: &str) -> Option<u64> {
    u64::from_str_radix(word, 16).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A dump with these lines of points and records.
    pub(crate) fn text(cpus: &[&str]) -> String {
        let points = "point 0 fault fault slice pgfault va,access\nresults 0 va,result\ncounted 0 2\n\
             point 1 cow fault instant cow_copy va\nresults 1 -\ncounted 1 1\n\
             point 2 step pgtable instant - va,old,new,step\nresults 2 -\n\
             point 3 switch sched instant - thread,pid,name,name\nresults 3 -\n";
        let counts = |text: &str| format!("{} 0", text.lines().count());
        let cpus: Vec<_> =
            cpus.iter().enumerate().map(|(n, text)| format!("cpu {n} {}\n{text}", counts(text))).collect();
        let cpus = cpus.concat();
        format!(
            "x\ntrace: begin\nfiltered 0\nstep 5 hvo_begin\n{points}thread 10004 0 main\n{cpus}trace: end\n"
        )
    }

    /// Every sort of line is read; the records stand in their order.
    #[test]
    fn all_sorts_of_lines() {
        let first = "B 64 2 0 10004 0 1 1000 1 0 0\nE c8 3 0 10004 0 0 1000 0 0 0\n";
        let dump = Dump::read(&text(&[first, "i 50 1 1 0 7 1 2000 0 0 0\n"])).unwrap();
        assert_eq!(dump.steps[&5], "hvo_begin");
        assert_eq!(dump.threads[&0x10004], "main");
        assert_eq!((dump.cpus.clone(), dump.lost(), dump.filtered), (vec![(2, 0), (1, 0)], 0, false));
        let fault = &dump.points[&0];
        assert_eq!((fault.counter.as_deref(), fault.counted, fault.is_slice), (Some("pgfault"), 2, true));
        assert_eq!((fault.arguments.len(), fault.results[1].as_str()), (2, "result"));
        let orders: Vec<_> = dump.records.iter().map(|record| (record.order, record.cpu)).collect();
        assert_eq!(orders, [(1, 1), (2, 0), (3, 0)]);
        let begin = dump.records[1];
        assert_eq!((begin.phase, begin.time, begin.args[0], begin.n), (Phase::Begin, 100, 0x1000, 1));
    }

    /// A dump that is cut off, has a strange line, a record of no point, or fewer records than it says, is refused.
    #[test]
    fn what_is_no_dump() {
        assert_eq!(Dump::read("trace: begin\nfiltered 0\n"), Err(NoDump::Incomplete));
        for line in
            ["huh 1", "i 50 1 9 0 7 1 2000 0 0 0", "i 50 1 1 0 7 1 2000 0 0", "i 5x 1 1 0 7 1 0 0 0 0"]
        {
            let refused = Dump::read(&text(&[&format!("{line}\n")]));
            assert_eq!(refused, Err(NoDump::Line(line.to_owned())));
        }
        let short = text(&["i 50 1 1 0 7 1 2000 0 0 0\n"]).replace("cpu 0 1 0", "cpu 0 2 0");
        assert_eq!(Dump::read(&short), Err(NoDump::Records(0, 1)));
    }
}
