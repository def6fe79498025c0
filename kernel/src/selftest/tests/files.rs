//! Settings: what is permitted is taken, all else is refused and changes nothing.

use mm::Mm;
use mm::hvo::Switch;

use super::kit::ThpSettings;
use crate::files::{self, FileError, Refused, Written};
use crate::selftest::{Verdict, check, check_eq, selftest};

selftest!("files::wrong_values_are_refused", wrong_values_are_refused);
selftest!("files::values_are_taken", values_are_taken);
selftest!("files::paths_are_known_once", paths_are_known_once);

const THRESHOLD: &str = "/sys/kernel/mm/transparent_hugepage/promotion_threshold";
const ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const COLLAPSED: &str = "/sys/kernel/mm/transparent_hugepage/khugepaged/res_pages_collapsed";
const NR: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const SWITCH: &str = "/proc/sys/vm/hugetlb_optimize_vmemmap";

/// Values out of range, words that are none, files that cannot be written and paths that do not exist.
fn wrong_values_are_refused(mm: &'static Mm) -> Verdict {
    let state = || (mm.thp.mode(), mm.thp.threshold(), mm.hugetlb.counts(), mm.hvo.switch());
    let before = state();
    let threshold = FileError::Value(Refused::Number { low: 1, high: 512 });
    for value in ["0", "513", "-1", "", "-", "1.5", "0x10", "18446744073709551616", "many"] {
        check_eq!(files::write(mm, THRESHOLD, value), Err(threshold), "a wrong threshold");
    }
    let pool = FileError::Value(Refused::Number { low: 0, high: mm.managed_pages() / 512 });
    check_eq!(files::write(mm, NR, "1000000000"), Err(pool), "a pool larger than memory");
    let switch = FileError::Value(Refused::Number { low: 0, high: 1 });
    check_eq!(files::write(mm, SWITCH, "2"), Err(switch), "a switch of 2");
    let refused = files::write(mm, ENABLED, "sometimes");
    check!(matches!(refused, Err(FileError::Value(Refused::Word(_)))), "enabled = sometimes: {refused:?}");
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
    for &mode in mm::config::ThpMode::ALL {
        check_eq!(files::write(mm, ENABLED, mode.word()), Ok(Written::Exactly), "a mode");
        check_eq!(mm.thp.mode(), mode, "the mode");
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
