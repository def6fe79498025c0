//! From bytes to the words of a line.
//!
//! The editor drops what its buffer cannot hold, and would run the rest of such a line. So lines are measured before
//! the editor sees them: one that is too long is swallowed up to its end, and then refused.
#![forbid(unsafe_code)]

use core::convert::Infallible;

use embedded_cli::autocomplete::{Autocompletion, Request};
use embedded_cli::cli::{Cli, CliBuilder, CliHandle};
use embedded_cli::command::RawCommand;
use embedded_cli::service::{Autocomplete, Help};
use embedded_io::{ErrorType, Write};
use mm::Mm;

use super::commands;
use super::words::Words;
use crate::{println, uart};

/// Bytes that may be typed in one line.
const LONGEST_LINE: usize = 512;
/// The editor's buffer also holds a line from the history that the typed one continues.
const BUFFER: usize = 2 * LONGEST_LINE;
const PROMPT: &str = "quire> ";

const DELETE: u8 = 0x7f;
const BACKSPACE: u8 = 0x08;

type Editor = Cli<ToUart, Infallible, [u8; BUFFER], [u8; LONGEST_LINE]>;
type Handle<'a> = CliHandle<'a, ToUart, Infallible>;

/// The editor's output.
struct ToUart;

impl ErrorType for ToUart {
    type Error = Infallible;
}

impl Write for ToUart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        // Lines end in a line feed alone, like all that the kernel prints; the terminal adds what it needs.
        uart::write_bytes(bytes.strip_suffix(b"\r\n").unwrap_or(bytes));
        if bytes.ends_with(b"\r\n") {
            uart::write_bytes(b"\n");
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// What the tab key completes.
struct Names;

impl Help for Names {}

impl Autocomplete for Names {
    fn autocomplete(request: Request<'_>, completion: &mut Autocompletion<'_>) {
        let Request::CommandName(typed) = request else { return };
        commands::names()
            .filter_map(|name| name.strip_prefix(typed))
            .for_each(|rest| completion.merge_autocompletion(rest));
    }
}

/// Reads and runs lines for ever; `poweroff` ends the machine.
pub fn run(mm: &'static Mm) -> ! {
    println!("Type `help` for the commands.");
    let Ok(mut editor) = CliBuilder::default()
        .writer(ToUart)
        .command_buffer([0; BUFFER])
        .history_buffer([0; LONGEST_LINE])
        .prompt(PROMPT)
        .build();
    let mut typed = 0;
    loop {
        let byte = match uart::read_byte() {
            DELETE => BACKSPACE,
            byte => byte,
        };
        let at_end = byte == b'\n' || byte == b'\r';
        match (at_end, typed > LONGEST_LINE) {
            (true, false) => give(&mut editor, byte, |words| commands::dispatch(mm, words)),
            (true, true) => give(&mut editor, byte, |_| {
                println!("error: a line has at most {LONGEST_LINE} bytes; this one was not run");
            }),
            (false, false) => give(&mut editor, byte, |_| ()),
            (false, true) => {}
        }
        typed = if at_end { 0 } else { typed + 1 };
    }
}

/// Gives the editor a byte; where that ends a line with words, `run` is called.
fn give(editor: &mut Editor, byte: u8, mut run: impl FnMut(&Words<'_>)) {
    let mut process = RawCommand::processor(|_: &mut Handle<'_>, line| {
        run(&Words::of(&line));
        Ok(())
    });
    let Ok(()) = editor.process_byte::<Names, _>(byte, &mut process);
}
