//! Printing: `print!`, `println!` and the `log` crate, all to the UART, a whole call at a time.
#![forbid(unsafe_code)]

use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::uart;

/// Prints formatted text on the console.
#[macro_export]
macro_rules! print {
    ($($words:tt)*) => { $crate::log::print(format_args!($($words)*)) };
}

/// Prints formatted text and a line end on the console.
#[macro_export]
macro_rules! println {
    () => { $crate::log::print(format_args!("\n")) };
    ($($words:tt)*) => { $crate::log::print(format_args!("{}\n", format_args!($($words)*))) };
}

/// Prints `words` without a line of another CPU coming between. Formatting must take no lock.
pub fn print(words: fmt::Arguments<'_>) {
    // The console itself never refuses; a `Display` that fails has printed what it could.
    let _ = uart::with_console(|console| console.write_fmt(words));
}

/// The console as a sink for text; what one `write!` writes stays together.
pub struct Printer;

impl Write for Printer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_fmt(format_args!("{text}"))
    }
    fn write_fmt(&mut self, words: fmt::Arguments<'_>) -> fmt::Result {
        print(words);
        Ok(())
    }
}

struct ConsoleLog;

impl Log for ConsoleLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            log::Level::Error => "error: ",
            log::Level::Warn => "warning: ",
            _ => "",
        };
        print(format_args!("{level}{}\n", record.args()));
    }

    fn flush(&self) {}
}

/// Sends `log::info!` and its like to the console.
pub fn init() {
    static LOG: ConsoleLog = ConsoleLog;
    // Fails only where a logger is set already, which then stays.
    let _ = log::set_logger(&LOG);
    log::set_max_level(LevelFilter::Info);
}
