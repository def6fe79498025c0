//! The checks themselves. Each is a few lines: make, use, change, ask.

use super::arena::{Arena, USER_VA, flush};
use super::{Check, Failure, Translation};
use crate::Machine;
use crate::addr::{Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::contract::{
    Access, Cpu, Depth, FaultStatus, FlushScope, Mmu, PhysMem, Privilege, Tag, Tlbi, UserMem,
};
use crate::pte::{Desc, HwDirty, PteFlags};

/// Every check, in the order of the contract's table.
pub const CHECKS: &[Check] = &[
    ("a descriptor reads back as stored", stores_read_back),
    ("a compare and swap needs the old descriptor", cas_compares),
    ("bulk operations move bytes", bulk),
    ("interrupt masks nest", masks_nest),
    ("a made page is seen and carries data", make),
    ("an unmapped page faults after the flush", unmap),
    ("a local flush reaches this CPU", unmap_local),
    ("a flush with the right level hint flushes", unmap_hinted),
    ("a flush of everything flushes", unmap_all),
    ("lost write permission is seen after the flush", tighten),
    ("gained write permission is seen after the flush", relax),
    ("a page moved by break-before-make is seen at its new address", break_and_make),
    ("a read-only page may be repointed to equal bytes", repoint),
    ("a block translates every offset", block),
    ("a block split by break-before-make translates alike", split),
    ("a table taken out is walked no more after a flush of all levels", remove_table),
    ("a range flush reaches its first and last page", range),
    ("a range flush reaches blocks", range_of_blocks),
    ("a clear access flag faults until it is set", access_flag),
    ("EL0 cannot use a kernel page", kernel_page_from_el0),
    ("EL0 has the rights of a user page", user_rights),
    ("ASIDs keep roots apart without a flush", asids),
    ("a flush by ASID reaches the ASID", flush_asid),
    ("user copies reach the user root", user_copy),
];

const RW: PteFlags = PteFlags::KERNEL_RW;
const RO: PteFlags = PteFlags::KERNEL_RO;
const PATTERN: u64 = 0x0123_4567_89ab_cdef;

fn kernel(va: VirtAddr, access: Access) -> Translation {
    Machine::translate(va, access, Privilege::Kernel)
}

fn user(va: VirtAddr, access: Access) -> Translation {
    Machine::translate(va, access, Privilege::User)
}

fn expect(step: &'static str, got: Translation, expected: Translation) -> Result<(), Failure> {
    if got == expected { Ok(()) } else { Err(Failure::Translation { step, expected, got }) }
}

fn expect_value(step: &'static str, got: u64, expected: u64) -> Result<(), Failure> {
    if got == expected { Ok(()) } else { Err(Failure::Value { step, expected, got }) }
}

fn expect_that(statement: &'static str, holds: Option<()>) -> Result<(), Failure> {
    holds.ok_or(Failure::Statement(statement))
}

/// The word in RAM at `pa`.
fn word(pa: PhysAddr) -> u64 {
    let mut bytes = [0; 8];
    Machine::read_bytes(pa, &mut bytes);
    u64::from_le_bytes(bytes)
}

fn set_word(pa: PhysAddr, value: u64) {
    Machine::write_bytes(pa, &value.to_le_bytes());
}

/// The word that the kernel reads at `va`, which a check has mapped.
fn load(va: VirtAddr) -> u64 {
    let at: *mut u64 = crate::kernel_access(va, Access::Read).cast();
    // SAFETY: `va` is 8-byte aligned and mapped by the check on a page that the arena owns; one access.
    unsafe { at.read_volatile() }
}

/// Stores a word at `va`, which a check has mapped writable.
fn store(va: VirtAddr, value: u64) {
    let at: *mut u64 = crate::kernel_access(va, Access::Write).cast();
    // SAFETY: as in `load`, and nobody else uses the page.
    unsafe { at.write_volatile(value) }
}

/// A TLBI of the leaf for `va`, of all ASIDs.
fn leaf(va: VirtAddr, level: Option<Level>) -> Tlbi {
    Tlbi::Va { va, tag: Tag::AllAsids, depth: Depth::LeafOnly, level }
}

/// A TLBI of all levels for `va`, of all ASIDs.
fn all_levels(va: VirtAddr) -> Tlbi {
    Tlbi::Va { va, tag: Tag::AllAsids, depth: Depth::AllLevels, level: None }
}

/// Stores over a live descriptor and flushes the leaf on every CPU.
fn change(at: PhysAddr, new: Desc, va: VirtAddr) {
    Machine::write_desc(at, new);
    flush(leaf(va, None), FlushScope::Broadcast);
}

fn stores_read_back(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let page = arena.page()?;
    let desc = Desc::leaf(page, Level::L3, RW);
    Machine::write_desc(page.add(8), desc);
    expect_value("the descriptor", Machine::read_desc(page.add(8)).raw(), desc.raw())?;
    expect_value("its memory", word(page.add(8)), desc.raw())?;
    expect_value("its neighbour", word(page), 0)
}

fn cas_compares(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let page = arena.page()?;
    let [first, second] = [RW, RO].map(|flags| Desc::leaf(page, Level::L3, flags));
    let lost = Machine::cas_desc(page, first, second).err();
    expect_that(
        "a swap of another descriptor loses and tells it",
        (lost == Some(Desc::INVALID)).then_some(()),
    )?;
    expect_value("after the lost swap", Machine::read_desc(page).raw(), 0)?;
    expect_that("a swap of the present descriptor wins", Machine::cas_desc(page, Desc::INVALID, first).ok())?;
    expect_value("after the swap", Machine::read_desc(page).raw(), first.raw())
}

fn bulk(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (a, b) = (arena.page()?, arena.page()?);
    set_word(a.add(PAGE_SIZE - 8), PATTERN);
    expect_that("different pages differ", (!Machine::equal(a, b, PAGE_SIZE)).then_some(()))?;
    Machine::copy(b, a, PAGE_SIZE);
    expect_value("the last word copied", word(b.add(PAGE_SIZE - 8)), PATTERN)?;
    expect_that("a copy is equal", Machine::equal(a, b, PAGE_SIZE).then_some(()))?;
    Machine::zero(b, PAGE_SIZE);
    expect_value("the last word zeroed", word(b.add(PAGE_SIZE - 8)), 0)
}

fn masks_nest(_: &mut Arena<'_>) -> Result<(), Failure> {
    let outer = Machine::mask_irqs();
    let inner = Machine::mask_irqs();
    Machine::restore_irqs(inner);
    let still = Machine::mask_irqs();
    Machine::restore_irqs(outer);
    expect_that("restoring an inner mask keeps the outer one", (inner == still).then_some(()))
}

fn make(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    set_word(page, PATTERN);
    let at = arena.entry(Machine::kernel_root(), va, Level::L3)?;
    expect("before", kernel(va, Access::Read), Err(FaultStatus::Translation(Level::L3)))?;
    arena.make(at, Desc::leaf(page, Level::L3, RW), Level::L3)?;
    expect("the page", kernel(va, Access::Write), Ok(page))?;
    expect("its last byte", kernel(va.add(PAGE_SIZE - 1), Access::Read), Ok(page.add(PAGE_SIZE - 1)))?;
    expect_value("a load", load(va), PATTERN)?;
    store(va.add(8), !PATTERN);
    expect_value("a store", word(page.add(8)), !PATTERN)
}

/// Maps a page, uses it, takes it away and flushes; then it must be gone.
fn gone_after(arena: &mut Arena<'_>, op: fn(VirtAddr) -> Tlbi, scope: FlushScope) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let at = arena.map(va, page, Level::L3, RW)?;
    expect("the page", kernel(va, Access::Read), Ok(page))?;
    expect_value("a load", load(va), 0)?;
    Machine::write_desc(at, Desc::INVALID);
    flush(op(va), scope);
    expect("after the flush", kernel(va, Access::Read), Err(FaultStatus::Translation(Level::L3)))
}

fn unmap(arena: &mut Arena<'_>) -> Result<(), Failure> {
    gone_after(arena, |va| leaf(va, None), FlushScope::Broadcast)
}

fn unmap_local(arena: &mut Arena<'_>) -> Result<(), Failure> {
    gone_after(arena, |va| leaf(va, None), FlushScope::Local)
}

fn unmap_hinted(arena: &mut Arena<'_>) -> Result<(), Failure> {
    gone_after(arena, |va| leaf(va, Some(Level::L3)), FlushScope::Broadcast)
}

fn unmap_all(arena: &mut Arena<'_>) -> Result<(), Failure> {
    gone_after(arena, |_| Tlbi::All, FlushScope::Broadcast)
}

fn tighten(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let at = arena.map(va, page, Level::L3, RW)?;
    store(va, PATTERN);
    change(at, Desc::leaf(page, Level::L3, RO), va);
    expect("a write", kernel(va, Access::Write), Err(FaultStatus::Permission(Level::L3)))?;
    expect("a read", kernel(va, Access::Read), Ok(page))?;
    expect_value("a load", load(va), PATTERN)
}

fn relax(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let at = arena.map(va, page, Level::L3, RO)?;
    expect("a write before", kernel(va, Access::Write), Err(FaultStatus::Permission(Level::L3)))?;
    change(at, Desc::leaf(page, Level::L3, RW), va);
    expect("a write after", kernel(va, Access::Write), Ok(page))?;
    store(va, PATTERN);
    expect_value("a store", word(page), PATTERN)
}

fn break_and_make(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, from, to) = (arena.window(), arena.page()?, arena.page()?);
    set_word(to, PATTERN);
    let at = arena.map(va, from, Level::L3, RW)?;
    expect_value("a load before", load(va), 0)?;
    change(at, Desc::INVALID, va);
    arena.make(at, Desc::leaf(to, Level::L3, RW), Level::L3)?;
    expect("after", kernel(va, Access::Write), Ok(to))?;
    expect_value("a load after", load(va), PATTERN)
}

fn repoint(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, from, to) = (arena.window(), arena.page()?, arena.page()?);
    set_word(from, PATTERN);
    Machine::copy(to, from, PAGE_SIZE);
    let at = arena.map(va, from, Level::L3, RO)?;
    expect_value("a load before", load(va), PATTERN)?;
    change(at, Desc::leaf(to, Level::L3, RO), va);
    expect("after", kernel(va, Access::Read), Ok(to))?;
    expect_value("a load after", load(va), PATTERN)
}

/// The 2 MiB of RAM around a page of the arena: mapped read-only, as most of it is not ours.
fn huge_page(arena: &mut Arena<'_>) -> Result<(PhysAddr, u64), Failure> {
    let page = arena.page()?;
    set_word(page, PATTERN);
    let huge = page.align_down(Level::L2.entry_bytes());
    Ok((huge, page.offset_from(huge)))
}

fn block(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (huge, offset) = huge_page(arena)?;
    let va = arena.window();
    arena.map(va, huge, Level::L2, RO)?;
    expect("the first byte", kernel(va, Access::Read), Ok(huge))?;
    let last = Level::L2.entry_bytes() - 1;
    expect("the last byte", kernel(va.add(last), Access::Read), Ok(huge.add(last)))?;
    expect("a write", kernel(va, Access::Write), Err(FaultStatus::Permission(Level::L2)))?;
    expect_value("a load", load(va.add(offset)), PATTERN)
}

fn split(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (huge, offset) = huge_page(arena)?;
    let va = arena.window();
    let at = arena.map(va, huge, Level::L2, RO)?;
    expect_value("a load before", load(va.add(offset)), PATTERN)?;
    let table = arena.page_table(huge, RO)?;
    change(at, Desc::INVALID, va);
    expect("broken", kernel(va, Access::Read), Err(FaultStatus::Translation(Level::L2)))?;
    arena.make(at, Desc::table(table), Level::L2)?;
    expect("a page", kernel(va.add(offset), Access::Read), Ok(huge.add(offset)))?;
    expect("a write", kernel(va, Access::Write), Err(FaultStatus::Permission(Level::L3)))?;
    expect_value("a load after", load(va.add(offset)), PATTERN)
}

fn remove_table(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    arena.map(va, page, Level::L3, RW)?;
    expect("the page", kernel(va, Access::Read), Ok(page))?;
    let parent = arena.entry(Machine::kernel_root(), va, Level::L2)?;
    Machine::write_desc(parent, Desc::INVALID);
    flush(all_levels(va), FlushScope::Broadcast);
    expect("the page", kernel(va, Access::Read), Err(FaultStatus::Translation(Level::L2)))?;
    let never_used = va.add(PAGE_SIZE);
    expect("its neighbour", kernel(never_used, Access::Read), Err(FaultStatus::Translation(Level::L2)))
}

fn range(arena: &mut Arena<'_>) -> Result<(), Failure> {
    // 33 pages: more than one range operand says, with an odd page left.
    const PAGES: u64 = 33;
    let (va, page) = (arena.window().add(7 * PAGE_SIZE), arena.page()?);
    let first = arena.entry(Machine::kernel_root(), va, Level::L3)?;
    for n in 0..PAGES {
        arena.make(first.add(8 * n), Desc::leaf(page, Level::L3, RO), Level::L3)?;
        expect("a page", kernel(va.add(n * PAGE_SIZE), Access::Read), Ok(page))?;
    }
    for n in 0..PAGES {
        Machine::write_desc(first.add(8 * n), Desc::INVALID);
    }
    let level = Some(Level::L3);
    let op = Tlbi::Range { start: va, pages: PAGES, tag: Tag::AllAsids, depth: Depth::LeafOnly, level };
    flush(op, FlushScope::Broadcast);
    (0..PAGES).try_for_each(|n| {
        let gone = Err(FaultStatus::Translation(Level::L3));
        expect("a page after the flush", kernel(va.add(n * PAGE_SIZE), Access::Read), gone)
    })
}

fn range_of_blocks(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (huge, _) = huge_page(arena)?;
    let vas = [arena.window(), arena.window().add(Level::L2.entry_bytes())];
    let mut entries = [PhysAddr::new(0); 2];
    for (va, at) in vas.into_iter().zip(&mut entries) {
        *at = arena.map(va, huge, Level::L2, RO)?;
        expect("a block", kernel(va, Access::Read), Ok(huge))?;
    }
    for at in entries {
        Machine::write_desc(at, Desc::INVALID);
    }
    let (start, pages) = (vas[0], Arena::WINDOW_BYTES / PAGE_SIZE);
    let op = Tlbi::Range { start, pages, tag: Tag::AllAsids, depth: Depth::AllLevels, level: None };
    flush(op, FlushScope::Broadcast);
    vas.into_iter().try_for_each(|va| {
        let gone = Err(FaultStatus::Translation(Level::L2));
        expect("a block after the flush", kernel(va, Access::Read), gone)
    })
}

fn access_flag(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let at = arena.map(va, page, Level::L3, RW.difference(PteFlags::ACCESSED))?;
    let clear = match Machine::hw_dirty() {
        HwDirty::Enabled => Ok(page),
        HwDirty::Disabled => Err(FaultStatus::AccessFlag(Level::L3)),
    };
    expect("with the flag clear", kernel(va, Access::Read), clear)?;
    Machine::write_desc(at, Desc::leaf(page, Level::L3, RW));
    Machine::dsb(crate::Dsb::IshSt);
    Machine::isb();
    expect("with the flag set", kernel(va, Access::Read), Ok(page))
}

fn kernel_page_from_el0(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    arena.map(va, page, Level::L3, RW)?;
    expect("from EL1", kernel(va, Access::Read), Ok(page))?;
    expect_that("EL0 cannot read a kernel page", user(va, Access::Read).err().map(drop))?;
    expect_that("EL0 cannot write a kernel page", user(va, Access::Write).err().map(drop))?;
    let (root, _) = arena.user(page, RW | PteFlags::NOT_GLOBAL)?;
    Machine::set_user_root(Some((root, arena.asids()[0])));
    let denied = Err(FaultStatus::Permission(Level::L3));
    expect("a kernel page in the user half", user(USER_VA, Access::Read), denied)
}

fn user_rights(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let page = arena.page()?;
    let (root, at) = arena.user(page, PteFlags::USER_RO)?;
    let asid = arena.asids()[0];
    Machine::set_user_root(Some((root, asid)));
    expect("a read", user(USER_VA, Access::Read), Ok(page))?;
    expect("a write", user(USER_VA, Access::Write), Err(FaultStatus::Permission(Level::L3)))?;
    Machine::write_desc(at, Desc::leaf(page, Level::L3, PteFlags::USER_RW));
    let tag = Tag::Asid(asid);
    let op = Tlbi::Va { va: USER_VA, tag, depth: Depth::LeafOnly, level: Some(Level::L3) };
    flush(op, FlushScope::Broadcast);
    expect("a write after", user(USER_VA, Access::Write), Ok(page))
}

fn asids(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let pages = [arena.page()?, arena.page()?];
    let asids = arena.asids();
    let mut spaces = [(PhysAddr::new(0), asids[0]); 2];
    for n in 0..2 {
        spaces[n] = (arena.user(pages[n], PteFlags::USER_RW)?.0, asids[n]);
    }
    for n in [0, 1, 0] {
        Machine::set_user_root(Some(spaces[n]));
        expect_that("the root reads back", (Machine::user_root() == Some(spaces[n])).then_some(()))?;
        expect("the page of this root", user(USER_VA, Access::Read), Ok(pages[n]))?;
    }
    Machine::set_user_root(None);
    expect_that("the empty root reads back", Machine::user_root().is_none().then_some(()))?;
    expect_that("the empty root maps nothing", user(USER_VA, Access::Read).err().map(drop))
}

fn flush_asid(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let page = arena.page()?;
    let (root, at) = arena.user(page, PteFlags::USER_RW)?;
    let asid = arena.asids()[1];
    Machine::set_user_root(Some((root, asid)));
    expect("the page", user(USER_VA, Access::Read), Ok(page))?;
    Machine::write_desc(at, Desc::INVALID);
    flush(Tlbi::Asid(asid), FlushScope::Broadcast);
    let gone = Err(FaultStatus::Translation(Level::L3));
    expect("after the flush", user(USER_VA, Access::Read), gone)
}

fn user_copy(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let page = arena.page()?;
    let (root, _) = arena.user(page, PteFlags::USER_RW)?;
    Machine::set_user_root(Some((root, arena.asids()[0])));
    let at = USER_VA.add(PAGE_SIZE - 8);
    expect_that("a copy to the user succeeds", Machine::copy_to_user(at, &PATTERN.to_le_bytes()).ok())?;
    expect_value("the copied word", word(page.add(PAGE_SIZE - 8)), PATTERN)?;
    let mut back = [0; 8];
    expect_that("a copy from the user succeeds", Machine::copy_from_user(&mut back, at).ok())?;
    expect_value("the word copied back", u64::from_le_bytes(back), PATTERN)
}
