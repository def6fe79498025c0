//! One page of the kernel's half: made, used, changed, taken away.

use super::*;
use crate::contract::Dsb;
use crate::pte::HwDirty;

pub(super) fn make(arena: &mut Arena<'_>) -> Result<(), Failure> {
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

pub(super) fn aliases(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let other = va.add(Level::L2.entry_bytes() - PAGE_SIZE);
    arena.map(va, page, Level::L3, RW)?;
    arena.map(other, page, Level::L3, RO)?;
    store(va.add(16), PATTERN);
    expect_value("a load at the other address", load(other.add(16)), PATTERN)?;
    expect("a write at the other address", kernel(other, Access::Write), denied())
}

/// What a write to a read-only page takes.
fn denied() -> Translation {
    Err(FaultStatus::Permission(Level::L3))
}

pub(super) fn unmap(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let at = arena.map(va, page, Level::L3, RW)?;
    expect("the page", kernel(va, Access::Read), Ok(page))?;
    expect_value("a load", load(va), 0)?;
    change(at, Desc::INVALID, va);
    expect("after the flush", kernel(va, Access::Read), GONE)
}

pub(super) fn tighten(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let at = arena.map(va, page, Level::L3, RW)?;
    store(va, PATTERN);
    change(at, Desc::leaf(page, Level::L3, RO), va);
    expect("a write", kernel(va, Access::Write), Err(FaultStatus::Permission(Level::L3)))?;
    expect("a read", kernel(va, Access::Read), Ok(page))?;
    expect_value("a load", load(va), PATTERN)
}

pub(super) fn relax(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let at = arena.map(va, page, Level::L3, RO)?;
    expect("a write before", kernel(va, Access::Write), Err(FaultStatus::Permission(Level::L3)))?;
    change(at, Desc::leaf(page, Level::L3, RW), va);
    expect("a write after", kernel(va, Access::Write), Ok(page))?;
    store(va, PATTERN);
    expect_value("a store", word(page), PATTERN)
}

pub(super) fn cas_live(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let at = arena.map(va, page, Level::L3, RW)?;
    let [rw, ro] = [RW, RO].map(|flags| Desc::leaf(page, Level::L3, flags));
    store(va, PATTERN);
    let lost = Machine::cas_desc(at, ro, Desc::INVALID).err();
    expect_that("a swap of another descriptor loses and tells it", (lost == Some(rw)).then_some(()))?;
    expect_value("after the lost swap", load(va), PATTERN)?;
    expect_that("a swap of the present descriptor wins", Machine::cas_desc(at, rw, ro).ok())?;
    flush(leaf(va, Some(Level::L3)), FlushScope::Broadcast);
    expect("a write after", kernel(va, Access::Write), denied())?;
    expect_value("a load after", load(va), PATTERN)
}

pub(super) fn break_and_make(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, from, to) = (arena.window(), arena.page()?, arena.page()?);
    set_word(to, PATTERN);
    let at = arena.map(va, from, Level::L3, RW)?;
    expect_value("a load before", load(va), 0)?;
    change(at, Desc::INVALID, va);
    arena.make(at, Desc::leaf(to, Level::L3, RW), Level::L3)?;
    expect("after", kernel(va, Access::Write), Ok(to))?;
    expect_value("a load after", load(va), PATTERN)
}

pub(super) fn repoint(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, from, to) = (arena.window(), arena.page()?, arena.page()?);
    set_word(from, PATTERN);
    Machine::copy(to, from, PAGE_SIZE);
    let at = arena.map(va, from, Level::L3, RO)?;
    expect_value("a load before", load(va), PATTERN)?;
    change(at, Desc::leaf(to, Level::L3, RO), va);
    expect("after", kernel(va, Access::Read), Ok(to))?;
    expect_value("a load after", load(va), PATTERN)
}

pub(super) fn software_bits(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let at = arena.map(va, page, Level::L3, RW)?;
    store(va, PATTERN);
    let marked = Desc::from_raw(Desc::leaf(page, Level::L3, RW).raw() | 0xf << 55);
    Machine::write_desc(at, marked);
    expect("the page", kernel(va, Access::Write), Ok(page))?;
    expect_value("a load", load(va), PATTERN)?;
    expect_value("the descriptor", Machine::read_desc(at).raw(), marked.raw())
}

pub(super) fn execute(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let at = arena.map(va, page, Level::L3, RW)?;
    expect("a fetch of data", kernel(va, Access::Execute), denied())?;
    Machine::sync_icache(page, PAGE_SIZE);
    change(at, Desc::leaf(page, Level::L3, PteFlags::KERNEL_RX), va);
    expect("a fetch of code", kernel(va, Access::Execute), Ok(page))?;
    expect("a load of code", kernel(va, Access::Read), Ok(page))?;
    expect("a store to code", kernel(va, Access::Write), denied())?;
    change(at, Desc::leaf(page, Level::L3, RO), va);
    expect("a fetch after the right is gone", kernel(va, Access::Execute), denied())
}

pub(super) fn access_flag(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let at = arena.map(va, page, Level::L3, RW.difference(PteFlags::ACCESSED))?;
    let clear = match Machine::hw_dirty() {
        HwDirty::Enabled => Ok(page),
        HwDirty::Disabled => Err(FaultStatus::AccessFlag(Level::L3)),
    };
    expect("with the flag clear", kernel(va, Access::Read), clear)?;
    Machine::write_desc(at, Desc::leaf(page, Level::L3, RW));
    Machine::dsb(Dsb::IshSt);
    Machine::isb();
    expect("with the flag set", kernel(va, Access::Read), Ok(page))
}

pub(super) fn dirty_state(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    let clean = RO | PteFlags::DBM;
    let at = arena.map(va, page, Level::L3, clean)?;
    let stored = Desc::leaf(page, Level::L3, clean);
    match Machine::hw_dirty() {
        HwDirty::Disabled => expect("a write", kernel(va, Access::Write), denied()),
        HwDirty::Enabled => {
            store(va, PATTERN);
            let dirty = Desc::leaf(page, Level::L3, RW | PteFlags::DBM);
            expect_value("the descriptor", Machine::read_desc(at).raw(), dirty.raw())?;
            let lost = Machine::cas_desc(at, stored, Desc::INVALID).err();
            expect_that("a swap loses against the hardware's update", (lost == Some(dirty)).then_some(()))
        }
    }
}
