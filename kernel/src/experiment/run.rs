//! An experiment while it runs: what was asked of it, and where its lines go.
//!
//! A line is a figure, `name value unit`, or a remark. What the experiment says and what its programs write come to
//! the same place:
//!
//! | for | figures | remarks |
//! |---|---|---|
//! | `make bench` | printed as they come | printed |
//! | the console | kept on a sheet, printed at the end as tables and as JSON | printed |
//!
//! There is one sheet, as one experiment runs at a time: a program's bytes come to it from the program's own thread.
#![forbid(unsafe_code)]

use core::fmt::{self, Write as _};

use arch::sync::{Rank, SpinLock};
use arrayvec::{ArrayString, ArrayVec};

use super::asked::Asked;
use super::sheet::Sheet;
use crate::println;
use crate::process::{self, ExitStatus, Observer};

/// Who reads the figures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// A program, line by line.
    Bench,
    /// A person.
    Console,
}

/// An experiment that runs.
pub(super) struct Run<'w> {
    /// What was asked.
    pub(super) asked: &'w Asked<'w>,
    reader: For,
    /// Steps that were begun, and how many there are.
    steps: (usize, usize),
}

/// Most bytes of a line that is looked at for a figure.
const MAX_LINE: usize = 160;

/// The sheet for a person, and what a program has written of its next line.
struct Desk {
    sheet: Sheet,
    line: ArrayVec<u8, MAX_LINE>,
}

/// Taken with no lock held; the allocator is called under it.
static DESK: SpinLock<Desk> =
    SpinLock::new(Rank(6), Desk { sheet: Sheet::new(), line: ArrayVec::new_const() });

impl<'w> Run<'w> {
    pub(super) fn new(asked: &'w Asked<'w>, reader: For) -> Self {
        *DESK.lock() = Desk { sheet: Sheet::new(), line: ArrayVec::new() };
        Run { asked, reader, steps: (0, 0) }
    }

    /// Says how many steps are to come.
    pub(super) fn expect(&mut self, steps: usize) {
        self.steps = (0, steps);
    }

    /// Says that the next step begins.
    pub(super) fn step(&mut self, what: impl fmt::Display) {
        let (step, steps) = &mut self.steps;
        *step += 1;
        println!("progress: {step} of {steps}: {what}");
    }

    /// Says a line: a figure, `name value unit`, or a remark.
    pub(super) fn line(&mut self, line: impl fmt::Display) {
        let mut text = ArrayString::<MAX_LINE>::new();
        let is_figure = self.reader == For::Console && write!(text, "{line}").is_ok() && take(&text);
        if !is_figure {
            println!("{line}");
        }
    }

    /// Says why it cannot go on.
    pub(super) fn fail<T>(&mut self, why: impl fmt::Display) -> Option<T> {
        println!("error: {why}");
        None
    }

    /// Runs a program to its end; `args[0]` is its name. What it writes are lines. `None` where that is not a good end,
    /// which a line then says.
    pub(super) fn program(&mut self, args: &[&str]) -> Option<()> {
        let observer = (self.reader == For::Console).then_some(Observer::All(hear));
        let status = process::run(args[0], args, observer).map(|process| process.wait());
        if !DESK.lock().line.is_empty() {
            hear(b"\n");
        }
        match status {
            Ok(ExitStatus::Exited(0)) => Some(()),
            Ok(status) => self.fail(format_args!("{}: {status}", args[0])),
            Err(error) => self.fail(format_args!("{}: {error}", args[0])),
        }
    }

    /// Shows a person what there is.
    pub(super) fn show(&self) {
        if self.reader == For::Console {
            // The sheet is taken away first: printing takes long, and no lock is held meanwhile.
            let sheet = core::mem::replace(&mut DESK.lock().sheet, Sheet::new());
            if sheet.is_empty() {
                println!("error: no figure has come of it");
            }
            sheet.print(self.asked.experiment);
            sheet.print_json();
        }
    }
}

/// Puts a figure on the sheet; `false` where the line is none.
fn take(line: &str) -> bool {
    DESK.lock().sheet.take(line)
}

/// What a program wrote: whole lines are figures or printed, the rest waits for its end.
fn hear(bytes: &[u8]) {
    for &byte in bytes {
        if byte != b'\n' && DESK.lock().line.try_push(byte).is_ok() {
            continue;
        }
        let line = core::mem::take(&mut DESK.lock().line);
        let text = core::str::from_utf8(&line);
        if !text.is_ok_and(take) {
            line.utf8_chunks().for_each(|chunk| crate::print!("{}", chunk.valid()));
            println!();
        }
        if byte != b'\n' {
            DESK.lock().line.push(byte);
        }
    }
}
