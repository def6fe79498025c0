//! What a file says, and reading it piece by piece.
//!
//! A file is read with an offset, a buffer at a time, while what it tells of goes on changing. Short text is produced
//! whole at each reading, and what lies before the offset is thrown away. Long text comes in rows, each of which says
//! where the next one is, so that a reading goes on with the row where the last one stopped: reading a file to its end
//! costs as much as producing it once or twice. Binary files are arrays, and are produced at the offset.
//!
//! ```text
//!   Text    |.........xxxxx|            produced from the start, up to the end of the buffer
//!   Rows    | row | row | ..xx|         produced from the row that holds the offset
//!   Bytes                 |xxxx|        produced at the offset
//! ```
//! A reading that finds the state changed tells of the new state from its row on, as Linux's seq_file does.
#![forbid(unsafe_code)]

use core::fmt;

use super::FileError;

/// What a file of the subject `S` says. A producer stops with the error of its sink, and may be stopped so at any
/// piece of text: it is asked again, with a larger buffer or for what follows. It writes to kernel memory or to the
/// console only, so it may hold locks up to the console's rank meanwhile.
pub enum Content<S: 'static> {
    /// Short text.
    Text(fn(&S, &mut dyn fmt::Write) -> fmt::Result),
    /// Text in rows: writes the row at this position, and returns the position of the next one, `None` after the last.
    /// The first is at 0; what positions are is the producer's affair, as long as they rise.
    Rows(Rows<S>),
    /// Binary: fills the buffer from this offset, in bytes, and returns how many bytes it filled: 0 at the end.
    Bytes(fn(&S, u64, &mut [u8]) -> Result<usize, FileError>),
}

/// Produces one row.
pub type Rows<S> = fn(&S, u64, &mut dyn fmt::Write) -> Result<Option<u64>, fmt::Error>;

impl<S> Content<S> {
    /// Writes all of a text.
    ///
    /// # Errors
    /// [`FileError::Binary`] where it is none. What the sink refuses is left out.
    pub fn print(&self, subject: &S, out: &mut dyn fmt::Write) -> Result<(), FileError> {
        match self {
            Content::Text(produce) => drop(produce(subject, out)),
            Content::Rows(produce) => {
                let mut next = Some(0);
                while let Some(row) = next {
                    next = produce(subject, row, out).unwrap_or(None);
                }
            }
            Content::Bytes(_) => return Err(FileError::Binary),
        }
        Ok(())
    }

    /// Fills `into` from the position, which moves on by as many bytes; 0 at the end.
    ///
    /// # Errors
    /// What a binary file says of the offset or the length.
    pub fn read(&self, subject: &S, at: &mut Position, into: &mut [u8]) -> Result<usize, FileError> {
        let filled = match self {
            Content::Text(produce) => {
                let mut window = Window { skip: at.offset, seen: 0, filled: 0, into };
                // A full window ends the production with an error, and has all that was asked for.
                let _ = produce(subject, &mut window);
                window.filled
            }
            Content::Rows(produce) => return Ok(read_rows(*produce, subject, at, into)),
            Content::Bytes(produce) => produce(subject, at.offset, into)?,
        };
        at.offset += filled as u64;
        Ok(filled)
    }
}

fn read_rows<S>(produce: Rows<S>, subject: &S, at: &mut Position, into: &mut [u8]) -> usize {
    if at.offset < at.row_begins {
        *at = Position { offset: at.offset, ..Position::START };
    }
    let mut done = 0;
    while let Some(row) = at.row {
        let skip = at.offset - at.row_begins;
        let mut window = Window { skip, seen: 0, filled: 0, into: &mut into[done..] };
        let next = produce(subject, row, &mut window);
        let Window { seen, filled, .. } = window;
        at.offset += filled as u64;
        done += filled;
        match next {
            Ok(next) => (at.row, at.row_begins) = (next, at.row_begins + seen),
            Err(fmt::Error) => break,
        }
        // A row that would not fit would be produced once more for its rest.
        if done > 0 && ((into.len() - done) as u64) < 2 * seen {
            break;
        }
    }
    done
}

/// Where a reader is.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// Bytes from the start.
    offset: u64,
    /// A row that does not begin after the offset, and where it begins.
    row: Option<u64>,
    row_begins: u64,
}

impl Position {
    /// The beginning of a file.
    pub const START: Position = Position { offset: 0, row: Some(0), row_begins: 0 };

    /// Bytes from the start.
    pub const fn offset(&self) -> u64 {
        self.offset
    }
    /// Goes there; the row is kept for [`Content::read`] to go on with where that is possible.
    pub const fn seek(&mut self, offset: u64) {
        self.offset = offset;
    }
}

/// Takes the part of a text that fits, after what is to be skipped.
struct Window<'a> {
    skip: u64,
    /// Bytes that were produced.
    seen: u64,
    filled: usize,
    into: &'a mut [u8],
}

impl fmt::Write for Window<'_> {
    /// Fails where bytes are left over.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let before = self.skip.saturating_sub(self.seen).min(text.len() as u64);
        let wanted = &text.as_bytes()[before as usize..];
        let taken = wanted.len().min(self.into.len() - self.filled);
        self.into[self.filled..self.filled + taken].copy_from_slice(&wanted[..taken]);
        self.filled += taken;
        self.seen += before + taken as u64;
        if taken < wanted.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
