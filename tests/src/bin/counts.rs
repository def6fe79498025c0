//! `counts`: what `make bench` cannot measure on the machine. Runs the operations of the experiment `mapcount` on the
//! model, and counts at the one door to struct pages how many atomic operations each needs, and how many struct pages,
//! of which each is a cache line, it writes.
//!
//! An argument `scheme=...,...` names schemes, all of them where there is none; other keys of the experiment, the kernel's
//! file and the machine do not concern it. Prints rows as the kernel does.
#![forbid(unsafe_code, unstable_features)]

use std::process::ExitCode;

use arch::Order;
use mm::Mm;
use mm::config::{HugePages, HvoStrategy, Mapcount};
use mm::mapcount::experiment::{Row, costs, giant_costs};
use mm::page::PageKind;
use mm::testkit::Builder;
use mm::testkit::touched::Touches;

/// Enough for 1 GiB that is naturally aligned.
const RAM_MIB: u64 = 2048 + 64;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let asked = words.iter().find_map(|word| word.strip_prefix("scheme="));
    let chosen =
        |scheme: &&Mapcount| asked.is_none_or(|asked| asked.split(',').any(|word| word == scheme.word()));
    println!("bench: begin mapcount");
    let machine = Builder::new().ram_mib(RAM_MIB).cpus(1).machine(|desc| desc.max_steps = u64::MAX);
    let machine = machine.config(|config| {
        // The tails of a folio are written where each page has a counter of its own.
        config.hvo = HvoStrategy::Off;
        config.hugepages = HugePages::NONE;
    });
    let counted =
        machine.boot(|mm, _| Mapcount::ALL.iter().filter(chosen).try_for_each(|&one| count(mm, one)));
    match counted {
        Ok(()) => {
            println!("bench: end mapcount");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("counts: {why}");
            ExitCode::FAILURE
        }
    }
}

fn count(mm: &Mm, scheme: Mapcount) -> Result<(), String> {
    // What has no part is no count: it is the same on the machine.
    let mut say = |row: &Row| {
        if !row.part.is_empty() {
            println!("{row}");
        }
    };
    let short = |why: mm::error::OutOfMemory| why.to_string();
    costs(mm, scheme, &mut Touches, &mut say).map_err(short)?;
    let block = mm.alloc_contig(Order::PUD, PageKind::Kernel).map_err(|why| why.to_string())?;
    giant_costs(mm, scheme, block, &mut Touches, &mut say).map_err(short)
}
