//! The table of commands.
#![forbid(unsafe_code)]

use core::fmt;

use mm::Mm;

use super::words::Words;
use super::{inspect, machine, memory, moving, trace};
use crate::println;

/// What runs a command: the arguments, without the command's name.
type Run = fn(&'static Mm, &[&str]) -> Result<(), Complaint>;

/// One command.
struct Command {
    name: &'static str,
    /// Its arguments, as `help` shows them.
    usage: &'static str,
    what: &'static str,
    run: Run,
}

/// A command could not do what was asked.
pub(super) enum Complaint {
    /// The arguments are not those of the command.
    Usage,
    /// The sentence that says why is printed.
    Said,
}

impl Complaint {
    /// Prints why.
    pub(super) fn new(sentence: impl fmt::Display) -> Self {
        println!("error: {sentence}");
        Complaint::Said
    }
}

macro_rules! commands {
    ($($name:literal $usage:literal $what:literal => $run:path),+ $(,)?) => {
        &[$(Command { name: $name, usage: $usage, what: $what, run: $run }),+]
    };
}

const COMMANDS: &[Command] = commands! {
    "help" "" "this list" => help,
    "tour" "" "both walks, performed and checked" => machine::tour,
    "selftest" "[filter]" "self-tests whose name contains the filter; `selftest list` lists them" => machine::selftest,
    "run" "[program [args]]" "run a user program and wait for it; alone: list the programs" => machine::run,
    "ps" "" "threads and processes" => machine::ps,
    "meminfo" "" "memory, by what it is used for" => memory::meminfo,
    "buddyinfo" "" "free blocks of each order" => memory::buddyinfo,
    "vmstat" "" "counters" => memory::vmstat,
    "check" "" "everything of memory management against a full scan" => memory::check,
    "pt" "<va> [pid]" "walk the tables for an address, of the kernel or of a process" => inspect::pt,
    "page" "<pfn>" "the struct page of a frame" => inspect::page,
    "vmemmap" "<pfn>" "vmemmap of the hugetlb page of a frame, before HVO and after; else of 2 MiB around it" => inspect::vmemmap,
    "hugetlb" "[pages]" "the hugetlb pool; with a number: resize it" => memory::hugetlb,
    "hvo" "[optimise|restore|soak <seconds>]" "HVO: its state; treat the free folios of the pools; do so all the time, under walkers and load" => memory::hvo,
    "rmap" "<pfn>" "who maps the folio of a frame, and through which entries it was accessed" => moving::rmap,
    "migrate" "<pfn> [exclusive]" "move a folio to another frame; with a word: only where one space alone maps it" => moving::migrate,
    "poison" "<pfn>" "let the memory of a frame fail, which is of a hugetlb page" => moving::poison,
    "dissolve" "<pfn> [pages]" "give free hugetlb pages there back to memory, and make their pools smaller" => moving::dissolve,
    "split" "<pfn>" "make single pages of a folio" => moving::split,
    "compact" "" "move pages up until all that can be is in one piece" => moving::compact,
    "contig" "<order>" "2^order pages in one piece, by moving what is in the way; given back at once" => moving::contig,
    "experiment" "list|about <name>|<name> [key=value ...]" "what designs cost and give, side by side: which there are, what one asks, and its figures" => machine::experiment,
    "trace" "[points|on|off|filter|buffer|clear|show|dump]" "tracepoints: which are on, what they have written down; `on` and `off` take points and rooms" => trace::trace,
    "ls" "[path]" "settings and counters" => memory::ls,
    "cat" "<path>" "read one" => memory::cat,
    "echo" "<value> > <path>" "write one" => memory::echo,
    "uptime" "" "time since boot" => machine::uptime,
    "features" "" "what the CPUs offer" => machine::features,
    "config" "" "the boot choices" => machine::config,
    "panic" "" "end with a panic and its backtrace" => machine::panic,
    "poweroff" "" "end; the status is 1 if a self-test or a stop of the tour failed" => machine::poweroff,
};

/// The names of all commands.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.name)
}

/// Runs one line.
pub(super) fn dispatch(mm: &'static Mm, words: &Words<'_>) {
    let Some(command) = COMMANDS.iter().find(|command| command.name == words.command) else {
        println!("error: unknown command `{}`; `help` lists the commands", words.command);
        return;
    };
    let result = match words.unusable {
        // `echo` shows what its file permits.
        Some(why) if command.name != "echo" => Err(Complaint::new(why)),
        _ => (command.run)(mm, words.args()),
    };
    match result {
        Ok(()) | Err(Complaint::Said) => {}
        Err(Complaint::Usage) if command.usage.is_empty() => println!("usage: {}", command.name),
        Err(Complaint::Usage) => println!("usage: {} {}", command.name, command.usage),
    }
}

fn help(_: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    for Command { name, usage, what, .. } in COMMANDS {
        println!("  {name:<9} {usage:<19} {what}");
    }
    Ok(())
}

/// There are no arguments.
///
/// # Errors
/// [`Complaint::Usage`] where there are.
pub(super) fn none(args: &[&str]) -> Result<(), Complaint> {
    if args.is_empty() { Ok(()) } else { Err(Complaint::Usage) }
}
