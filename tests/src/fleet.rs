//! Boots machines, few at a time, and only those that somebody waits for.
//!
//! libtest-mimic wants every trial by name before the first one runs, and many trials read one machine's report.
//! So a machine of the matrix is a [`Berth`]: the trials hold it, two workers boot the wanted ones in the order of
//! the list, a trial waits until the report of its own is there. Trials with a machine of their own take a
//! [`Permit`] from the same [`Permits`], so that never more machines run than the host has room for.

use crate::ktap::{self, Report};
use qemu::session::{Sink, tail};
use qemu::{Boot, Options, Outcome, Session, Status};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Room for a number of machines.
pub struct Permits {
    free: Mutex<usize>,
    freed: Condvar,
}

/// Room for one machine, given back when dropped.
pub struct Permit<'a>(&'a Permits);

impl Permits {
    /// Room for `count` machines.
    #[must_use]
    pub fn new(count: usize) -> Permits {
        Permits { free: Mutex::new(count), freed: Condvar::new() }
    }

    /// Waits for room.
    pub fn take(&self) -> Permit<'_> {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.freed.notify_one();
    }
}

/// One machine of the matrix and, later, what became of it.
pub struct Berth {
    /// The machine's name.
    pub name: String,
    /// What is booted.
    pub options: Options,
    outcome: OnceLock<Result<Outcome, String>>,
}

impl Berth {
    /// A machine that has not been booted.
    #[must_use]
    pub fn new(name: String, options: Options) -> Arc<Berth> {
        Arc::new(Berth { name, options, outcome: OnceLock::new() })
    }

    /// Waits for the machine's end; the error says why there is none.
    ///
    /// # Errors
    /// The machine could not be started.
    pub fn outcome(&self) -> Result<&Outcome, String> {
        self.outcome.wait().as_ref().map_err(Clone::clone)
    }

    /// Waits for the machine's report.
    ///
    /// # Errors
    /// The machine could not be started or reported nothing, or more than once.
    pub fn report(&self) -> Result<Report, String> {
        let outcome = self.outcome()?;
        let mut reports = ktap::parse(&outcome.log);
        match (reports.pop(), reports.len()) {
            (Some(report), 0) => Ok(report),
            (_, 0) => Err(format!("no KTAP report; {}", ending(outcome))),
            (_, more) => Err(format!("{} KTAP reports instead of one", more + 1)),
        }
    }

    fn run(&self, boot: &Boot, permits: &Permits) {
        let _permit = permits.take();
        let outcome = run(&self.options, boot).map_err(|error| error.to_string());
        // Each berth stands in the queue once, so nobody else has set it.
        let _ = self.outcome.set(outcome);
    }
}

/// How long a machine may write nothing before it is typed to nevertheless.
const SILENCE: Duration = Duration::from_secs(10);

/// Boots a machine, types `poweroff` and waits for its end.
///
/// # Errors
/// It cannot be started.
pub fn run(options: &Options, boot: &Boot) -> Result<Outcome, qemu::Error> {
    type_lines(options, boot, &["poweroff"], Box::new(std::io::sink()))
}

/// Boots a machine, types `lines` and waits for its end.
///
/// # Errors
/// It cannot be started.
pub fn type_lines(
    options: &Options,
    boot: &Boot,
    lines: &[&str],
    sink: Sink,
) -> Result<Outcome, qemu::Error> {
    let mut session = Session::start(options, boot, qemu::command::Console::Pipes, sink)?;
    // Before its first line the kernel has not set its UART up, which would lose what is typed.
    let _ = session.wait_for("\n", SILENCE);
    for line in lines {
        // A machine that has ended already takes no more input; its outcome tells.
        let _ = session.send_line(line);
    }
    session.finish()
}

/// A sentence about the end of a machine, and its last lines.
#[must_use]
pub fn ending(outcome: &Outcome) -> String {
    let how = match outcome.status {
        Status::Exited(status) => format!("the machine ended with status {status}"),
        Status::TimedOut(limit) => format!("the machine was ended after {} s", limit.as_secs()),
        Status::GivenUp => "the machine was ended".to_owned(),
    };
    format!("{how}; its last lines:\n{}", tail(&outcome.log, 40))
}

/// Boots `berths` in the background, `workers` at a time. The workers end with the list.
pub fn launch(berths: Vec<Arc<Berth>>, boot: &Boot, permits: &Arc<Permits>, workers: usize) {
    let queue = Arc::new(Mutex::new(VecDeque::from(berths)));
    for _ in 0..workers {
        let (queue, boot, permits) = (Arc::clone(&queue), boot.clone(), Arc::clone(permits));
        std::thread::spawn(move || {
            loop {
                // A statement of its own: the lock is not held during the boot.
                let next = lock(&queue).pop_front();
                let Some(berth) = next else { break };
                berth.run(&boot, &permits);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Never more holders than permits, and each waiter gets one in the end.
    #[test]
    fn permits_bound_the_machines() {
        let (permits, running, most) = (Permits::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _permit = permits.take();
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    running.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(*lock(&permits.free), 2);
    }

    /// A machine that cannot be started gives its trials an error, not an endless wait.
    #[test]
    fn a_machine_that_does_not_start() {
        let mut options = Options::for_tests().unwrap();
        options.qemu = "qemu-of-nowhere".to_owned();
        let berth = Berth::new("max".to_owned(), options);
        let boot = Boot { elf: "kernel".into(), image: "Image".into(), initrd: "initrd".into() };
        launch(vec![Arc::clone(&berth)], &boot, &Arc::new(Permits::new(1)), 1);
        assert!(berth.report().unwrap_err().contains("qemu-of-nowhere"));
    }
}
