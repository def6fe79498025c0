//! `quire-parts`: what a page fault is made of, as rows of an experiment.
#![forbid(unstable_features)]

use qemu::{Boot, Error, Options, parts, root};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: quire-parts [KERNEL]

Runs the program faultparts on the machine of `make bench` (qemu/machine.conf, [bench]), and
prints of one fault of each kind how many instructions of the kernel belong to which part.
KERNEL is the ELF file; without it the release build.";

/// The machine writes down a million instructions in a few seconds.
const LIMIT: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let kernel = match words.as_slice() {
        [] => qemu::kernel("release"),
        [kernel] if !kernel.starts_with('-') => kernel.into(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&kernel) {
        Ok(rows) => {
            print!("{rows}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("quire-parts: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(kernel: &Path) -> Result<String, Error> {
    let options = Options::for_bench()?;
    let boot = Boot::prepare(kernel)?;
    let all = parts::measure(&options, &boot, &root().join("target/parts"), LIMIT)?;
    Ok(parts::rows_of(&all))
}
