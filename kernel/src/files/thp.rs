//! `/sys/kernel/mm/transparent_hugepage`.
#![forbid(unsafe_code)]

use core::fmt;

use mm::Mm;
use mm::config::{PromotionThreshold, ReserveReclaim, ThpMode};
use mm::stats::Counter;
use mm::thp::settings::ShrinkUnderused;

use super::{Content, File, Refused, Written, number};

pub(super) const FILES: &[File] = &[
    File {
        path: "/sys/kernel/mm/transparent_hugepage/enabled",
        what: "when anonymous memory is backed by huge pages; the word in brackets is in force",
        content: Content::Text(read_enabled),
        write: Some(write_enabled),
    },
    File {
        path: "/sys/kernel/mm/transparent_hugepage/khugepaged/res_pages_collapsed",
        what: "reservations that were promoted in place",
        content: Content::Text(|mm, out| writeln!(out, "{}", mm.stats.get(Counter::ResPagesCollapsed))),
        write: None,
    },
    File {
        path: "/sys/kernel/mm/transparent_hugepage/promotion_threshold",
        what: "populated pages at which a reservation is promoted, 1 to 512",
        content: Content::Text(|mm, out| writeln!(out, "{}", mm.thp.threshold())),
        write: Some(write_threshold),
    },
    File {
        path: "/sys/kernel/mm/transparent_hugepage/reserve_reclaim",
        what: "which reservations go where memory is short; the word in brackets is in force",
        content: Content::Text(|mm, out| words(ReserveReclaim::ALL, mm.thp.reserve_reclaim(), out)),
        write: Some(|mm, value| {
            let refused = |_| Refused::Word(ReserveReclaim::WORDS);
            mm.thp.set_reserve_reclaim_word(value).map_err(refused)?;
            Ok(Written::Exactly)
        }),
    },
    File {
        path: "/sys/kernel/mm/transparent_hugepage/shrink_underused",
        what: "1: huge pages that hold many zeros are split where memory is short; 0: they stay",
        content: Content::Text(|mm, out| writeln!(out, "{}", mm.thp.shrink_underused() as u8)),
        write: Some(|mm, value| {
            let on = number(value, 0, 1)? == 1;
            mm.thp.set_shrink_underused(if on { ShrinkUnderused::On } else { ShrinkUnderused::Off });
            Ok(Written::Exactly)
        }),
    },
];

fn read_enabled(mm: &Mm, out: &mut dyn fmt::Write) -> fmt::Result {
    words(ThpMode::ALL, mm.thp.mode(), out)
}

/// All words, the one in force in brackets.
fn words<T: Copy + PartialEq + fmt::Display>(all: &[T], now: T, out: &mut dyn fmt::Write) -> fmt::Result {
    for (n, &word) in all.iter().enumerate() {
        let gap = if n == 0 { "" } else { " " };
        if word == now {
            write!(out, "{gap}[{word}]")?;
        } else {
            write!(out, "{gap}{word}")?;
        }
    }
    writeln!(out)
}

fn write_enabled(mm: &Mm, value: &str) -> Result<Written, Refused> {
    mm.thp.set_mode_word(value).map_err(|_| Refused::Word(ThpMode::WORDS))?;
    Ok(Written::Exactly)
}

fn write_threshold(mm: &Mm, value: &str) -> Result<Written, Refused> {
    let (low, high) = (*PromotionThreshold::RANGE.start(), *PromotionThreshold::RANGE.end());
    let pages = number(value, low, high)?;
    mm.thp.set_threshold(pages).map_err(|_| Refused::Number { low, high })?;
    Ok(Written::Exactly)
}
