//! `quire-run`: boots a kernel and passes its exit status on.
#![forbid(unstable_features)]

use qemu::debugger::Debugger;
use qemu::{Boot, Error, Options, Recording, Status, root, terminal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const USAGE: &str = "usage: quire-run [--gdb | --record] [--with SECTION] KERNEL [BOOT-ARGUMENT...]

Boots the ELF file KERNEL in QEMU with the options of qemu/machine.conf and of its
[SECTION], overridden by the environment: CPU SMP MEM EL2 APPEND QEMU QEMU_ARGS
TIMEOUT GDB GDB_ARGS. Boot arguments are added to APPEND. With --gdb the machine is
halted and gdb attached; with --record a whole boot is recorded first, the lines of
COMMANDS (separated by semicolons) typed in, and gdb attached to its replay. The
exit status is the kernel's; 124 if time was up.";

/// As the program `timeout` says it.
const TIME_IS_UP: u8 = 124;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Some(arguments) => arguments,
        None => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("quire-run: {error}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Arguments {
    gdb: bool,
    record: bool,
    section: Option<String>,
    kernel: PathBuf,
    append: Vec<String>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
        let mut arguments = Arguments::default();
        loop {
            match words.next()?.as_str() {
                "--gdb" => arguments.gdb = true,
                "--record" => arguments.record = true,
                "--with" => arguments.section = Some(words.next()?),
                option if option.starts_with('-') => return None,
                kernel => {
                    arguments.kernel = kernel.into();
                    arguments.append = words.collect();
                    return Some(arguments);
                }
            }
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8, Error> {
    let mut options = Options::load(arguments.section.as_deref())?;
    for word in &arguments.append {
        options.append = format!("{} {word}", options.append).trim().to_owned();
    }
    let boot = Boot::prepare(&arguments.kernel)?;
    let signal = Arc::new(AtomicUsize::new(0));
    let ended = {
        let signal = Arc::clone(&signal);
        move || signal.load(Ordering::Relaxed) != 0
    };
    if arguments.gdb || arguments.record {
        // Ctrl-C is gdb's: it stops the machine. Here it only must not end us; but while a boot is recorded it does.
        catch(&signal, &[SIGTERM, SIGHUP])?;
        let interrupt = Arc::<AtomicUsize>::default();
        catch(&interrupt, &[SIGINT])?;
        let _saved = terminal::Saved::now();
        let debugger = if arguments.record {
            let interrupted = || ended() || interrupt.load(Ordering::Relaxed) != 0;
            let recording = record(&options, &boot, interrupted)?;
            Debugger::replay(&recording, &boot, Box::new(std::io::stdout()))?
        } else {
            Debugger::halt(&options, &boot, Box::new(std::io::stdout()))?
        };
        return Ok(code(debugger.attach(ended)?));
    }
    catch(&signal, &[SIGINT, SIGTERM, SIGHUP])?;
    let outcome = terminal::run(&options, &boot, ended)?;
    Ok(match outcome.status {
        Status::Exited(status) => code(status),
        Status::TimedOut(limit) => {
            eprintln!("\nquire-run: the time limit of {} s has passed; QEMU was ended", limit.as_secs());
            if outcome.log.trim().is_empty() {
                eprintln!("quire-run: the kernel said nothing: is `{}` a CPU of 64 bits?", options.cpu);
            }
            TIME_IS_UP
        }
        Status::GivenUp => code(128 + signal.load(Ordering::Relaxed) as i32),
    })
}

/// Records a boot and the lines of `COMMANDS`, and says what and where.
fn record(options: &Options, boot: &Boot, give_up: impl FnMut() -> bool) -> Result<Recording, Error> {
    let commands = std::env::var("COMMANDS").unwrap_or_default();
    let lines: Vec<_> =
        commands.split(';').map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    let append = if options.append.is_empty() { "no boot arguments" } else { &options.append };
    eprintln!(
        "quire-run: recording a boot with {append}; typed: {}",
        [lines.as_slice(), &["poweroff".into()]].concat().join("; ")
    );
    let folder = root().join("target/recording");
    let recording = Recording::take(options, boot, &lines, &folder, Box::new(std::io::stdout()), give_up)?;
    eprintln!(
        "quire-run: recorded {:.1} s, {} KiB, in {}; gdb begins at its end",
        recording.took.as_secs_f64(),
        recording.bytes().div_ceil(1024),
        recording.folder().display()
    );
    Ok(recording)
}

/// A status that does not fit into eight bits is a failure all the same.
fn code(status: i32) -> u8 {
    u8::try_from(status).unwrap_or(u8::MAX)
}

fn catch(signal: &Arc<AtomicUsize>, numbers: &[i32]) -> Result<(), Error> {
    for &number in numbers {
        signal_hook::flag::register_usize(number, Arc::clone(signal), number as usize)?;
    }
    Ok(())
}
