//! The words of a line, and numbers among them.
#![forbid(unsafe_code)]

use arrayvec::ArrayVec;
use embedded_cli::arguments::Arg;
use embedded_cli::command::RawCommand;

/// Words that a line may have; more are refused.
const MOST: usize = 24;

/// A command and its arguments.
pub(super) struct Words<'a> {
    /// The first word.
    pub(super) command: &'a str,
    args: ArrayVec<&'a str, MOST>,
    /// Why the arguments cannot be used, if so.
    pub(super) unusable: Option<&'static str>,
}

/// Stands for a word that begins with `-`, which the editor takes apart.
const OPTION: &str = "-...";

impl<'a> Words<'a> {
    pub(super) fn of(line: &RawCommand<'a>) -> Self {
        let mut words = Words { command: line.name(), args: ArrayVec::new(), unusable: None };
        for arg in line.args().args() {
            let word = match arg {
                Ok(Arg::Value(word)) => word,
                Ok(Arg::DoubleDash) => continue,
                Ok(Arg::LongOption(_) | Arg::ShortOption(_)) | Err(_) => {
                    words.unusable = Some(
                        "no command has options or negative numbers; after `--` words are plain: `echo -- -5`",
                    );
                    OPTION
                }
            };
            if words.args.try_push(word).is_err() {
                words.unusable = Some("there are too many words");
            }
        }
        words
    }

    /// All arguments.
    pub(super) fn args(&self) -> &[&'a str] {
        &self.args
    }
}

/// A number, decimal or hexadecimal with `0x`.
pub(super) fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None if word.starts_with('+') => None,
        None => word.parse().ok(),
    }
}
