//! Answers that are made of several counters, while another CPU changes them: every schedule of a small case.

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::model::{Bounds, Job, explore_runs, run_on_cpus};

use crate::Mm;
use crate::config::{HvoStrategy, Mapcount, ThpMode};
use crate::kalloc::KArc;
use crate::pgtable::normal_folio;
use crate::space::exclusive::is_exclusive;
use crate::space::{AddressSpace, MapProt, MmapRequest};
use crate::testkit::{Builder, check};

const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
const BASE: VirtAddr = VirtAddr::new(0x4000_0000);
const BLOCK: u64 = 512 * PAGE_SIZE;

/// A space with a huge page that `entries` pages of are mapped one by one, and a child that shares them.
fn shared_pages(mm: &Mm, entries: u64) -> [KArc<AddressSpace>; 2] {
    let parent = mm.new_space().unwrap();
    mm.mmap(&parent, &MmapRequest::anonymous(BLOCK, RW).fixed(BASE.raw())).unwrap();
    mm.write_user(&parent, BASE, &[1]).unwrap();
    mm.munmap(&parent, BASE.add(entries * PAGE_SIZE).raw(), BLOCK - entries * PAGE_SIZE).unwrap();
    let child = mm.fork_space(&parent).unwrap();
    [parent, child]
}

/// While a child unmaps what it shares with its parent, the parent asks whether the folio is its own: it is not before
/// the last of the child's references is gone, which a stale translation of the child may need. Asked of the way of
/// counting that answers it from two counters.
#[test]
fn a_folio_is_not_exclusive_while_another_unmaps_it() {
    let explored = explore_runs(Bounds { switches: 1, runs: 100_000 }, || {
        let machine = Builder::new().ram_mib(16).config(|config| {
            (config.mapcount, config.thp) = (Mapcount::Vmacount, ThpMode::Always);
            config.hvo = HvoStrategy::Off;
        });
        machine.boot(|mm, _| {
            let [parent, child] = shared_pages(mm, 2);
            let leaf = parent.ptl.lock().walk(BASE).leaf().unwrap();
            let head = normal_folio(mm, leaf.desc, leaf.level).unwrap();
            assert_eq!(head.refcount(), 4);
            let ask = || {
                let _mmap = parent.mmap_lock.read(mm.env);
                let _tree = parent.ptl.lock();
                if is_exclusive(mm, head) {
                    assert_eq!(head.refcount(), 2, "exclusive, and the child's yet");
                }
            };
            let jobs: Vec<Job<'_>> =
                vec![Box::new(|| mm.munmap(&child, BASE.raw(), BLOCK).unwrap()), Box::new(ask)];
            run_on_cpus(jobs);
            check(mm);
            [parent, child].iter().for_each(|space| mm.destroy_space(space));
        });
    });
    println!("{explored:?}");
    assert!(explored.complete && explored.runs > 50, "{explored:?}");
}
