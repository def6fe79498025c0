//! Page faults taken apart (`quire-parts`).

use crate::{Harness, LIMIT, Verdict};
use libtest_mimic::Trial;
use qemu::Options;
use qemu::parts::table::Part;
use qemu::parts::{self, Parts};
use std::sync::Arc;

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    vec![harness.trial("parts::faults", faults)]
}

/// Each kind of fault is made of what it must be: as many stores as its pages take, an allocator where a page is
/// taken, the same way in and out, and hardly anything that nobody owns. That the parts come to the whole, by the
/// virtual counter, is checked by what takes them apart.
fn faults(harness: &Harness) -> Verdict {
    let options = Options::for_bench()?;
    let folder = qemu::root().join("target/parts");
    let all = parts::measure(&options, &harness.release, &folder, LIMIT)?;
    let of = |kind: &str, part: Part| -> u64 {
        let found = all.iter().find(|parts| parts.kind == kind);
        found.and_then(|parts| parts.counts.get(&part).copied()).unwrap_or(u64::MAX)
    };
    let [write, read, huge, cow] = parts::KINDS;
    // A store of the bulk routines is of 64 bytes; a copy has a load to each.
    let zeroing = [(write, 64..200), (read, 0..1), (huge, 32768..36000), (cow, 128..300)];
    for (kind, stores) in zeroing {
        if !stores.contains(&of(kind, Part::Zeroing)) {
            return Err(
                format!("{kind}: {} instructions of zeroing\n{all:#?}", of(kind, Part::Zeroing)).into()
            );
        }
    }
    for (kind, takes_a_page) in [(write, true), (read, false), (huge, true), (cow, true)] {
        if (of(kind, Part::Allocator) > 0) != takes_a_page {
            return Err(format!("{kind}: {} instructions of the allocator", of(kind, Part::Allocator)).into());
        }
        if of(kind, Part::Entry) != of(write, Part::Entry) || of(kind, Part::Tables) == 0 {
            return Err(format!("{kind}: entry or tables are not as they must be\n{all:#?}").into());
        }
    }
    match all.iter().find(|parts| unowned(parts) * 20 > parts.whole()) {
        Some(parts) => Err(format!("{}: {} instructions are nobody's", parts.kind, unowned(parts)).into()),
        None => Ok(()),
    }
}

fn unowned(parts: &Parts) -> u64 {
    parts.counts.get(&Part::Other).copied().unwrap_or_default()
}
