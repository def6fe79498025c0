//! Experiments: what designs cost and give, side by side on this machine.
//!
//! Each has a file `experiments/<name>.toml`, which says what it asks, what is done, what stands beside each other, what
//! it prints and which discussion it comes from, and a file here that does it. The console runs one by `experiment <name>
//! [key=value ...]`, `make bench` each in a boot of its own, or in several. Figures are lines of three words, `name value
//! unit`: where the unit is `ns`, `name` is the mean of a series and `name.min` its cheapest operation, which no timer
//! interrupt has met; `name -errno errno` is an operation that failed. Under `make bench` the virtual counter counts guest
//! instructions: one ns is one instruction, and the figures are the same at each run.
//!
//! ```text
//! bench: begin mmbench
//! syscall_getpid.min 339 ns
//! ...
//! bench: end mmbench
//! ```
//!
//! | file | what |
//! |---|---|
//! | `description`, `asked` | the files; what was asked, held against them |
//! | `run`, `sheet` | where lines go; tables and JSON for the console |
//! | `policies` | policies for huge pages, beside each other in one boot |
//! | `times` | series of times |
//! | the others | an experiment each; `thp` has `promotion`, `kernel` has `vmas` beside it |
#![forbid(unsafe_code)]

mod asked;
mod collapse;
mod curves;
mod description;
mod faultparts;
mod hgm;
mod hvo;
mod kernel;
mod mapcount;
mod mmbench;
mod policies;
mod promotion;
mod run;
mod sheet;
mod thp;
mod thpfork;
mod timeline;
mod times;
mod vmas;

use mm::Mm;

pub use asked::{Asked, Refused};
pub use description::{Description, EXPERIMENTS};
use run::{For, Run};

use crate::println;

/// What does an experiment; `None`: it did not come to a good end, which a line has said.
type Does = fn(&'static Mm, &mut Run<'_>) -> Option<()>;

/// All that can be done in one boot.
const ALL: &[(&str, Does)] = &[
    ("collapse", collapse::run),
    ("curves", curves::run),
    ("faultparts", faultparts::run),
    ("hgm", hgm::run),
    ("hvo", hvo::remaps),
    ("hvopools", hvo::pools),
    ("kernel", kernel::run),
    ("mapcount", mapcount::run),
    ("mmbench", mmbench::run),
    ("thp", thp::run),
    ("thpfork", thpfork::run),
    ("timeline", timeline::run),
];

/// Whether all that was asked for came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Complete,
    /// An experiment broke off, or could not be begun.
    Broken,
}

/// Runs one for a person.
pub fn show(mm: &'static Mm, asked: &Asked<'_>) -> Outcome {
    println!(
        "    times are those of this machine, of this boot's choices and of one run; instructions are counted by"
    );
    println!("    {}", asked.experiment.counted());
    let mut run = Run::new(asked, For::Console);
    let outcome = perform(mm, &mut run);
    run.show();
    outcome
}

/// Runs one for `make bench`: `name`, or `name:key=value:key=value`.
pub fn bench(mm: &'static Mm, words: &str) -> Outcome {
    let mut words = words.split(':');
    let name = words.next().unwrap_or("");
    match Asked::new(name, words) {
        Ok(asked) => {
            println!("bench: begin {name}");
            let outcome = perform(mm, &mut Run::new(&asked, For::Bench));
            println!("bench: {} {name}", if outcome == Outcome::Complete { "end" } else { "broken" });
            outcome
        }
        Err(refused) => {
            println!("error: {refused}");
            Outcome::Broken
        }
    }
}

fn perform(mm: &'static Mm, run: &mut Run<'_>) -> Outcome {
    let name = run.asked.experiment.name;
    let done = match ALL.iter().find(|(experiment, _)| *experiment == name) {
        Some((_, does)) => does(mm, run),
        None => run.fail(format_args!("nothing does `{name}`")),
    };
    if done.is_some() { Outcome::Complete } else { Outcome::Broken }
}
