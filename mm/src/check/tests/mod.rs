//! Everything that the check claims to find, it finds: each row plants one sort of damage in a machine that is
//! otherwise whole, and names the sentence, and the page where there is one.

mod counts;
mod lists;
mod mappings;
mod moving;
mod objects;
mod pools;
mod site;
mod tables;

use std::collections::BTreeSet;

use arch::{Desc, Level, Machine, Order, Pfn, PhysMem, VirtAddr};

use crate::config::ThpMode;
use crate::hugetlb::HugeSize;
use crate::page::{FolioRef, PageKind, PageRef};
use crate::space::{MapFlags, MapProt};
use crate::testkit::Builder;
use site::{Site, reserving, small, thp};

/// A sort of damage: the sentence, the machine, and what plants it and says which page it is about.
type Row = (&'static str, fn() -> Builder, fn(&Site<'_>) -> Option<Pfn>);

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
/// Where [`Site::map`] begins.
const BASE: VirtAddr = VirtAddr::new(0x4000_0000);

/// What the check says of the damage.
fn said(machine: Builder, plant: fn(&Site<'_>) -> Option<Pfn>) -> (Option<Pfn>, super::Inconsistency) {
    let outcome = machine.try_boot(|mm, env| {
        let site = Site { mm, env, space: mm.new_space().unwrap() };
        let pfn = plant(&site);
        (pfn, mm.check_all().expect_err("the damage was not found"))
    });
    outcome.unwrap()
}

fn all_rows() -> impl Iterator<Item = &'static Row> {
    [counts::ROWS, lists::ROWS, mappings::ROWS, moving::ROWS, objects::ROWS, pools::ROWS, tables::ROWS]
        .into_iter()
        .flatten()
}

fn run(rows: &[Row]) {
    for &(sentence, machine, plant) in rows {
        println!("{sentence}");
        let (pfn, wrong) = said(machine(), plant);
        assert_eq!((wrong.what, wrong.pfn), (sentence, pfn), "{wrong}");
        assert_ne!(wrong.expected, wrong.found);
        assert!(wrong.to_string().contains(": expected 0x"));
    }
}

/// There is a row for each sentence of each room's check, and none for any other.
#[test]
fn every_sentence_has_its_row() {
    let sources = [
        include_str!("../../buddy/check.rs"),
        include_str!("../../hugetlb/check.rs"),
        include_str!("../../hvo/check.rs"),
        include_str!("../../mapcount/check.rs"),
        include_str!("../../pgtable/check.rs"),
        include_str!("../../rmap/check.rs"),
        include_str!("../../shmem/check.rs"),
        include_str!("../../space/check.rs"),
        include_str!("../../thp/check.rs"),
        include_str!("../../userfault/check.rs"),
        include_str!("../pages.rs"),
    ];
    let said: BTreeSet<&str> =
        sources.into_iter().flat_map(|source| source.split('"').skip(1).step_by(2)).collect();
    let planted: BTreeSet<&str> = all_rows().map(|row| row.0).collect();
    let missing: Vec<_> = said.symmetric_difference(&planted).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// A machine without damage passes, also with all that the rows build before they damage it.
#[test]
fn whole_machines_pass() {
    for machine in [small(), reserving(), thp(ThpMode::Always)] {
        machine.boot(|mm, env| {
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 2).persistent, 2);
            let site = Site { mm, env, space: mm.new_space().unwrap() };
            site.anon();
            site.touch(site.map(8 * MIB, 4 * MIB, MapFlags::HUGETLB));
            let stack = mm.alloc_stack(4).unwrap();
            let report = mm.check_all().unwrap();
            assert_eq!((report.all_pages(), report.spaces), (mm.ram_pages(), 1));
            mm.free_stack(stack, 4);
            mm.destroy_space(&site.space);
        });
    }
}
