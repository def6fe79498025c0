//! Programs, threads, tests, and the machine itself.
#![forbid(unsafe_code)]

use arch::{Machine, Mmu};
use mm::Mm;

use super::commands::{Complaint, none};
use crate::experiment::{Asked, Description, EXPERIMENTS, Refused};
use crate::sched::State;
use crate::selftest::{self, Outcome};
use crate::{initrd, println, process, sched, session, stop, time};

/// `tour`
pub(super) fn tour(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    session::tour(mm);
    Ok(())
}

/// `selftest [filter]`
pub(super) fn selftest(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let filter = match *args {
        [] => "",
        ["list"] => {
            selftest::list("");
            return Ok(());
        }
        [filter] => filter,
        _ => return Err(Complaint::Usage),
    };
    match session::selftest(mm, filter) {
        Outcome::NoneChosen => {
            Err(Complaint::new(format_args!("no self-test has `{filter}` in its name; `selftest list`")))
        }
        Outcome::Passed | Outcome::Failed => Ok(()),
    }
}

/// `run [program [args]]`
pub(super) fn run(_: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let Some(&program) = args.first() else {
        initrd::for_each(|name, bytes| println!("  {name:<12} {bytes:>8} bytes"));
        return Ok(());
    };
    let process = process::run(program, args, None)
        .map_err(|error| Complaint::new(format_args!("{program}: {error}")))?;
    let status = process.wait();
    println!("process {} ({}): {status}", process.pid(), process.name());
    Ok(())
}

/// `ps`
pub(super) fn ps(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    println!("  thread  pid  state  cpu    ticks  name");
    sched::for_each_thread(|thread| {
        let cpu = match thread.state {
            State::Running(cpu) => Some(cpu.index()),
            _ => None,
        };
        let (slot, pid, letter) = (thread.slot, Or(thread.pid, "-"), thread.state.letter());
        println!(
            "  {slot:>6}  {pid:>3}  {letter:<5}  {:>3}  {:>7}  {}",
            Or(cpu, "-"),
            thread.ticks,
            thread.name
        );
    });
    process::for_each(|process| {
        let sizes = mm.glance(process.space());
        println!(
            "  process {} is `{}`: {} system calls, RSS {} kB, PSS {} kB",
            process.pid(),
            process.name(),
            process.syscalls(),
            sizes.rss() >> 10,
            sizes.pss >> 10
        );
    });
    Ok(())
}

/// A value, or a word where there is none.
struct Or<T>(Option<T>, &'static str);

impl<T: core::fmt::Display> core::fmt::Display for Or<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.pad(self.1),
        }
    }
}

/// `uptime`
pub(super) fn uptime(_: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    let ms = time::now_ns() / 1_000_000;
    println!("    up {}.{:03} s, {} CPUs", ms / 1000, ms % 1000, stop::online_cpus());
    Ok(())
}

/// `features`
pub(super) fn features(_: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    println!("    {}", Machine::features());
    Ok(())
}

/// `experiment list`, `experiment about <name>`, `experiment <name> [key=value ...]`
pub(super) fn experiment(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let asked = match *args {
        [] | ["about"] | ["about", _, _, ..] | ["list", _, ..] => return Err(Complaint::Usage),
        ["list"] => {
            for Description { name, asks, of_boots, .. } in EXPERIMENTS {
                println!(
                    "    {name:<10} {asks}{}",
                    if *of_boots { " (compares boots: make bench)" } else { "" }
                );
            }
            return Ok(());
        }
        ["about", name] => Description::of(name).ok_or(Refused::NoExperiment(name)).map(|one| {
            println!("{one}");
            None
        }),
        [name, ref words @ ..] => Asked::new(name, words.iter().copied()).map(Some),
    };
    if let Some(asked) = asked.map_err(Complaint::new)? {
        session::experiment(mm, &asked);
    }
    Ok(())
}

/// `config`
pub(super) fn config(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    println!("    {}", mm.config);
    Ok(())
}

/// `panic`
pub(super) fn panic(_: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    panic!("asked for on the console");
}

/// `poweroff`
pub(super) fn poweroff(_: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    session::power_off()
}
