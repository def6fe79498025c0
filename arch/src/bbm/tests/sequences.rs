//! Whole sequences, step by step, with what may be held between the steps.

use super::super::*;
use super::{A, B, BBM_LEVELS, RO, RW, block};

/// One descriptor of level 2, and everything that a TLB may hold because of it.
struct Slot {
    now: Desc,
    stale: Vec<Desc>,
    ctx: Ctx,
}

impl Slot {
    /// A slot whose changes all translate alike.
    fn new(now: Desc, bbm: BbmLevel) -> Self {
        let ctx = Ctx { bbm, hw_dirty: HwDirty::Disabled, contents: Contents::Equal };
        Slot { now, stale: Vec::new(), ctx }
    }

    /// Stores, if the rule lets what stands there, and all that may still be held, be replaced directly.
    fn store(mut self, new: Desc) -> Result<Slot, Why> {
        for &old in self.stale.iter().chain([&self.now]) {
            if let BbmNeed::BreakBeforeMake { why } = bbm_need(old, new, Level::L2, &self.ctx) {
                return Err(why);
            }
        }
        self.stale.push(self.now);
        self.now = new;
        Ok(self)
    }

    /// DSB, TLBI of all levels, DSB.
    fn flush(mut self) -> Slot {
        self.stale.clear();
        self
    }
}

const TABLE: Desc = Desc::table(B);

fn nt() -> Desc {
    block(RW | PteFlags::NT)
}

/// Split at BBM 1: nT, flush, table, flush. The table may not come before the flush, nor without nT.
#[test]
fn split_by_nt() {
    let block = || Slot::new(block(RW), BbmLevel::Level1);
    let marked = block().store(nt()).unwrap();
    assert_eq!(marked.flush().store(TABLE).err(), None);
    assert_eq!(block().store(nt()).unwrap().store(TABLE).err(), Some(Why::Size), "the flush is missing");
    assert_eq!(block().store(TABLE).err(), Some(Why::Size), "nT is missing");
}

/// Merge at BBM 1: block with nT, flush, nT cleared, flush. nT may not be cleared before the flush, nor be missing.
#[test]
fn merge_by_nt() {
    let table = || Slot::new(TABLE, BbmLevel::Level1);
    let merged = table().store(nt()).unwrap().flush().store(block(RW)).unwrap();
    assert!(merged.flush().stale.is_empty());
    let early = table().store(nt()).unwrap().store(block(RW));
    assert_eq!(early.err(), Some(Why::Size), "the flush is missing");
    assert_eq!(table().store(block(RW)).err(), Some(Why::Size), "nT is missing");
}

/// nT may be set together with a permission: that is no change of size. What follows must still translate alike.
#[test]
fn nt_with_a_permission() {
    let slot = Slot::new(block(RW), BbmLevel::Level1).store(block(RO | PteFlags::NT)).unwrap();
    assert_eq!(slot.flush().store(TABLE).err(), None);
    let mut slot = Slot::new(block(RW), BbmLevel::Level1).store(nt()).unwrap().flush();
    slot.ctx.contents = Contents::Differ;
    assert_eq!(slot.store(TABLE).err(), Some(Why::Size));
}

/// At BBM 0 the same sequences are refused at the change of size; at BBM 2 and 3 it is made directly both ways.
#[test]
fn nt_at_other_levels() {
    for start in [block(RW), nt()] {
        assert_eq!(Slot::new(start, BbmLevel::Level0).store(TABLE).err(), Some(Why::Size));
        assert_eq!(Slot::new(TABLE, BbmLevel::Level0).store(start).err(), Some(Why::Size));
        for bbm in [BbmLevel::Level2, BbmLevel::Level3] {
            let there = Slot::new(start, bbm).store(TABLE).unwrap();
            assert_eq!(there.store(start).err(), None, "the way back, not flushed: all translate alike");
        }
    }
}

/// Break-before-make goes at every level, for every change; without the flush it is no break.
#[test]
fn break_before_make_always_goes() {
    let moved = Desc::leaf(B, Level::L2, RW ^ PteFlags::DEVICE);
    for bbm in BBM_LEVELS {
        for new in [TABLE, moved, nt(), Desc::leaf(A, Level::L2, RO | PteFlags::CONTIGUOUS)] {
            let broken = || Slot::new(block(RW), bbm).store(Desc::INVALID).unwrap();
            assert_eq!(broken().flush().store(new).err(), None, "{bbm:?}: {new}");
        }
        let broken = Slot::new(block(RW), bbm).store(Desc::INVALID).unwrap();
        assert_eq!(broken.store(moved).err(), Some(Why::MemoryType), "{bbm:?}: not flushed");
    }
}

/// A flush owed for one step is still owed when the next is judged: read-only, then moved, needs a flush between.
#[test]
fn read_only_then_moved() {
    let moved = Desc::leaf(B, Level::L2, RO);
    let tightened = || Slot::new(block(RW), BbmLevel::Level0).store(block(RO)).unwrap();
    assert_eq!(tightened().flush().store(moved).err(), None);
    assert_eq!(tightened().store(moved).err(), Some(Why::OutputAddressWritable));
}
