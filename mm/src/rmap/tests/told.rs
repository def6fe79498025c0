//! What is told of a space while migration entries stand in it: at rest, so that every number is known.

use arch::addr::PAGE_SIZE;
use arch::layout::USER_END;
use arch::{PageSize, VirtAddr};

use crate::Mm;
use crate::config::{HvoStrategy, Mapcount, ThpMode};
use crate::page::page_of;
use crate::report::pagemap::{EXCLUSIVE, MOVING, MOVING_SHIFT, MOVING_TO, PRESENT};
use crate::report::{Reading, Sizes};
use crate::rmap::unmap::{Now, remap, unmap_to_move};
use crate::rmap::walk::Origin;
use crate::space::{AddressSpace, MapFlags, MapProt, MmapRequest, Usage};
use crate::testkit::{self, Builder, with_space};

const BASE: VirtAddr = VirtAddr::new(0x4000_0000);
const BLOCK: u64 = PageSize::Size2M.bytes();

fn both(mm: &Mm, space: &AddressSpace) -> Sizes {
    let told = |reading| mm.sizes(space, VirtAddr::new(0), USER_END, reading);
    assert_eq!(told(Reading::Locked), told(Reading::LockFree));
    told(Reading::Locked)
}

fn words(mm: &Mm, space: &AddressSpace) -> [u64; 2] {
    let mut words = [0; 2];
    assert_eq!(mm.read_pagemap(space, BASE.raw() / PAGE_SIZE + 3, &mut words), 2);
    words
}

/// A block, whole or as pages, is resident under every way of counting when all that maps it are migration entries:
/// whole for PSS, by nobody for sure, as accessed as before. To pagemap it is moving. When it is back, all is as
/// before.
#[test]
fn what_moves_is_resident() {
    for &scheme in Mapcount::ALL {
        for pieces in [false, true] {
            let machine = Builder::new().config(|config| {
                (config.thp, config.hvo, config.mapcount) = (ThpMode::Always, HvoStrategy::Off, scheme);
            });
            with_space(&machine, |mm, _, space| {
                let rw = MapProt::READ | MapProt::WRITE;
                let request = MmapRequest::anonymous(BLOCK, rw).fixed(BASE.raw()).with(MapFlags::POPULATE);
                mm.mmap(space, &request).unwrap();
                if pieces {
                    mm.mprotect(space, BASE.raw(), PAGE_SIZE, MapProt::READ).unwrap();
                }
                let leaf = space.ptl.lock().walk(BASE).leaf().unwrap();
                let head = page_of(leaf.desc.output(leaf.level).pfn());
                let Some(folio) = mm.try_get_folio(head.pfn()) else { panic!("the folio is gone") };
                let (before, usage) = (both(mm, space), mm.usage(space));
                let present = words(mm, space);
                assert_eq!((before.rss(), usage.anon), (BLOCK, 512));
                assert_eq!(present[1] & !EXCLUSIVE, PRESENT | (head.pfn().raw() + 4));

                let origin = Origin::of(head);
                unmap_to_move(mm, &origin);
                let moving = both(mm, space);
                let whole = Sizes { pss: BLOCK, pss_anonymous: BLOCK, private: 0, shared: BLOCK, ..before };
                assert_eq!(moving, whole, "{scheme}, {pieces}");
                assert_eq!(mm.usage(space), Usage { anon: 0, ..usage }, "{scheme}, {pieces}");
                let expected = [3, 4].map(|n| MOVING | MOVING_TO | ((head.pfn().raw() + n) << MOVING_SHIFT));
                assert_eq!(words(mm, space), expected);

                remap(mm, &origin, Now::Folio(head));
                mm.put_folio(folio);
                let after = (both(mm, space), mm.usage(space));
                assert_eq!((after.0.rss(), after.1), (BLOCK, usage));
                // What this one strands when the entries go makes the folio look shared.
                if scheme != Mapcount::RfcV1 {
                    assert_eq!((after.0, words(mm, space)), (before, present), "{scheme}, {pieces}");
                }
                testkit::check(mm);
            });
        }
    }
}
