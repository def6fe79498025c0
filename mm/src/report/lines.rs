//! Lines of text with right-aligned numbers, gathered in a small buffer, so that the sink is called once a few lines
//! rather than once a word, and a number costs less than by `core::fmt`.
#![forbid(unsafe_code)]

use core::fmt;

/// Bytes gathered before the sink is called: a line of maps without a long name.
const BYTES: usize = 128;
/// Most digits of a 64-bit number, in any base from 10 on.
const DIGITS: usize = 20;
/// The width of a number of kB in smaps and status (Linux: `SEQ_PUT_DEC`).
const WIDTH: usize = 8;

/// Text on its way to a sink. What is written last reaches the sink by [`Self::finish`].
pub(super) struct Lines<'a> {
    out: &'a mut dyn fmt::Write,
    bytes: [u8; BYTES],
    len: usize,
    /// Bytes of the present line that have reached the sink.
    sent: usize,
}

impl<'a> Lines<'a> {
    /// At the beginning of a line.
    pub(super) fn new(out: &'a mut dyn fmt::Write) -> Self {
        Lines { out, bytes: [0; BYTES], len: 0, sent: 0 }
    }

    /// Gives the sink what it has not got yet.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn finish(&mut self) -> fmt::Result {
        self.send()
    }

    fn send(&mut self) -> fmt::Result {
        let line = self.line_start();
        self.sent = if line == 0 { self.sent + self.len } else { self.len - line };
        let text = core::str::from_utf8(&self.bytes[..self.len]).map_err(|_| fmt::Error)?;
        self.len = 0;
        self.out.write_str(text)
    }

    /// Where in the buffer the present line begins.
    fn line_start(&self) -> usize {
        self.bytes[..self.len].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
    }

    /// Makes room for `n` bytes, at most [`BYTES`].
    fn room(&mut self, n: usize) -> fmt::Result {
        if self.len + n > BYTES { self.send() } else { Ok(()) }
    }

    /// Writes text.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn text(&mut self, text: &str) -> fmt::Result {
        for part in text.as_bytes().chunks(BYTES) {
            self.room(part.len())?;
            self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
            self.len += part.len();
        }
        Ok(())
    }

    /// Writes a character of ASCII.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn ascii(&mut self, byte: u8) -> fmt::Result {
        self.room(1)?;
        self.bytes[self.len] = byte;
        self.len += 1;
        Ok(())
    }

    /// Writes a decimal number, right-aligned in `width` (0..=20), with blanks before it.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn decimal(&mut self, value: u64, width: usize) -> fmt::Result {
        self.number::<10>(value, width, b' ')
    }

    /// Writes a hexadecimal number of at least `width` (0..=20) digits.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn hex(&mut self, value: u64, width: usize) -> fmt::Result {
        self.number::<16>(value, width, b'0')
    }

    fn number<const BASE: u64>(&mut self, mut value: u64, width: usize, pad: u8) -> fmt::Result {
        const { assert!(BASE >= 10 && BASE <= 16) };
        let (mut digits, mut at) = ([pad; DIGITS], DIGITS);
        while at > 0 {
            at -= 1;
            digits[at] = b"0123456789abcdef"[(value % BASE) as usize];
            value /= BASE;
            if value == 0 {
                break;
            }
        }
        let from = at.min(DIGITS - width.min(DIGITS));
        self.room(DIGITS)?;
        let digits = &digits[from..];
        self.bytes[self.len..self.len + digits.len()].copy_from_slice(digits);
        self.len += digits.len();
        Ok(())
    }

    /// Writes a word of three characters of ASCII.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn word(&mut self, word: &[u8; 3]) -> fmt::Result {
        self.room(3)?;
        if let Some(place) = self.bytes.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut::<3>()) {
            *place = *word;
            self.len += 3;
        }
        Ok(())
    }

    /// A row of status: its name, and bytes as kB.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn tab_row(&mut self, name: &str, bytes: u64) -> fmt::Result {
        self.text(name)?;
        self.text(":\t")?;
        self.decimal(bytes >> 10, WIDTH)?;
        self.text(" kB\n")
    }

    /// A row of status: its name, and a number.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn tab_number(&mut self, name: &str, value: u64) -> fmt::Result {
        self.text(name)?;
        self.text(":\t")?;
        self.decimal(value, 0)?;
        self.ascii(b'\n')
    }

    /// Fills the present line with blanks up to `column` (below [`BYTES`]), and writes one more (Linux: `seq_pad`).
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn pad(&mut self, column: usize) -> fmt::Result {
        let line = self.line_start();
        let before = if line == 0 { self.sent } else { 0 };
        let blanks = column.saturating_sub(before + self.len - line) + 1;
        self.room(blanks)?;
        self.bytes[self.len..self.len + blanks].fill(b' ');
        self.len += blanks;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(f: impl FnOnce(&mut Lines<'_>) -> fmt::Result) -> String {
        let mut text = String::new();
        let mut lines = Lines::new(&mut text);
        f(&mut lines).unwrap();
        lines.finish().unwrap();
        text
    }

    /// Numbers are as `core::fmt` writes them, of every width and at both ends of the range.
    #[test]
    fn numbers_are_aligned() {
        for value in [0, 7, 10, 99_999_999, 100_000_000, u64::MAX] {
            for width in [0, 1, 7, 8, 20] {
                assert_eq!(lines(|to| to.decimal(value, width)), format!("{value:width$}"));
                assert_eq!(lines(|to| to.hex(value, width)), format!("{value:0width$x}"));
            }
        }
        assert_eq!(lines(|to| to.tab_row("VmRSS", 12 << 10)), "VmRSS:\t      12 kB\n");
    }

    /// A line is padded to its column wherever in the buffer it begins.
    #[test]
    fn columns_hold_across_the_buffer() {
        for before in 0..=2 * BYTES {
            let text = lines(|to| {
                to.text(&"x".repeat(before))?;
                to.ascii(b'\n')?;
                to.text("abc")?;
                to.pad(72)?;
                to.text("name\n")
            });
            let line = text.lines().last().unwrap();
            assert_eq!(line.find("name"), Some(73), "after {before} bytes");
        }
        assert_eq!(lines(|to| to.text("ab").and_then(|()| to.pad(1))), "ab ");
        let long = lines(|to| to.text(&"y".repeat(1100)).and_then(|()| to.pad(72)));
        assert_eq!(long.len(), 1101);
    }

    /// An error of the sink comes out.
    #[test]
    fn a_full_sink_is_an_error() {
        struct Full;
        impl fmt::Write for Full {
            fn write_str(&mut self, _: &str) -> fmt::Result {
                Err(fmt::Error)
            }
        }
        let mut full = Full;
        let mut to = Lines::new(&mut full);
        assert_eq!(to.text("short"), Ok(()));
        assert_eq!(to.finish(), Err(fmt::Error));
        assert_eq!(Lines::new(&mut full).text(&"z".repeat(BYTES + 1)), Err(fmt::Error));
    }
}
