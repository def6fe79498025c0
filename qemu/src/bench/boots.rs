//! The boots of experiments, as many at a time as the computer has processors and memory for.
//!
//! Figures are instructions of the guest, so what runs beside a machine changes none of them.

use super::experiment::Chosen;
use super::memory::{Memory, bytes};
use super::progress::Progress;
use super::rows::{self, Output};
use crate::artefacts::Boot;
use crate::command::Console;
use crate::config::Options;
use crate::error::Error;
use crate::session::{Session, Sink, Status};
use std::collections::VecDeque;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

/// What a boot gave, or several.
#[derive(Debug)]
pub struct Measured {
    /// The rows.
    pub output: Output,
    /// How the last machine ended.
    pub status: Status,
    /// All that it wrote.
    pub log: String,
}

impl Measured {
    /// This, and what came after it.
    fn and(mut self, next: Measured) -> Measured {
        self.output.append(next.output);
        Measured { output: self.output, status: next.status, log: self.log + &next.log }
    }
}

/// What has been measured of an experiment.
#[derive(Debug)]
pub struct All {
    /// Under its choices.
    pub ours: Measured,
    /// Under those that it is held against.
    pub against: Option<Measured>,
}

/// What is to be done for an experiment.
enum Work {
    /// Boot with these choices, and ask the kernel for this.
    Boot(String, String),
    /// The same, to hold the rows of the other boot against.
    Against(String, String),
    /// Run the program beside this one.
    Beside(String),
}

/// A piece of work, of which experiment, and which of it.
struct Job {
    of: usize,
    part: usize,
    parts: usize,
    work: Work,
}

fn jobs(chosen: &[Chosen]) -> VecDeque<Job> {
    let of_one = |(of, one): (usize, &Chosen)| {
        let boots = one.boots().into_iter().map(|(choices, asked)| Work::Boot(choices, asked));
        let against = one.experiment.against().map(|choices| Work::Against(choices.to_owned(), one.asked()));
        let beside = one.experiment.beside().map(|program| Work::Beside(program.to_owned()));
        let all: Vec<_> = boots.chain(against).chain(beside).collect();
        let parts = all.len();
        all.into_iter().enumerate().map(move |(part, work)| Job { of, part, parts, work }).collect::<Vec<_>>()
    };
    chosen.iter().enumerate().flat_map(of_one).collect()
}

/// Everything that boots share.
struct Bench<'b> {
    options: &'b Options,
    boot: &'b Boot,
    chosen: &'b [Chosen],
    give_up: &'b (dyn Fn() -> bool + Sync),
    queue: Mutex<VecDeque<Job>>,
    /// Of each experiment: a boot of it did not end well, so the others are left out.
    broken: Vec<AtomicBool>,
    memory: Memory,
}

/// Measures all that is chosen, `at_once` boots at a time, and hands each experiment to `done` in the order in which they
/// were chosen, as soon as it is complete. After a boot that does not end well the other boots of its experiment are left
/// out.
///
/// # Errors
/// As for [`Session::boot`] and [`Session::finish_unless`], and those of `done`; what was done until then is done.
pub fn measure_all(
    options: &Options,
    boot: &Boot,
    chosen: &[Chosen],
    at_once: usize,
    give_up: &(dyn Fn() -> bool + Sync),
    mut done: impl FnMut(&Chosen, All) -> Result<(), Error>,
) -> Result<(), Error> {
    let queue = jobs(chosen);
    let mut results: Vec<Vec<Option<Measured>>> = chosen.iter().map(|_| Vec::new()).collect();
    queue.iter().for_each(|job| results[job.of].push(None));
    let mut left: Vec<_> = results.iter().map(Vec::len).collect();
    let bench = Bench {
        options,
        boot,
        chosen,
        give_up,
        queue: Mutex::new(queue),
        broken: chosen.iter().map(|_| AtomicBool::new(false)).collect(),
        memory: Memory::of_computer(),
    };
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            let (bench, sender) = (&bench, sender.clone());
            scope.spawn(move || {
                while let Some(job) = bench.next() {
                    let result = bench.perform(&job);
                    let bad =
                        result.as_ref().is_ok_and(|one| one.as_ref().is_some_and(|one| !ended_well(one)));
                    if result.is_err() || bad {
                        bench.broken[job.of].store(true, Ordering::Relaxed);
                    }
                    if sender.send((job, result)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut next = 0;
        for (job, result) in receiver {
            results[job.of][job.part] = match result {
                Ok(measured) => measured,
                Err(error) => {
                    bench.stop();
                    return Err(error);
                }
            };
            left[job.of] -= 1;
            while next < chosen.len() && left[next] == 0 {
                let all = together(&chosen[next], std::mem::take(&mut results[next]));
                if let Some(all) = all
                    && let Err(error) = done(&chosen[next], all)
                {
                    bench.stop();
                    return Err(error);
                }
                next += 1;
            }
        }
        Ok(())
    })
}

fn ended_well(measured: &Measured) -> bool {
    measured.status == Status::Exited(0)
}

/// Puts the parts of one experiment together; `None` where it was not begun.
fn together(chosen: &Chosen, parts: Vec<Option<Measured>>) -> Option<All> {
    let boots = chosen.boots().len();
    let has_against = chosen.experiment.against().is_some();
    let (mut ours, mut against) = (None::<Measured>, None);
    for (n, part) in parts.into_iter().enumerate() {
        let Some(part) = part else { continue };
        if has_against && n == boots {
            against = Some(part);
        } else {
            ours = Some(match ours {
                Some(before) => before.and(part),
                None => part,
            });
        }
    }
    Some(All { ours: ours?, against })
}

impl Bench<'_> {
    fn next(&self) -> Option<Job> {
        if (self.give_up)() {
            self.stop();
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Leaves out what was not begun.
    fn stop(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn perform(&self, job: &Job) -> Result<Option<Measured>, Error> {
        let one = &self.chosen[job.of];
        if self.broken[job.of].load(Ordering::Relaxed) {
            return Ok(None);
        }
        match &job.work {
            Work::Boot(choices, asked) | Work::Against(choices, asked) => {
                self.boot_once(one, job, choices, asked).map(Some)
            }
            Work::Beside(program) => beside(program, &self.boot.elf, one).map(Some),
        }
    }

    fn boot_once(&self, chosen: &Chosen, job: &Job, choices: &str, asked: &str) -> Result<Measured, Error> {
        let mut options = self.options.clone();
        let words = set_machine(&mut options, choices);
        // A choice that is given twice counts as the last: what the environment asks for goes over the experiment's.
        options.append = format!("{words} {} bench={asked}", options.append);
        let _share = self.memory.take(bytes(&options.mem));
        let which = if job.parts > 1 { format!(" {}/{}", job.part + 1, job.parts) } else { String::new() };
        let progress = Progress::new(format!("{asked}{which}"), choices);
        let console: Sink = Box::new(progress);
        let session = Session::start(&options, self.boot, Console::Pipes, console)?;
        let outcome = session.finish_unless(|| (self.give_up)())?;
        let output = rows::read(&outcome.log, chosen.rows_of());
        Ok(Measured { output, status: outcome.status, log: outcome.log })
    }
}

/// Sets the machine as the words say that are about it; returns the others, which are for the kernel.
fn set_machine(options: &mut Options, choices: &str) -> String {
    let mut others = Vec::new();
    for word in choices.split_whitespace() {
        match word.split_once('=') {
            Some(("cpu", cpu)) => cpu.clone_into(&mut options.cpu),
            Some(("mem", mem)) => mem.clone_into(&mut options.mem),
            Some(("smp", smp)) => options.smp = smp.parse().unwrap_or(options.smp),
            _ => others.push(word),
        }
    }
    others.join(" ")
}

/// The rows of the program beside this one, of the same kernel and the same part of the experiment; the environment says
/// to it what it says here.
fn beside(program: &str, kernel: &Path, chosen: &Chosen) -> Result<Measured, Error> {
    let path = std::env::current_exe()?.with_file_name(program);
    let ran = Command::new(&path).arg(kernel).args(chosen.words()).stderr(Stdio::inherit()).output();
    let ran = ran.map_err(|error| Error::Start(path.display().to_string(), error))?;
    let log = String::from_utf8_lossy(&ran.stdout).into_owned();
    let status = Status::Exited(ran.status.code().unwrap_or(1));
    Ok(Measured { output: rows::read(&log, chosen.name()), status, log })
}

#[cfg(test)]
mod tests {
    use super::super::experiment::{all, choose};
    use super::super::rows::End;
    use super::*;

    /// Words about the machine change it and are not the kernel's; those of the experiments can be read.
    #[test]
    fn words_about_the_machine() {
        let mut options = Options::for_bench().unwrap();
        let others = set_machine(&mut options, "mem=12G hugepages=0 cpu=max smp=4 hvo=alias");
        assert_eq!((options.mem.as_str(), options.cpu.as_str(), options.smp), ("12G", "max", 4));
        assert_eq!(others, "hugepages=0 hvo=alias");
        let boots: Vec<_> = choose("", &all().unwrap()).unwrap().iter().flat_map(Chosen::boots).collect();
        for word in boots.iter().flat_map(|(choices, _)| choices.split_whitespace()) {
            let cpus = word.strip_prefix("smp=").map_or(Ok(1), str::parse::<u32>);
            assert!(cpus.is_ok_and(|cpus| (1..=8).contains(&cpus)), "{word}");
        }
    }

    /// Every boot of every experiment is a job, in order; a boot to hold against comes after them.
    #[test]
    fn jobs_are_all_boots() {
        let all = all().unwrap();
        let chosen = choose("mapcount threshold hvopools", &all).unwrap();
        let jobs = jobs(&chosen);
        let of: Vec<_> = jobs.iter().map(|job| (job.of, job.part, job.parts)).collect();
        assert_eq!(
            of,
            [
                (0, 0, 2),
                (0, 1, 2),
                (1, 0, 2),
                (1, 1, 2),
                (2, 0, 5),
                (2, 1, 5),
                (2, 2, 5),
                (2, 3, 5),
                (2, 4, 5)
            ]
        );
        assert!(matches!(&jobs[1].work, Work::Beside(program) if program == "counts"));
        assert!(matches!(&jobs[3].work, Work::Against(choices, _) if choices.contains("thp=always")));
        assert!(
            matches!(&jobs[4].work, Work::Boot(choices, _) if choices.starts_with("mem=16G") && choices.ends_with("hvo=alias"))
        );
    }

    /// Boots of one experiment are one output, in their order, whichever ended first; what it is held against is not
    /// among them, and an experiment of which nothing was begun is none.
    #[test]
    fn parts_are_put_together() {
        let all = all().unwrap();
        let measured = |rows: &str| {
            let output = rows::read(&format!("bench: begin x\n{rows}bench: end x\n"), "x");
            Some(Measured { output, status: Status::Exited(0), log: rows.to_owned() })
        };
        let of = |words: &str, parts| together(&choose(words, &all).unwrap()[0], parts);
        let both = of("threshold", vec![measured("a 1 ns\n"), measured("a 2 ns\n")]).unwrap();
        assert_eq!((both.ours.output.rows[0].value, both.against.unwrap().output.rows[0].value), (1, 2));
        let boots =
            of("hvopools", vec![measured("a 1 ns\n"), measured("b 2 ns\n"), None, None, None]).unwrap();
        assert_eq!((boots.ours.output.rows.len(), boots.ours.log.as_str()), (2, "a 1 ns\nb 2 ns\n"));
        assert_eq!(boots.ours.output.end, End::Complete);
        assert!(of("kernel", vec![None]).is_none());
    }
}
