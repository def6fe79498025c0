//! The rows of smaps: names that never change, and one number of kB each.
//!
//! A table is text with zeros in it, made when the kernel is compiled. To write it is to copy it, to put digits over
//! the zeros of those few rows that have anything, and to call the sink once. Two dozen numbers that are formatted one
//! by one cost five times as much.
#![forbid(unsafe_code)]

use core::fmt;

/// Characters of a row: `Rss:                   0 kB` and the end of the line.
const ROW: usize = 28;
/// Where the last digit stands.
const LAST: usize = 23;
/// Characters of a name, its colon and a blank.
const NAME: usize = 16;
/// Numbers with more digits than a row has room for are written in a longer one.
const TOO_WIDE: u64 = 10_000_000;

/// `N` rows.
pub(super) struct Table<const N: usize> {
    names: [&'static str; N],
    zeros: Text<N>,
}

/// Aligned, so that it is copied word by word.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Text<const N: usize>([[u8; ROW]; N]);

impl<const N: usize> Table<N> {
    /// A table with these names, each of at most 16 characters with its colon.
    pub(super) const fn new(names: [&'static str; N]) -> Self {
        let mut rows = [*b"                       0 kB\n"; N];
        let mut n = 0;
        while n < N {
            let name = names[n].as_bytes();
            assert!(name.len() <= NAME && name[name.len() - 1] == b':');
            let mut at = 0;
            while at < name.len() {
                rows[n][at] = name[at];
                at += 1;
            }
            n += 1;
        }
        Table { names, zeros: Text(rows) }
    }

    /// Writes the rows with these sizes, in bytes.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn write(&self, bytes: [u64; N], out: &mut dyn fmt::Write) -> fmt::Result {
        let mut text = self.zeros;
        if bytes.iter().any(|&bytes| bytes >> 10 >= TOO_WIDE) {
            return self.write_wide(bytes, out);
        }
        for (row, bytes) in text.0.iter_mut().zip(bytes) {
            let (mut kib, mut at) = (bytes >> 10, LAST);
            while kib != 0 {
                row[at] = b'0' + (kib % 10) as u8;
                (kib, at) = (kib / 10, at - 1);
            }
        }
        out.write_str(core::str::from_utf8(text.0.as_flattened()).map_err(|_| fmt::Error)?)
    }

    /// The same, of any numbers.
    #[cold]
    fn write_wide(&self, bytes: [u64; N], out: &mut dyn fmt::Write) -> fmt::Result {
        self.names.iter().zip(bytes).try_for_each(|(name, bytes)| {
            let width = LAST - name.len().max(NAME - 1);
            writeln!(out, "{name:<15} {:>width$} kB", bytes >> 10)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows are as Linux writes them, with numbers of every width.
    #[test]
    fn rows_are_aligned() {
        const TABLE: Table<3> = Table::new(["Rss:", "ShmemPmdMapped:", "Private_Hugetlb:"]);
        let rows = |kib: [u64; 3]| {
            let mut text = String::new();
            TABLE.write(kib.map(|kib| kib << 10 | 1023), &mut text).unwrap();
            text
        };
        let linux = |[rss, shmem, hugetlb]: [u64; 3]| {
            format!(
                "Rss:            {rss:8} kB\nShmemPmdMapped: {shmem:8} kB\nPrivate_Hugetlb: {hugetlb:7} kB\n"
            )
        };
        for kib in
            [[0; 3], [1, 22, 333], [9_999_999; 3], [10_000_000, 0, 7], [5, u64::MAX >> 10, 123_456_789]]
        {
            assert_eq!(rows(kib), linux(kib));
        }
    }
}
