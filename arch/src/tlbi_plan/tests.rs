//! Every operand is read back as the Arm ARM defines it (C5.5, TLBI), independently of the code that made it, and a
//! plan is held against what the contract promises of the operation: entry by entry.

use super::*;
use crate::addr::Asid;
use crate::model::Random;

/// Something that a TLB may hold.
#[derive(Clone, Copy, Debug)]
struct Held {
    va: u64,
    level: u64,
    is_leaf: bool,
    /// `None`: global. Tables are tagged like what is below them.
    asid: Option<u64>,
}

impl Held {
    fn bytes(self) -> u64 {
        1 << (39 - 9 * self.level)
    }
    fn first(self) -> u64 {
        self.va & !(self.bytes() - 1)
    }
    /// Whether any of `bytes` bytes from `start` is translated by this.
    fn meets(self, start: u64, bytes: u64) -> bool {
        self.first() <= start + (bytes - 1) && start <= self.first() + (self.bytes() - 1)
    }
    /// Whether a hint of `level` lets an instruction reach this: leaves of that level, tables above it.
    fn fits(self, hint: Option<u64>) -> bool {
        hint.is_none_or(|level| if self.is_leaf { self.level == level } else { self.level < level })
    }
}

/// Whether the contract promises that `op` removes `held`.
fn promised(op: Tlbi, held: Held) -> bool {
    let (start, pages, tag, depth, level) = match op {
        Tlbi::Va { va, tag, depth, level } => (va, 1, tag, depth, level),
        Tlbi::Range { start, pages, tag, depth, level } => (start, pages, tag, depth, level),
        Tlbi::Asid(asid) => return held.asid == Some(u64::from(asid.raw())),
        Tlbi::All => return true,
    };
    let tagged = match tag {
        Tag::Asid(asid) => held.asid.is_none_or(|own| own == u64::from(asid.raw())),
        Tag::AllAsids => true,
    };
    tagged
        && (held.is_leaf || depth == Depth::AllLevels)
        && held.fits(level.filter(|&level| level != Level::L0).map(|level| level as u64))
        && held.meets(start.raw(), pages * 4096)
}

/// Bits `high..=low` of an operand.
fn field(operand: u64, high: u32, low: u32) -> u64 {
    operand << (63 - high) >> (63 - high + low)
}

/// An address whose bits from `top` up are copies of bit `top`, from its page number.
fn extended(pages: u64, top: u32) -> u64 {
    (pages << 12 << (63 - top)).cast_signed().wrapping_shr(63 - top).cast_unsigned()
}

/// Whether the instruction removes `held`. Panics where an operand is not one that the Arm ARM allows.
fn removes(insn: Insn, held: Held, features: &Features) -> bool {
    let Insn { name, operand } = insn;
    let asid = field(operand, 63, 48);
    let (by_range, any_asid, last_level) = match name {
        Name::Vae1 => (false, false, false),
        Name::Vale1 => (false, false, true),
        Name::Vaae1 => (false, true, false),
        Name::Vaale1 => (false, true, true),
        Name::Rvae1 => (true, false, false),
        Name::Rvale1 => (true, false, true),
        Name::Rvaae1 => (true, true, false),
        Name::Rvaale1 => (true, true, true),
        Name::Aside1 => {
            assert_eq!(field(operand, 47, 0), 0, "RES0");
            return held.asid == Some(asid);
        }
        Name::Vmalle1 => {
            assert_eq!(operand, 0, "RES0");
            return true;
        }
    };
    assert!(!any_asid || asid == 0, "{insn:?}: the ASID is RES0");
    let (start, bytes, ttl) = if by_range {
        assert!(features.tlbi_range, "{insn:?}: FEAT_TLBIRANGE");
        assert_eq!(field(operand, 47, 46), 0b01, "{insn:?}: TG is 4K");
        let (scale, num) = (field(operand, 45, 44), field(operand, 43, 39));
        let pages = (num + 1) << (5 * scale + 1);
        (extended(field(operand, 36, 0), 48), pages * 4096, field(operand, 38, 37))
    } else {
        let (granule, level) = (field(operand, 47, 46), field(operand, 45, 44));
        assert!(
            matches!((granule, level), (0, 0) | (0b01, 1..=3)),
            "{insn:?}: TTL is 4K and a level with leaves"
        );
        (extended(field(operand, 43, 0), 55), 4096, level)
    };
    assert!(features.ttl || ttl == 0, "{insn:?}: without FEAT_TTL the hint is RES0");
    (any_asid || held.asid.is_none_or(|own| own == asid))
        && (held.is_leaf || !last_level)
        && held.fits((ttl != 0).then_some(ttl))
        && held.meets(start, bytes)
}

const ASIDS: [u64; 3] = [0x1234, 0x34, 0x8001];

/// An operation with leaves of one level, in either half, with and without a hint.
fn operation(random: &mut Random) -> Tlbi {
    let leaf = random.pick(&[Level::L1, Level::L2, Level::L3, Level::L3]);
    let half = random.pick(&[0x0000_1000_0000_0000, 0xffff_8000_0000_0000, 0xffff_f000_0000_0000]);
    let va = VirtAddr::new(half + random.below(1 << 30) * 4096).align_down(leaf.entry_bytes());
    let tag = match random.below(2) {
        0 => Tag::Asid(Asid::new(random.pick(&ASIDS) as u16)),
        _ => Tag::AllAsids,
    };
    let depth = random.pick(&[Depth::LeafOnly, Depth::AllLevels]);
    let level = random.pick(&[None, Some(leaf)]);
    let leaf_pages = leaf.entry_bytes() / 4096;
    let most = random.pick(&[3, 40, 600, 5_000, MAX_RANGE_PAGES]) / leaf_pages;
    let pages = (1 + random.below(most.max(1))) * leaf_pages;
    match random.below(8) {
        0 => Tlbi::All,
        1 => Tlbi::Asid(Asid::new(random.pick(&ASIDS) as u16)),
        2 | 3 => Tlbi::Va { va: va.add(random.below(leaf_pages) * 4096), tag, depth, level },
        _ => Tlbi::Range { start: va, pages, tag, depth, level },
    }
}

/// First and one past the last page that an operation names.
fn bounds(op: Tlbi) -> (u64, u64) {
    match op {
        Tlbi::Va { va, .. } => (va.align_down(4096).raw(), va.align_down(4096).raw() + 4096),
        Tlbi::Range { start, pages, .. } => (start.raw(), start.raw() + pages * 4096),
        Tlbi::Asid(_) | Tlbi::All => (0x5000, 0x6000),
    }
}

/// Entries of every level and tag, at both ends of what is named, beside them, and between.
fn entries(op: Tlbi, random: &mut Random) -> Vec<Held> {
    let (first, end) = bounds(op);
    let inside = first + random.below(end - first);
    let mut all = Vec::new();
    for va in [first, end - 1, inside, first - 1, end, end + (1 << 31), first ^ 1 << 48, first ^ 1 << 43] {
        for level in 0..4 {
            for is_leaf in [false, true] {
                if (level == 0 && is_leaf) || (level == 3 && !is_leaf) {
                    continue;
                }
                let asids = ASIDS.map(Some);
                // No translation of the user's half is global.
                let global = (first >> 48 != 0).then_some(None);
                let held = |asid| Held { va, level, is_leaf, asid };
                all.extend(asids.into_iter().chain(global).map(held));
            }
        }
    }
    all
}

/// Every feature that a plan depends on, and every combination.
fn machines() -> [Features; 4] {
    [(false, false), (false, true), (true, false), (true, true)].map(|(tlbi_range, ttl)| Features {
        tlbi_range,
        ttl,
        asid_bits: 16,
        ..Features::BASE
    })
}

/// On random operations and each machine: what the contract promises to remove is removed. Nothing else is, unless
/// the range is given up for a whole ASID or for everything.
#[test]
fn plans_remove_what_the_contract_promises() {
    let mut random = Random::for_test("plans_remove_what_the_contract_promises", 1);
    let mut removed = 0;
    for _ in 0..3_000 {
        let op = operation(&mut random);
        let entries = entries(op, &mut random);
        for features in machines() {
            let plan: Vec<Insn> = plan(op, &features).collect();
            let is_whole = matches!(plan[0].name, Name::Aside1 | Name::Vmalle1);
            for &held in &entries {
                let gone = plan.iter().any(|&insn| removes(insn, held, &features));
                let must = promised(op, held);
                assert!(gone || !must, "{op:x?} leaves {held:x?}: {plan:x?}");
                let hint_is_read = features.ttl;
                let may = match op {
                    Tlbi::Va { va, tag, depth, .. } if !hint_is_read => {
                        promised(Tlbi::Va { va, tag, depth, level: None }, held)
                    }
                    Tlbi::Range { start, pages, tag, depth, .. } if !hint_is_read => {
                        promised(Tlbi::Range { start, pages, tag, depth, level: None }, held)
                    }
                    _ => must,
                };
                assert!(!gone || may || is_whole, "{op:x?} removes {held:x?}: {plan:x?}");
                removed += u64::from(must);
            }
        }
    }
    assert!(removed > 100_000, "only {removed} entries were to be removed");
}

/// A plan that is issued in one go, whole, from its middle or as a row, is what it is one by one.
#[test]
fn a_plan_in_one_go() {
    let mut random = Random::for_test("a_plan_in_one_go", 1);
    let mut rows = 0;
    for _ in 0..2000 {
        let op = operation(&mut random);
        for features in machines() {
            for begun in 0..3 {
                let mut rest = plan(op, &features);
                for _ in 0..begun {
                    rest.next();
                }
                let mut copy = rest.clone();
                let one_by_one: Vec<Insn> = core::iter::from_fn(|| copy.next()).collect();
                let row = rest.row().filter(|_| begun == 0);
                if let Some(Row { first, step, count }) = row {
                    let nth = |n: u64| Insn { operand: first.operand + n * step, ..first };
                    assert!(one_by_one.iter().copied().eq((0..count).map(nth)), "{op:?}");
                }
                rows += u64::from(row.is_some());
                let mut in_one_go = Vec::new();
                rest.for_each(|insn| in_one_go.push(insn));
                assert_eq!(in_one_go, one_by_one, "{op:?}");
            }
        }
    }
    assert!(rows > 1000, "only {rows} plans were rows");
}

/// How many instructions an operation takes is what the features and the limit say.
#[test]
fn numbers_of_instructions() {
    let start = VirtAddr::new(0xffff_8000_0000_0000);
    let count = |pages, level, tlbi_range| {
        let op = Tlbi::Range { start, pages, tag: Tag::AllAsids, depth: Depth::LeafOnly, level };
        plan(op, &Features { tlbi_range, ..Features::BASE }).count() as u64
    };
    assert_eq!(count(1, None, true), 1);
    assert_eq!(count(33, None, true), 2, "an odd page and 32");
    assert_eq!(count(MAX_RANGE_PAGES, None, true), 1);
    assert_eq!(count(MAX_RANGE_PAGES - 1, None, true), 5, "the odd page and every scale");
    assert_eq!(count(MAX_OPS_BY_ADDRESS, None, false), MAX_OPS_BY_ADDRESS);
    assert_eq!(count(MAX_OPS_BY_ADDRESS + 1, None, false), 1, "everything");
    assert_eq!(count(MAX_RANGE_PAGES, Some(Level::L1), false), 8, "blocks of 1 GiB");
    assert_eq!(count(512 * 512, Some(Level::L2), false), 512, "blocks of 2 MiB");
}

/// A range that is given up takes its ASID with it in the user's half, and everything where entries may be global.
#[test]
fn what_a_range_is_given_up_for() {
    let given_up = |start, tag| {
        let op =
            Tlbi::Range { start, pages: MAX_OPS_BY_ADDRESS + 1, tag, depth: Depth::LeafOnly, level: None };
        plan(op, &Features::BASE).collect::<Vec<_>>()
    };
    let (user, kernel) = (VirtAddr::new(0x1000), VirtAddr::new(0xffff_8000_0000_0000));
    let tag = Tag::Asid(Asid::new(0xabcd));
    assert_eq!(given_up(user, tag), [Insn { name: Name::Aside1, operand: 0xabcd << 48 }]);
    for (start, tag) in [(user, Tag::AllAsids), (kernel, tag), (kernel, Tag::AllAsids)] {
        assert_eq!(given_up(start, tag), [Insn { name: Name::Vmalle1, operand: 0 }]);
    }
}

/// A range that begins inside a leaf still reaches that leaf and its last.
#[test]
fn leaves_that_are_only_touched() {
    let block = 0xffff_8000_0020_0000;
    let op = Tlbi::Range {
        start: VirtAddr::new(block + 0x1000),
        pages: 512,
        tag: Tag::AllAsids,
        depth: Depth::AllLevels,
        level: Some(Level::L2),
    };
    for features in machines() {
        for va in [block, block + (2 << 20)] {
            let held = Held { va, level: 2, is_leaf: true, asid: None };
            assert!(plan(op, &features).any(|insn| removes(insn, held, &features)), "{va:#x}");
        }
    }
}

/// The last pages of the address space can be named.
#[test]
fn the_end_of_the_address_space() {
    for pages in [1, 2, 33] {
        let start = VirtAddr::new(0_u64.wrapping_sub(pages * 4096));
        let op = Tlbi::Range { start, pages, tag: Tag::AllAsids, depth: Depth::LeafOnly, level: None };
        let held = Held { va: 0xffff_ffff_ffff_f000, level: 3, is_leaf: true, asid: None };
        for features in machines() {
            let plan: Vec<Insn> = plan(op, &features).collect();
            assert!(plan.iter().any(|&insn| removes(insn, held, &features)), "{pages} pages");
        }
    }
}

/// `aarch64/tlb.rs` and `aarch64/mmu.rs`, which no host test can run, issue each instruction and barrier by its own
/// name: `IS` with the broadcast ones and only there.
#[test]
fn instructions_are_issued_by_their_names() {
    let issue = include_str!("../aarch64/tlb.rs");
    let names = [
        Name::Vae1,
        Name::Vale1,
        Name::Vaae1,
        Name::Vaale1,
        Name::Rvae1,
        Name::Rvale1,
        Name::Rvaae1,
        Name::Rvaale1,
        Name::Aside1,
    ];
    for name in names {
        let mnemonic = format!("{name:?}").to_lowercase();
        let line = format!("Name::{name:?} => scoped!(scope, \"{mnemonic}\", operand),");
        assert_eq!(issue.matches(&line).count(), 1, "{line}");
    }
    for line in [
        "FlushScope::Broadcast => tlbi!($name, \"is\", $operand),",
        "FlushScope::Local => tlbi!($name, \"\", $operand),",
        "FlushScope::Broadcast => unsafe { asm!(\"tlbi vmalle1is\", options(nostack, preserves_flags)) },",
        "FlushScope::Local => unsafe { asm!(\"tlbi vmalle1\", options(nostack, preserves_flags)) },",
    ] {
        assert_eq!(issue.matches(line).count(), 1, "{line}");
    }
    let barriers = include_str!("../aarch64/mmu.rs");
    for (name, mnemonic) in [("IshSt", "dsb ishst"), ("Ish", "dsb ish"), ("Nsh", "dsb nsh")] {
        let line = format!("Dsb::{name} => asm!(\"{mnemonic}\", options(nostack, preserves_flags)),");
        assert_eq!(barriers.matches(&line).count(), 1, "{line}");
    }
}
