//! The rule a second time, from the bullets and from bit numbers instead of rows and flags, held against the first
//! on random descriptors.

use super::super::*;
use crate::model::Random;

const BLOCK_ADDRESS: [u64; 4] = [0, 0x0000_ffff_c000_0000, 0x0000_ffff_ffe0_0000, 0x0000_ffff_ffff_f000];
const TABLE_ADDRESS: u64 = 0x0000_ffff_ffff_f000;

#[derive(PartialEq)]
enum What {
    Fault,
    Table,
    Leaf,
}

fn what(raw: u64, level: usize) -> What {
    match (raw & 0b11, level) {
        (0b11, 0..=2) => What::Table,
        (0b11, 3) | (0b01, 1 | 2) => What::Leaf,
        _ => What::Fault,
    }
}

fn bit(raw: u64, bit: u32) -> bool {
    raw >> bit & 1 == 1
}

/// All bullets that apply; `None`: not even a flush is needed.
fn bullets(old: u64, new: u64, level: usize, ctx: &Ctx) -> Option<Vec<Why>> {
    let hardware = ctx.hw_dirty == HwDirty::Enabled;
    let differ = ctx.contents == Contents::Differ;
    let held = match what(old, level) {
        What::Fault => false,
        What::Table => true,
        What::Leaf => hardware || bit(old, 10),
    };
    let changed = old ^ new;
    let seen_by_hardware = |raw: u64| match what(raw, level) {
        What::Table => raw & !(0xff << 51 | 0xffc),
        _ => raw & !(0xf << 55),
    };
    if !held || seen_by_hardware(old) == seen_by_hardware(new) {
        return None;
    }
    let written = |raw| !bit(raw, 7) || (hardware && bit(raw, 51));
    let mut why = Vec::new();
    match (what(old, level), what(new, level)) {
        (_, What::Fault) | (What::Fault, _) => {}
        (What::Table, What::Table) => {
            if changed & (TABLE_ADDRESS | 1 << 63) != 0 {
                if hardware {
                    why.push(Why::OutputAddressWritable);
                } else if differ {
                    why.push(Why::OutputAddressContents);
                }
            }
        }
        (What::Leaf, What::Leaf) => {
            if changed & (0b111 << 2 | 0b11 << 8) != 0 {
                why.push(Why::MemoryType);
            }
            if changed & (BLOCK_ADDRESS[level] | 1 << 5) != 0 {
                if written(old) || written(new) {
                    why.push(Why::OutputAddressWritable);
                } else if differ {
                    why.push(Why::OutputAddressContents);
                }
            }
            let size_alone = changed & !(0xf << 55) == 1 << 52;
            if bit(changed, 52) && !(size_alone && ctx.bbm as u8 >= 1) {
                why.push(Why::Size);
            }
            if bit(old, 11) && !bit(new, 11) {
                why.push(Why::Global);
            }
        }
        (old_is, _) => {
            let leaf = if old_is == What::Leaf { old } else { new };
            let relaxed = ctx.bbm as u8 >= 2 || (ctx.bbm as u8 == 1 && bit(leaf, 16));
            if differ || !relaxed {
                why.push(Why::Size);
            }
        }
    }
    Some(why)
}

/// A descriptor that often has AF, and an address from few.
fn descriptor(random: &mut Random) -> u64 {
    let address = (1 + random.below(3)) << 30 | random.below(2) << 21 | random.below(2) << 16;
    let attributes = random.bits() & random.bits() & 0xfff0_0000_0000_0ffc;
    let accessed = u64::from(random.below(4) != 0) << 10;
    attributes | accessed | address | random.below(4)
}

/// On 200,000 random pairs, most of them apart in few bits, both say the same: none, flush, or break, and then for
/// one of the bullets that apply. Every row is met.
#[test]
fn rows_say_what_the_bullets_say() {
    let mut met = [0_u32; ROWS.len()];
    let mut random = Random::for_test("rows_say_what_the_bullets_say", 1);
    for _ in 0..200_000 {
        let old = descriptor(&mut random);
        let mut new = if random.below(3) == 0 { descriptor(&mut random) } else { old };
        for _ in 0..random.below(4) {
            new ^= 1 << random.below(64);
        }
        let level = random.pick(&Level::ALL);
        let ctx = Ctx {
            bbm: BbmLevel::from_id_field(random.below(4)),
            hw_dirty: random.pick(&[HwDirty::Disabled, HwDirty::Enabled]),
            contents: random.pick(&[Contents::Equal, Contents::Differ]),
        };
        let row = bbm_row(Desc::from_raw(old), Desc::from_raw(new), level, &ctx);
        let agree = match (row.need(), bullets(old, new, level as usize, &ctx)) {
            (BbmNeed::None, None) => true,
            (BbmNeed::FlushAfter, Some(why)) => why.is_empty(),
            (BbmNeed::BreakBeforeMake { why }, Some(bullets)) => bullets.contains(&why),
            _ => false,
        };
        assert!(agree, "{old:#x} to {new:#x}, level {level}, {ctx:?}: {row:?}");
        met[row as usize] += 1;
    }
    let never: Vec<_> = ROWS.iter().filter(|text| met[text.row as usize] == 0).map(|text| text.row).collect();
    assert!(never.is_empty(), "never met: {never:?}");
}
