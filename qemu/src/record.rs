//! A boot that is recorded, so that gdb can go through it forwards and back.
//!
//! QEMU's record/replay on one CPU: what comes from outside (typed lines, clocks) is written down with the number of
//! the instruction before which it came, and a replay makes the same machine of it, instruction by instruction. To
//! go back, QEMU takes the machine's state of the beginning and runs forward to just before; so a step back takes as
//! long as the way there.
//!
//! ```text
//!   target/recording/   log         what came from outside
//!                       disk        a disk that the guest does not see: the state of the beginning (qcow2)
//!                       console     what the machine wrote
//! ```
//! The machine of a recording is that of `qemu/machine.conf`, section `[record]`. A replay needs the same kernel and
//! the same programs, so a recording serves the one session that it was made for.

use crate::artefacts::Boot;
use crate::child::{Child, Group};
use crate::command::Console;
use crate::config::Options;
use crate::error::Error;
use crate::session::{Outcome, Session, Sink, Status, tail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The largest log. The tour's is a quarter of a MiB; a machine that runs busily for minutes writes some MiB.
const MOST_BYTES: u64 = 1 << 30;
/// So long is an instruction: 2^3 ns. Whoever waits for a time waits for so many instructions.
const SHIFT: u32 = 3;
/// What the console writes when it takes a line.
const PROMPT: &str = "quire> ";
/// A letter that the console does not show within this is followed by the next one all the same.
const ECHO: Duration = Duration::from_millis(500);
/// So often is looked whether to give up.
const LOOK: Duration = Duration::from_millis(100);

/// Whether QEMU writes or reads the log.
#[derive(Clone, Copy, Debug)]
enum Direction {
    Record,
    Replay,
}

/// A recording that is complete.
#[derive(Clone, Debug)]
pub struct Recording {
    folder: PathBuf,
    options: Options,
    /// What the machine came to.
    pub outcome: Outcome,
    /// How long it ran, by the host's clock.
    pub took: Duration,
}

impl Recording {
    /// Boots, types `lines` and then `poweroff`, and records it all in `folder`, where nothing else may stand;
    /// `sink` gets the console. The machine is ended when `give_up` answers true.
    ///
    /// # Errors
    /// [`Error::Option`] for more than one CPU; [`Error::Recording`] if the machine did not come to its end within
    /// its limit ([`Options::limit`]) or that of the log; as for [`Session::start`].
    pub fn take(
        options: &Options,
        boot: &Boot,
        lines: &[String],
        folder: &Path,
        sink: Sink,
        mut give_up: impl FnMut() -> bool,
    ) -> Result<Recording, Error> {
        if options.smp != 1 {
            let (key, value) = ("SMP".into(), options.smp.to_string());
            return Err(Error::Option { key, value, permitted: "1 here: QEMU can record one CPU only" });
        }
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(Error::file(folder))?;
        }
        std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
        make_disk(&folder.join("disk"))?;
        let started = Instant::now();
        let recorded = with(options, folder, Direction::Record);
        let mut session = Session::start(&recorded, boot, Console::Pipes, sink)?;
        let log = folder.join("log");
        let size = || std::fs::metadata(&log).map_or(0, |data| data.len());
        let mut give_up = || give_up() || size() > MOST_BYTES;
        type_lines(&mut session, lines, &mut give_up)?;
        let outcome = session.finish_unless(give_up)?;
        let console = folder.join("console");
        std::fs::write(&console, &outcome.log).map_err(Error::file(&console))?;
        let why = match outcome.status {
            Status::Exited(_) if outcome.log.trim().is_empty() => "the machine said nothing".to_owned(),
            Status::Exited(_) => {
                return Ok(Recording {
                    folder: folder.to_path_buf(),
                    options: options.clone(),
                    outcome,
                    took: started.elapsed(),
                });
            }
            Status::TimedOut(limit) => {
                format!(
                    "the machine did not come to its end within {} s (TIMEOUT= gives another limit)",
                    limit.as_secs()
                )
            }
            Status::GivenUp if size() > MOST_BYTES => {
                format!("its log has outgrown {} MiB", MOST_BYTES >> 20)
            }
            Status::GivenUp => "it was ended".to_owned(),
        };
        Err(Error::Recording { why, tail: tail(&outcome.log, 5).to_owned() })
    }

    /// Bytes of the log.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(self.folder.join("log")).map_or(0, |data| data.len())
    }

    /// Where it is kept.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The options of the machine that replays it.
    #[must_use]
    pub fn replayed(&self) -> Options {
        with(&self.options, &self.folder, Direction::Replay)
    }
}

/// Types each line at a prompt of its own, and `poweroff` at the last; stops typing when the machine is over or is
/// given up. While it records, QEMU takes more than the UART has room for, and loses it: so each letter waits for
/// its echo.
fn type_lines(
    session: &mut Session,
    lines: &[String],
    give_up: &mut impl FnMut() -> bool,
) -> Result<(), Error> {
    for line in lines.iter().map(String::as_str).chain(["poweroff"]) {
        while session.wait_for(PROMPT, LOOK).is_err() {
            if session.is_over() || give_up() {
                return Ok(());
            }
        }
        for letter in line.chars() {
            let letter = letter.to_string();
            session.send(&letter)?;
            let _ = session.wait_for(&letter, ECHO);
        }
        session.send("\n")?;
    }
    Ok(())
}

/// The machine with the arguments that make QEMU record or replay.
fn with(options: &Options, folder: &Path, direction: Direction) -> Options {
    let mode = match direction {
        Direction::Record => "record",
        Direction::Replay => "replay",
    };
    let (log, disk) = (escaped(&folder.join("log")), escaped(&folder.join("disk")));
    let mut options = options.clone();
    options.args.extend([
        "-icount".into(),
        format!("shift={SHIFT},rr={mode},rrfile={log},rrsnapshot=init"),
        "-drive".into(),
        format!("file={disk},format=qcow2,if=none,id=recording"),
    ]);
    options
}

/// A path within an argument of QEMU: a comma would end it.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// An empty disk. What it claims to hold is of no interest: the state stands beside that.
fn make_disk(path: &Path) -> Result<(), Error> {
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2"]).arg(path).arg("1M");
    let status = Child::start(command, Group::Own)?.wait(|| false)?;
    match status {
        Some(status) if status.success() => Ok(()),
        _ => Err(Error::Recording {
            why: format!("qemu-img could not make {}", path.display()),
            tail: String::new(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A comma in a path does not end the argument, and record and replay differ in nothing but the word.
    #[test]
    fn arguments() {
        let options = Options::for_tests().unwrap();
        let folder = Path::new("/a,b");
        let [record, replay] =
            [Direction::Record, Direction::Replay].map(|direction| with(&options, folder, direction).args);
        let added = &record[options.args.len()..];
        assert_eq!(added[1], "shift=3,rr=record,rrfile=/a,,b/log,rrsnapshot=init");
        assert_eq!(added[3], "file=/a,,b/disk,format=qcow2,if=none,id=recording");
        let as_replay: Vec<_> = record.iter().map(|word| word.replace("rr=record", "rr=replay")).collect();
        assert_eq!(as_replay, replay);
    }

    /// More than one CPU is refused in a sentence, before anything is written.
    #[test]
    fn one_cpu_only() {
        let options = Options { smp: 2, ..Options::for_tests().unwrap() };
        let boot = Boot { elf: "kernel".into(), image: "Image".into(), initrd: "initrd".into() };
        let folder = std::env::temp_dir().join(format!("quire-no-recording-{}", std::process::id()));
        let error =
            Recording::take(&options, &boot, &[], &folder, Box::new(std::io::sink()), || false).unwrap_err();
        assert_eq!(error.to_string(), "SMP=2: permitted is 1 here: QEMU can record one CPU only");
        assert!(!folder.exists());
    }
}
