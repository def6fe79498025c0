//! `/sys/kernel/mm/transparent_hugepage`.
#![forbid(unsafe_code)]

use core::fmt;

use mm::Mm;
use mm::config::{Promote, PromotionThreshold, ThpMode};
use mm::stats::Counter;

use super::{Content, File, Refused, Written, number};

pub(super) const FILES: &[File] = &[
    File {
        path: "/sys/kernel/mm/transparent_hugepage/enabled",
        what: "when anonymous memory is backed by huge pages; the word in brackets is in force",
        content: Content::Text(|mm, out| choice(out, ThpMode::ALL, mm.thp.mode())),
        write: Some(write_enabled),
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
        content: Content::Text(|mm, out| choice(out, Promote::ALL, mm.thp.promote())),
        write: Some(write_promote),
    },
    File {
        path: "/sys/kernel/mm/transparent_hugepage/promotion_threshold",
        what: "populated pages at which a reservation is promoted, 1 to 512",
        content: Content::Text(|mm, out| writeln!(out, "{}", mm.thp.threshold())),
        write: Some(write_threshold),
    },
];

/// All words of a choice, the one that is in force in brackets.
fn choice<T: PartialEq + fmt::Display>(out: &mut dyn fmt::Write, all: &[T], now: T) -> fmt::Result {
    for (n, value) in all.iter().enumerate() {
        let gap = if n == 0 { "" } else { " " };
        if *value == now {
            write!(out, "{gap}[{value}]")?;
        } else {
            write!(out, "{gap}{value}")?;
        }
    }
    writeln!(out)
}

fn write_enabled(mm: &Mm, value: &str) -> Result<Written, Refused> {
    mm.thp.set_mode_word(value).map_err(|_| Refused::Word(ThpMode::WORDS))?;
    Ok(Written::Exactly)
}

fn write_promote(mm: &Mm, value: &str) -> Result<Written, Refused> {
    mm.thp.set_promote_word(value).map_err(|_| Refused::Word(Promote::WORDS))?;
    Ok(Written::Exactly)
}

fn write_threshold(mm: &Mm, value: &str) -> Result<Written, Refused> {
    let (low, high) = (*PromotionThreshold::RANGE.start(), *PromotionThreshold::RANGE.end());
    let pages = number(value, low, high)?;
    mm.thp.set_threshold(pages).map_err(|_| Refused::Number { low, high })?;
    Ok(Written::Exactly)
}
