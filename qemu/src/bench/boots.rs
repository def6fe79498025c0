//! The boots of experiments, as many at a time as the computer has processors and memory for.
//!
//! Figures are instructions of the guest, so what runs beside a machine changes none of them.

use super::experiment::Chosen;
use super::machine::{self, Planned};
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
    /// Boot, for its rows.
    Boot(Planned),
    /// Boot, to hold the rows of the other boot against.
    Against(Planned),
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

fn jobs(options: &Options, chosen: &[Chosen]) -> Result<VecDeque<Job>, Error> {
    let mut jobs = VecDeque::new();
    for (of, one) in chosen.iter().enumerate() {
        let mut all: Vec<_> = machine::plan_all(options, one)?.into_iter().map(Work::Boot).collect();
        if let Some(choices) = one.experiment.against() {
            all.push(Work::Against(machine::plan(options, one, choices, &one.asked())?));
        }
        all.extend(one.experiment.beside().map(|program| Work::Beside(program.to_owned())));
        let parts = all.len();
        jobs.extend(all.into_iter().enumerate().map(|(part, work)| Job { of, part, parts, work }));
    }
    Ok(jobs)
}

/// What a part of an experiment gave, and whether others are held against it.
type Part = (bool, Measured);

/// Everything that boots share.
struct Bench<'b> {
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
/// [`Error::File`] before all of it: an experiment's file asks for a machine that cannot be.
pub fn measure_all(
    options: &Options,
    boot: &Boot,
    chosen: &[Chosen],
    at_once: usize,
    give_up: &(dyn Fn() -> bool + Sync),
    mut done: impl FnMut(&Chosen, All) -> Result<(), Error>,
) -> Result<(), Error> {
    let queue = jobs(options, chosen)?;
    let mut results: Vec<Vec<Option<Part>>> = chosen.iter().map(|_| Vec::new()).collect();
    queue.iter().for_each(|job| results[job.of].push(None));
    let mut left: Vec<_> = results.iter().map(Vec::len).collect();
    let bench = Bench {
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
                Ok(measured) => measured.map(|measured| (matches!(job.work, Work::Against(_)), measured)),
                Err(error) => {
                    bench.stop();
                    return Err(error);
                }
            };
            left[job.of] -= 1;
            while next < chosen.len() && left[next] == 0 {
                let all = together(std::mem::take(&mut results[next]));
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
fn together(parts: Vec<Option<Part>>) -> Option<All> {
    let (mut ours, mut against) = (None::<Measured>, None);
    for (is_against, part) in parts.into_iter().flatten() {
        if is_against {
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
            Work::Boot(planned) | Work::Against(planned) => self.boot_once(one, job, planned).map(Some),
            Work::Beside(program) => beside(program, &self.boot.elf, one).map(Some),
        }
    }

    fn boot_once(&self, chosen: &Chosen, job: &Job, planned: &Planned) -> Result<Measured, Error> {
        let Planned { options, choices, asked } = planned;
        let _share = self.memory.take(bytes(&options.mem));
        let which = if job.parts > 1 { format!(" {}/{}", job.part + 1, job.parts) } else { String::new() };
        let progress = Progress::new(format!("{asked}{which}"), choices);
        let console: Sink = Box::new(progress);
        let session = Session::start(options, self.boot, Console::Pipes, console)?;
        let outcome = session.finish_unless(|| (self.give_up)())?;
        let output = rows::read(&outcome.log, chosen.rows_of());
        Ok(Measured { output, status: outcome.status, log: outcome.log })
    }
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

    /// Every boot of every experiment is a job, in order; a boot to hold against comes after them.
    #[test]
    fn jobs_are_all_boots() {
        let all = all().unwrap();
        let chosen = choose("mapcount threshold hvopools", &all).unwrap();
        let jobs = jobs(&Options::for_bench().unwrap(), &chosen).unwrap();
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
        assert!(matches!(&jobs[3].work, Work::Against(boot) if boot.options.append.contains("thp=always")));
        assert!(
            matches!(&jobs[4].work, Work::Boot(boot) if boot.options.mem == "16G" && boot.choices.ends_with("hvo=alias"))
        );
    }

    /// Boots of one experiment are one output, in their order, whichever ended first; what it is held against is not
    /// among them, and an experiment of which nothing was begun is none.
    #[test]
    fn parts_are_put_together() {
        let measured = |is_against, rows: &str| {
            let output = rows::read(&format!("bench: begin x\n{rows}bench: end x\n"), "x");
            Some((is_against, Measured { output, status: Status::Exited(0), log: rows.to_owned() }))
        };
        let both = together(vec![measured(false, "a 1 ns\n"), measured(true, "a 2 ns\n")]).unwrap();
        assert_eq!((both.ours.output.rows[0].value, both.against.unwrap().output.rows[0].value), (1, 2));
        let boots = [measured(false, "a 1 ns\n"), measured(false, "b 2 ns\n"), None, None];
        let boots = together(boots.into()).unwrap();
        assert_eq!((boots.ours.output.rows.len(), boots.ours.log.as_str()), (2, "a 1 ns\nb 2 ns\n"));
        assert_eq!(boots.ours.output.end, End::Complete);
        assert!(boots.against.is_none() && together(vec![None]).is_none());
    }
}
