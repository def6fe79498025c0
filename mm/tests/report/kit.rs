//! What the tests share: spaces with known contents, a strict reader of smaps, and the truth.

use std::collections::{BTreeMap, BTreeSet};

use arch::addr::PAGE_SIZE;
use arch::{Pfn, VirtAddr};
use mm::Mm;
use mm::config::{HvoStrategy, ThpMode};
use mm::kalloc::KArc;
use mm::pgtable::visit::visit_leaves;
use mm::report::Sizes;
use mm::space::{AddressSpace, MapFlags, MapProt, MmapRequest};
use mm::testkit::Builder;

pub(crate) const PAGE: u64 = PAGE_SIZE;
pub(crate) const HUGE: u64 = 2 << 20;
pub(crate) const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
/// Where tests map; a multiple of 1 GiB.
pub(crate) const BASE: u64 = 0x10_0000_0000;
/// No stack.
pub(crate) const NO_STACK: VirtAddr = VirtAddr::new(0);

/// 64 MiB, no HVO.
pub(crate) fn machine(mode: ThpMode) -> Builder {
    Builder::new().ram_mib(64).config(move |config| {
        config.thp = mode;
        config.hvo = HvoStrategy::Off;
    })
}

/// Writable anonymous memory of `bytes` at `at`, all of it populated.
pub(crate) fn populated(mm: &Mm, space: &KArc<AddressSpace>, at: u64, bytes: u64) {
    let request = MmapRequest::anonymous(bytes, RW).fixed(at).with(MapFlags::POPULATE);
    mm.mmap(space, &request).unwrap();
}

/// All of maps.
pub(crate) fn maps(mm: &Mm, space: &AddressSpace, stack: VirtAddr) -> String {
    let (mut text, mut from) = (String::new(), VirtAddr::new(0));
    while let Some(next) = mm.write_maps(space, stack, from, &mut text).unwrap() {
        from = next;
    }
    text
}

/// All of smaps.
pub(crate) fn smaps_text(mm: &Mm, space: &AddressSpace, stack: VirtAddr) -> String {
    let (mut text, mut from) = (String::new(), VirtAddr::new(0));
    while let Some(next) = mm.write_smaps(space, stack, from, &mut text).unwrap() {
        from = next;
    }
    text
}

/// One record of smaps, or smaps_rollup.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) line: String,
    /// Names in their order.
    pub(crate) names: Vec<String>,
    /// In kB.
    rows: BTreeMap<String, u64>,
    /// The last row.
    pub(crate) flags: Option<String>,
}

impl Record {
    /// The value of a row, in kB, or without a unit.
    pub(crate) fn get(&self, name: &str) -> u64 {
        *self.rows.get(name).unwrap_or_else(|| panic!("no row {name} in {:?}", self.names))
    }
}

/// Reads records strictly: each begins with a line of maps; each row has its name once, a number and `kB`; THPeligible
/// has no unit, and VmFlags ends the record.
pub(crate) fn parse(text: &str) -> Vec<Record> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
    let mut records: Vec<Record> = Vec::new();
    for line in text.lines() {
        let first = line.split(' ').next().unwrap();
        let Some(name) = first.strip_suffix(':') else {
            let line = line.to_owned();
            records.push(Record { line, names: Vec::new(), rows: BTreeMap::new(), flags: None });
            continue;
        };
        let record = records.last_mut().expect("a row before the first record");
        assert!(record.flags.is_none(), "{line}: a row after VmFlags");
        let rest = line[first.len()..].trim_start();
        if name == "VmFlags" {
            record.flags = Some(rest.to_owned());
        } else {
            let words: Vec<&str> = rest.split(' ').collect();
            let unit: &[&str] = if name == "THPeligible" { &[] } else { &["kB"] };
            assert_eq!(&words[1..], unit, "{line}");
            assert_eq!(line.len() - rest.len() + words[0].len(), 24, "{line}: the column of the number");
            let earlier = record.rows.insert(name.to_owned(), words[0].parse().unwrap());
            assert_eq!(earlier, None, "{name} comes twice");
        }
        record.names.push(name.to_owned());
    }
    records
}

/// All records of smaps.
pub(crate) fn smaps(mm: &Mm, space: &AddressSpace) -> Vec<Record> {
    parse(&smaps_text(mm, space, NO_STACK))
}

/// smaps_rollup.
pub(crate) fn rollup(mm: &Mm, space: &AddressSpace) -> Record {
    let mut text = String::new();
    mm.write_smaps_rollup(space, &mut text).unwrap();
    let mut records = parse(&text);
    assert_eq!(records.len(), 1);
    records.remove(0)
}

/// What the tables of all live spaces map: the truth.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// For each frame that is mapped, but for the page of zeros: entries, and the spaces that have them.
    pub(crate) frames: BTreeMap<u64, (u64, BTreeSet<u64>)>,
}

impl Truth {
    /// By a scan.
    pub(crate) fn of(mm: &Mm) -> Truth {
        let mut truth = Truth::default();
        let Ok(()) = mm.spaces.try_for_each::<core::convert::Infallible>(|space| {
            for (_, pfn) in pages(space) {
                let (entries, spaces) = truth.frames.entry(pfn.raw()).or_default();
                *entries += 1;
                spaces.insert(space.id);
            }
            Ok(())
        });
        truth
    }

    /// Entries that map the frame.
    pub(crate) fn entries(&self, pfn: Pfn) -> u64 {
        self.frames.get(&pfn.raw()).map_or(0, |(entries, _)| *entries)
    }
}

/// Every page that a space maps, with its frame; no special ones.
pub(crate) fn pages(space: &AddressSpace) -> Vec<(VirtAddr, Pfn)> {
    let mut pages = Vec::new();
    visit_leaves(space.root(), VirtAddr::new(0), |leaf| {
        let output = leaf.desc.output(leaf.level);
        if !leaf.desc.is_special() {
            for n in 0..leaf.level.entry_bytes() / PAGE {
                pages.push((leaf.va.add(n * PAGE), output.pfn().add(n)));
            }
        }
    });
    pages
}

/// What holds of sizes at any moment.
pub(crate) fn sane(sizes: &Sizes) {
    assert!(sizes.pss <= sizes.rss(), "{sizes:?}");
    assert_eq!(sizes.private + sizes.shared, sizes.rss(), "{sizes:?}");
    assert!(sizes.referenced <= sizes.rss() && sizes.pss_anonymous <= sizes.pss, "{sizes:?}");
    assert!(sizes.anonymous_blocks <= sizes.anonymous && sizes.shmem_blocks <= sizes.shmem, "{sizes:?}");
}
