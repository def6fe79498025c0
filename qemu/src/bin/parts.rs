//! `quire-parts`: what a page fault is made of, as rows of an experiment.
#![forbid(unstable_features)]

use qemu::{Boot, Error, Options, parts, root};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: quire-parts KERNEL [KEY=VALUE...]

Runs the program faultparts on the ELF file KERNEL and the machine of `make bench` (qemu/machine.conf,
[bench], and the environment), and prints of one fault of each kind how many instructions of the
kernel belong to which part. What is chosen of an experiment is nothing here.";

/// The machine writes down a million instructions in a few seconds.
const LIMIT: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let Some(kernel) = std::env::args().nth(1).filter(|kernel| !kernel.starts_with('-')) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(Path::new(&kernel)) {
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
    let options = Options::load(Some("bench"))?;
    let boot = Boot::prepare(kernel)?;
    let all = parts::measure(&options, &boot, &root().join("target/parts"), LIMIT)?;
    Ok(parts::rows_of(&all))
}
