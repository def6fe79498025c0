//! What was unmapped goes to the gather, which frees it after its flush; what was displaced may too.

use arch::model::user_store;
use arch::{Desc, Level};
use mm::config::ThpMode;
use mm::mapcount::{self, Run};
use mm::space::{MapProt, MmapRequest};
use mm::testkit::{Builder, with_space};

const PAGE: u64 = 4096;

fn main() {
    with_space(&Builder::new().config(|config| config.thp = ThpMode::Never), |mm, _, space| {
        let request = MmapRequest::anonymous(2 * PAGE, MapProt::READ | MapProt::WRITE);
        let va = mm.mmap(space, &request).unwrap();
        user_store(va, 1).unwrap();
        let free = mm.free_page_count();
        mm.gather(space.tag(), |gather| {
            let mut tree = space.ptl.lock();
            let entry = tree.entry(space.flusher(mm), va, Level::L3).unwrap();
            let table = entry.table();
            let unmapped = entry.clear(gather);
            if let Some(head) = unmapped.folio(mm) {
                let (level, vma, owner) = (Level::L3, (va, va.add(2 * PAGE)), space.owner);
                let run = Run { head, first: head, entries: 1, level, table, top: table, va, space: space.id, owner, vma };
                mapcount::remove(mm, &run);
                space.sub_anon(mm, 1);
            }
            gather.hold(unmapped);
            assert_eq!(mm.free_page_count(), free, "freed before the flush");
        });
        assert_eq!(mm.free_page_count(), free + 1);

        let mut table = mm.alloc_table().unwrap();
        table.fill(|_| Desc::INVALID);
        mm.free_table(table);
    });
}
