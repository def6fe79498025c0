//! How far a boot is, for who waits.

use std::io::{self, IsTerminal, Write};

/// Says on standard error how far a boot is: its lines `progress: ...`, where that is a terminal, and its begin in any case.
pub(super) struct Progress {
    name: String,
    line: Vec<u8>,
}

impl Progress {
    pub(super) fn new(name: String, choices: &str) -> Progress {
        eprintln!("quire: {name} {choices}");
        Progress { name, line: Vec::new() }
    }
}

impl Write for Progress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if let Some(step) = line.strip_prefix(b"progress: ")
                && io::stderr().is_terminal()
            {
                eprintln!("quire: {}: {}", self.name, String::from_utf8_lossy(step).trim_end());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
