//! Linux boots on the machine of the bench, and says how far it is.
#![forbid(unsafe_code)]

use crate::artefacts::Boot;
use crate::command::Console;
use crate::config::Options;
use crate::error::Error;
use crate::session::{Outcome, Session, Sink};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// The files of a boot.
#[derive(Clone, Copy, Debug)]
pub struct Files<'f> {
    /// The kernel.
    pub image: &'f Path,
    /// The archive with the first process.
    pub initramfs: &'f Path,
}

/// Boots Linux with `arguments` in place of Quire's boot choices, and waits for its end.
///
/// # Errors
/// As for [`Session::start`] and [`Session::finish_unless`].
pub fn run(
    options: &Options,
    files: Files<'_>,
    arguments: &str,
    give_up: impl FnMut() -> bool,
) -> Result<Outcome, Error> {
    let mut options = options.clone();
    arguments.clone_into(&mut options.append);
    let image = files.image.to_path_buf();
    let boot = Boot { elf: image.clone(), image, initrd: files.initramfs.to_path_buf() };
    let sink: Sink =
        if io::stderr().is_terminal() { Box::new(Progress::new(io::stderr())) } else { Box::new(io::sink()) };
    Session::start(&options, &boot, Console::Pipes, sink)?.finish_unless(give_up)
}

/// Shows, in one line of a terminal, the last line that the machine has written.
struct Progress<W: Write> {
    to: W,
    line: Vec<u8>,
}

/// Columns of the line.
const WIDE: usize = 76;

impl<W: Write> Progress<W> {
    fn new(to: W) -> Progress<W> {
        Progress { to, line: Vec::new() }
    }

    fn show(&mut self) -> io::Result<()> {
        let text: String =
            String::from_utf8_lossy(&self.line).chars().filter(|c| !c.is_control()).take(WIDE).collect();
        self.line.clear();
        if text.trim().is_empty() {
            return Ok(());
        }
        write!(self.to, "\r  {text:<WIDE$}")?;
        self.to.flush()
    }
}

impl<W: Write> Write for Progress<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if byte == b'\n' {
                self.show()?;
            } else {
                self.line.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<W: Write> Drop for Progress<W> {
    fn drop(&mut self) {
        // The line is the next one's.
        let _ = write!(self.to, "\r{:WIDE$}  \r", "").and_then(|()| self.to.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each whole line takes the place of the one before it, cut to the terminal, and the last one is wiped away.
    #[test]
    fn one_line_at_a_time() {
        let mut written = Vec::new();
        {
            let mut progress = Progress::new(&mut written);
            progress.write_all(b"syscall_getpid 3").unwrap();
            progress.write_all(b"39 ns\r\n\n").unwrap();
            progress.write_all(format!("{}\n", "x".repeat(300)).as_bytes()).unwrap();
        }
        let text = String::from_utf8(written).unwrap();
        let shown: Vec<_> = text.split('\r').filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(shown.len(), 2);
        assert_eq!(shown[0].trim(), "syscall_getpid 339 ns");
        assert_eq!(shown[1].trim().len(), WIDE);
        assert!(text.ends_with('\r'));
    }
}
