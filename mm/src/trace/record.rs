//! One record: what a point writes down.
//!
//! ```text
//!   word   0      1                      2               3            4 to 7
//!          time   order, point, phase    thread, CPU     pid, n       arguments
//! ```
#![forbid(unsafe_code)]

use arch::contract::CpuId;

use super::points::Point;

/// What a point says besides its name; how many of these mean something is in the list.
pub type Args = [u64; 4];

/// Bytes of a record.
pub const RECORD_BYTES: u64 = 64;
const WORDS: usize = 8;
const _: () = assert!(WORDS * size_of::<u64>() == RECORD_BYTES as usize);

/// Where in its slice a record stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    /// The slice begins.
    Begin = 0,
    /// It ends.
    End = 1,
    /// There is no slice.
    Instant = 2,
}

impl Phase {
    const ALL: [Phase; 3] = [Phase::Begin, Phase::End, Phase::Instant];

    /// The letter for it, as in the Chrome trace event format.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Phase::Begin => 'B',
            Phase::End => 'E',
            Phase::Instant => 'i',
        }
    }
}

/// The thread that a CPU runs, as whoever switches threads calls it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Running {
    /// A number that no other thread has had, below 2^48.
    pub thread: u64,
    /// Its process; 0: none.
    pub pid: u32,
}

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Nanoseconds since boot.
    pub time: u64,
    /// Records of all CPUs are numbered in the order in which they were written, modulo 2^48.
    pub order: u64,
    /// Which point.
    pub point: Point,
    /// Beginning, end, or neither.
    pub phase: Phase,
    /// Who came there.
    pub running: Running,
    /// Where.
    pub cpu: CpuId,
    /// By how much the point's counter went up.
    pub n: u32,
    /// See [`Point::arguments`] and [`Point::results`].
    pub args: Args,
}

const LOW_48: u64 = (1 << 48) - 1;

impl Record {
    pub(super) fn to_words(self) -> [u64; WORDS] {
        let Record { time, order, point, phase, running, cpu, n, args } = self;
        let what = order & LOW_48 | (point as u64) << 48 | (phase as u64) << 56;
        let whose = running.thread & LOW_48 | (cpu.index() as u64) << 48;
        let [a, b, c, d] = args;
        [time, what, whose, u64::from(running.pid) << 32 | u64::from(n), a, b, c, d]
    }

    /// `None`: these words are no record.
    pub(super) fn from_words(words: [u64; WORDS]) -> Option<Record> {
        let [time, what, whose, counts, args @ ..] = words;
        Some(Record {
            time,
            order: what & LOW_48,
            point: Point::from_number((what >> 48) as u8)?,
            phase: *Phase::ALL.get(usize::from((what >> 56) as u8))?,
            running: Running { thread: whose & LOW_48, pid: (counts >> 32) as u32 },
            cpu: CpuId::new((whose >> 48) as usize),
            n: counts as u32,
            args,
        })
    }
}

/// The first 16 bytes of a name, and zeros, in two words.
pub(super) fn words_of(name: &str) -> [u64; 2] {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    let [a, b] = [0, 8].map(|at| core::array::from_fn(|n| bytes[at + n]));
    [u64::from_le_bytes(a), u64::from_le_bytes(b)]
}
