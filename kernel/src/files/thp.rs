//! `/sys/kernel/mm/transparent_hugepage`.
//!
//! | table | files |
//! |---|---|
//! | [`NUMBERS`] | a file for each [`Number`], made from that list |
//! | [`FILES`] | words and counters |
//!
//! Whoever waits for a setting is woken by each value that is taken.
#![forbid(unsafe_code)]

use core::fmt;

use mm::Mm;
use mm::config::{Number, OutOfRange, Promote, ReserveReclaim, ThpMode};
use mm::stats::Counter;
use mm::thp::{SettingError, khugepaged, measure};

use super::{Content, File, Refused, Written};

/// Files with a number.
pub(super) const NUMBERS: &[File] = &{
    let files = [
        number::<0>(),
        number::<1>(),
        number::<2>(),
        number::<3>(),
        number::<4>(),
        number::<5>(),
        number::<6>(),
        number::<7>(),
        number::<8>(),
    ];
    assert!(files.len() == Number::COUNT);
    files
};

/// Files with a word, and counters.
pub(super) const FILES: &[File] = &[
    File {
        path: "/sys/kernel/mm/transparent_hugepage/enabled",
        what: "when anonymous memory is backed by huge pages; the word in brackets is in force",
        content: Content::Text(|mm, out| words(ThpMode::WORDS, mm.thp.mode().word(), out)),
        write: Some(|mm, value| taken(mm, mm.thp.set_mode_word(value))),
    },
    File {
        path: "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
        what: "bytes of a huge page",
        content: Content::Text(|_, out| writeln!(out, "{}", arch::Order::PMD.bytes())),
        write: None,
    },
    File {
        path: "/sys/kernel/mm/transparent_hugepage/khugepaged/full_scans",
        what: "times that khugepaged has seen all memory",
        content: Content::Text(|mm, out| writeln!(out, "{}", khugepaged::full_scans(mm))),
        write: None,
    },
    File {
        path: "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_collapsed",
        what: "huge pages made by khugepaged, by copy, and by promotion in place",
        content: Content::Text(|mm, out| writeln!(out, "{}", khugepaged::pages_collapsed(mm))),
        write: None,
    },
    File {
        path: "/sys/kernel/mm/transparent_hugepage/khugepaged/res_pages_collapsed",
        what: "reservations that were promoted in place",
        content: Content::Text(|mm, out| writeln!(out, "{}", mm.stats.get(Counter::ResPagesCollapsed))),
        write: None,
    },
    File {
        path: "/sys/kernel/mm/transparent_hugepage/promote",
        what: "who promotes a range that reaches the threshold; the word in brackets is in force",
        content: Content::Text(|mm, out| words(Promote::WORDS, mm.thp.promote().word(), out)),
        write: Some(|mm, value| taken(mm, mm.thp.set_promote_word(value))),
    },
    File {
        path: "/sys/kernel/mm/transparent_hugepage/reserve_reclaim",
        what: "which reservations go where memory is short; the word in brackets is in force",
        content: Content::Text(|mm, out| words(ReserveReclaim::WORDS, mm.thp.reserve_reclaim().word(), out)),
        write: Some(|mm, value| taken(mm, mm.thp.set_reserve_reclaim_word(value))),
    },
];

/// The file of the `N`th number.
const fn number<const N: usize>() -> File {
    let number = Number::ALL[N];
    File {
        path: number.path(),
        what: number.what(),
        content: Content::Text(|mm, out| writeln!(out, "{}", mm.thp.number(Number::ALL[N]))),
        write: Some(|mm, value| taken(mm, mm.thp.set_number(Number::ALL[N], value))),
    }
}

/// All words, the one in force in brackets.
fn words(all: &[&str], in_force: &str, out: &mut dyn fmt::Write) -> fmt::Result {
    for (n, &word) in all.iter().enumerate() {
        let gap = if n == 0 { "" } else { " " };
        if word == in_force {
            write!(out, "{gap}[{word}]")?;
        } else {
            write!(out, "{gap}{word}")?;
        }
    }
    writeln!(out)
}

/// What became of a value.
fn taken(mm: &Mm, result: Result<(), SettingError>) -> Result<Written, Refused> {
    result.map_err(|error| match error {
        SettingError::Word(words) => Refused::Word(words),
        SettingError::Number(OutOfRange { low, high }) => Refused::Number { low, high },
    })?;
    measure::changed(mm);
    Ok(Written::Exactly)
}
