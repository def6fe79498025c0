//! Break, flush, make; relax; and one entry after the other under one lock.

use arch::Level;
use arch::model::{user_load, user_store};
use mm::config::ThpMode;
use mm::space::{MapProt, MmapRequest};
use mm::testkit::{Builder, with_space};

const PAGE: u64 = 4096;

fn main() {
    with_space(&Builder::new().config(|config| config.thp = ThpMode::Never), |mm, _, space| {
        let request = MmapRequest::anonymous(2 * PAGE, MapProt::READ | MapProt::WRITE);
        let va = mm.mmap(space, &request).unwrap();
        user_store(va, 1).unwrap();
        let mut tree = space.ptl.lock();
        let entry = tree.entry(space.flusher(mm), va, Level::L3).unwrap();
        let desc = entry.desc();
        let mut broken_at = None;
        let broken = entry.break_live::<1>(|entry, _| broken_at = Some(entry.va()));
        let clean = broken.flush();
        clean.make(|_| desc, |_, _| ()).keep();
        assert_eq!(broken_at, Some(va));
        tree.entry(space.flusher(mm), va, Level::L3).unwrap().relax(desc, desc);
        drop(tree);
        assert_eq!(user_load(va), Ok(1));
    });
}
