//! What a program finds on its stack at the start, as Linux lays it out:
//!
//! ```text
//!   sp -> argc | argv[0] .. argv[argc-1] | 0 | 0 (no environment) | auxv pairs | AT_NULL | ... strings | top
//! ```
#![forbid(unsafe_code)]

use core::fmt;

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;

use super::elf::Program;

/// Most arguments of a program.
pub const MAX_ARGS: usize = 16;
/// Most bytes of all arguments together, each with its final zero.
pub const MAX_ARG_BYTES: usize = 1024;

const AT_NULL: u64 = 0;
const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const AT_PAGESZ: u64 = 6;
const AT_ENTRY: u64 = 9;
const AUXV_PAIRS: usize = 6;

/// Words below the strings: argc, arguments and their end, the environment's end, the auxiliary vector.
const MAX_WORDS: usize = 1 + MAX_ARGS + 1 + 1 + 2 * AUXV_PAIRS;
const MAX_BYTES: usize = MAX_WORDS * 8 + MAX_ARG_BYTES + 16;

/// The arguments do not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackError {
    /// More than [`MAX_ARGS`].
    TooMany(usize),
    /// More than [`MAX_ARG_BYTES`].
    TooLong(usize),
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StackError::TooMany(n) => write!(f, "{n} arguments; at most {MAX_ARGS} are passed"),
            StackError::TooLong(n) => write!(f, "{n} bytes of arguments; at most {MAX_ARG_BYTES} are passed"),
        }
    }
}

/// The bytes from the stack pointer up.
pub(super) struct StackImage {
    /// Where the stack pointer starts; 16-byte aligned.
    pub(super) pointer: VirtAddr,
    buffer: [u8; MAX_BYTES],
    len: usize,
}

impl StackImage {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// Lays out the arguments below `top`.
pub(super) fn build(top: VirtAddr, program: &Program<'_>, args: &[&str]) -> Result<StackImage, StackError> {
    let strings: usize = args.iter().map(|arg| arg.len() + 1).sum();
    if args.len() > MAX_ARGS {
        return Err(StackError::TooMany(args.len()));
    }
    if strings > MAX_ARG_BYTES {
        return Err(StackError::TooLong(strings));
    }
    let words = 1 + args.len() + 1 + 1 + 2 * AUXV_PAIRS;
    let len = (words * 8 + strings).next_multiple_of(16);
    let pointer = VirtAddr::new(top.raw() - len as u64);
    let mut image = StackImage { pointer, buffer: [0; MAX_BYTES], len };
    let mut string_at = words * 8;
    let mut word_at = 0;
    let mut push = |buffer: &mut [u8; MAX_BYTES], word: u64| {
        buffer[word_at..word_at + 8].copy_from_slice(&word.to_le_bytes());
        word_at += 8;
    };
    push(&mut image.buffer, args.len() as u64);
    for arg in args {
        push(&mut image.buffer, pointer.raw() + string_at as u64);
        image.buffer[string_at..string_at + arg.len()].copy_from_slice(arg.as_bytes());
        string_at += arg.len() + 1;
    }
    let (headers, size, number) = program.headers;
    let auxv: [(u64, u64); AUXV_PAIRS] = [
        (AT_PAGESZ, PAGE_SIZE),
        (AT_PHDR, headers),
        (AT_PHENT, size),
        (AT_PHNUM, number),
        (AT_ENTRY, program.entry.raw()),
        (AT_NULL, 0),
    ];
    for word in [0, 0].into_iter().chain(auxv.into_iter().flat_map(|(key, value)| [key, value])) {
        push(&mut image.buffer, word);
    }
    Ok(image)
}
