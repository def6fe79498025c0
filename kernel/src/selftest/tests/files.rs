//! Settings: what is permitted is taken, all else is refused and changes nothing.

use core::fmt::Write as _;

use arrayvec::{ArrayString, ArrayVec};
use mm::Mm;
use mm::config::{Number, ReserveReclaim};
use mm::hugetlb::HugeSize;
use mm::hvo::Switch;

use super::kit::ThpSettings;
use crate::files::{self, Content, FileError, Position, Refused, Written};
use crate::selftest::{Verdict, check, check_eq, selftest};

selftest!("files::wrong_values_are_refused", wrong_values_are_refused);
selftest!("files::values_are_taken", values_are_taken);
selftest!("files::paths_are_known_once", paths_are_known_once);
selftest!("files::pieces_make_the_whole", pieces_make_the_whole);

const THRESHOLD: &str = "/sys/kernel/mm/transparent_hugepage/promotion_threshold";
const PROMOTE: &str = "/sys/kernel/mm/transparent_hugepage/promote";
const ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const RECLAIM: &str = "/sys/kernel/mm/transparent_hugepage/reserve_reclaim";
const COLLAPSED: &str = "/sys/kernel/mm/transparent_hugepage/khugepaged/res_pages_collapsed";
const NR: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const DEMOTE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/demote";
const DEMOTE_SIZE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/demote_size";
const SWITCH: &str = "/proc/sys/vm/hugetlb_optimize_vmemmap";

/// Values out of range, words that are none, files that cannot be written and paths that do not exist.
fn wrong_values_are_refused(mm: &'static Mm) -> Verdict {
    let numbers =
        || Number::ALL.iter().map(|&n| mm.thp.number(n)).collect::<ArrayVec<_, { Number::COUNT }>>();
    let words = || (mm.thp.mode(), mm.thp.reserve_reclaim(), mm.thp.promote());
    let state = || (words(), numbers(), mm.hugetlb.counts(HugeSize::M2), mm.hvo.switch());
    let before = state();
    for &number in Number::ALL {
        let (low, high) = (*number.range().start(), *number.range().end());
        let refused = Err(FileError::Value(Refused::Number { low, high }));
        let mut ends = [ArrayString::<20>::new(); 2];
        let _ = write!(ends[0], "{}", high + 1).and(write!(ends[1], "{}", low.wrapping_sub(1)));
        let ends = ends.iter().map(|text| text.as_str());
        for value in ["-1", "", "-", "1.5", "0x10", "18446744073709551616", "many"].into_iter().chain(ends) {
            let said = files::write(mm, number.path(), value);
            check!(said == refused, "{} = `{value}`: {said:?}", number.path());
            check!(state() == before, "{} = `{value}` changed something", number.path());
        }
    }
    let pool = FileError::Value(Refused::Number { low: 0, high: mm.managed_pages() / 512 });
    check_eq!(files::write(mm, NR, "1000000000"), Err(pool), "a pool larger than memory");
    let switch = FileError::Value(Refused::Number { low: 0, high: 1 });
    check_eq!(files::write(mm, SWITCH, "2"), Err(switch), "a switch of 2");
    let smaller = FileError::Value(Refused::Word(&["64K"]));
    for size in ["2M", "1G", "2048kB", "4096kB", "64", "", "kB"] {
        check_eq!(files::write(mm, DEMOTE_SIZE, size), Err(smaller), "demote_size");
    }
    for size in ["64K", "64kB"] {
        check_eq!(files::write(mm, DEMOTE_SIZE, size), Ok(Written::Exactly), "demote_size");
    }
    let any = FileError::Value(Refused::Number { low: 0, high: u64::MAX });
    check_eq!(files::write(mm, DEMOTE, "-1"), Err(any), "demote = -1");
    let which = FileError::Value(Refused::Word(ReserveReclaim::WORDS));
    check_eq!(files::write(mm, RECLAIM, "some"), Err(which), "reserve_reclaim = some");
    let refused = files::write(mm, ENABLED, "sometimes");
    check!(matches!(refused, Err(FileError::Value(Refused::Word(_)))), "enabled = sometimes: {refused:?}");
    let promote = FileError::Value(Refused::Word(&["async", "sync"]));
    check_eq!(files::write(mm, PROMOTE, "now"), Err(promote), "promote = now");
    check_eq!(files::write(mm, COLLAPSED, "1"), Err(FileError::ReadOnly), "a counter");
    check_eq!(files::write(mm, "/etc/passwd", "1"), Err(FileError::NotFound), "no such file");
    check!(state() == before, "a refused value changed something");
    Ok(())
}

/// Both ends of the range, every word, and the switch, are taken and read back.
fn values_are_taken(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, mm.thp.mode(), mm.thp.threshold().into())?;
    for (value, pages) in [("1", 1), ("512", 512), (" 2\n", 2)] {
        check_eq!(files::write(mm, THRESHOLD, value), Ok(Written::Exactly), "a threshold");
        check_eq!(mm.thp.threshold(), pages, "the threshold");
    }
    for &number in Number::ALL {
        for value in [*number.range().start(), *number.range().end(), number.default_value()] {
            let mut text = ArrayString::<21>::new();
            let _ = writeln!(text, "{value}");
            check_eq!(files::write(mm, number.path(), &text), Ok(Written::Exactly), "a number");
            let mut said = ArrayString::<21>::new();
            let printed = files::print(mm, number.path(), &mut said);
            check!(printed.is_ok() && said == text, "{} = {value}: {said}", number.path());
        }
    }
    for &mode in mm::config::ThpMode::ALL {
        check_eq!(files::write(mm, ENABLED, mode.word()), Ok(Written::Exactly), "a mode");
        check_eq!(mm.thp.mode(), mode, "the mode");
    }
    let which = mm.thp.reserve_reclaim();
    for word in ["lru", "all", which.word()] {
        check_eq!(files::write(mm, RECLAIM, word), Ok(Written::Exactly), "reserve_reclaim");
        check_eq!(mm.thp.reserve_reclaim().word(), word, "reserve_reclaim");
    }
    for &promote in mm::config::Promote::ALL {
        check_eq!(files::write(mm, PROMOTE, promote.word()), Ok(Written::Exactly), "who promotes");
        check_eq!(mm.thp.promote(), promote, "who promotes");
    }
    let switch = mm.hvo.switch();
    let off = files::write(mm, SWITCH, "0");
    let now = mm.hvo.switch();
    let back = mm.hvo.set_switch(mm, switch);
    check!(off.is_ok() && back.is_ok() && now == Switch::Off, "the switch: {off:?}, {now:?}, {back:?}");
    Ok(())
}

/// No path stands in the table twice.
fn paths_are_known_once(_: &'static Mm) -> Verdict {
    for file in files::all() {
        let times = files::all().filter(|other| other.path == file.path).count();
        check!(times == 1, "{} stands in the table {times} times", file.path);
    }
    Ok(())
}

/// Rows of rising length: their number, and as many dots.
const ROWS: Content<u64> = Content::Rows(|&rows, row, out| {
    write!(out, "{row}")?;
    (0..row).try_for_each(|_| out.write_char('.'))?;
    writeln!(out)?;
    Ok((row + 1 < rows).then_some(row + 1))
});
const TEXT: Content<u64> =
    Content::Text(|&lines, out| (0..lines).try_for_each(|n| writeln!(out, "line {n}")));
const BYTES: Content<u64> = Content::Bytes(|&end, from, into| {
    let left = end.saturating_sub(from).min(into.len() as u64) as usize;
    into[..left].iter_mut().zip(from..).for_each(|(byte, at)| *byte = b'a' + (at % 26) as u8);
    Ok(left)
});

/// Whatever the length of the pieces, and after a step back, a file says what it says as a whole.
fn pieces_make_the_whole(_: &'static Mm) -> Verdict {
    for (content, subject) in [(ROWS, 20), (TEXT, 30), (BYTES, 200)] {
        let mut whole = ArrayString::<512>::new();
        let printed = content.print(&subject, &mut whole);
        if matches!(content, Content::Bytes(_)) {
            check_eq!(printed, Err(FileError::Binary), "printing what is not text");
            (0..subject).for_each(|at| whole.push((b'a' + (at % 26) as u8).into()));
        }
        for piece in [1, 2, 3, 7, 64, 512] {
            let mut at = Position::START;
            let first = read_all(&content, subject, &mut at, piece);
            check!(first == Some(whole), "pieces of {piece}: {first:?}");
            check_eq!(at.offset(), whole.len() as u64, "the offset at the end");
            at.seek(21);
            let again = read_all(&content, subject, &mut at, piece);
            check!(again.as_deref() == whole.get(21..), "pieces of {piece} from 21: {again:?}");
        }
    }
    Ok(())
}

fn read_all(
    content: &Content<u64>,
    subject: u64,
    at: &mut Position,
    piece: usize,
) -> Option<ArrayString<512>> {
    let mut all = ArrayString::new();
    let mut buffer = [0; 512];
    loop {
        match content.read(&subject, at, &mut buffer[..piece]).ok()? {
            0 => return Some(all),
            filled => all.try_push_str(core::str::from_utf8(&buffer[..filled]).ok()?).ok()?,
        }
    }
}
