//! Memory without translation, and the CPU.

use super::*;
use crate::contract::{Cpu, MAX_CPUS};

pub(super) fn stores_read_back(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let page = arena.page()?;
    let desc = Desc::leaf(page, Level::L3, RW);
    Machine::write_desc(page.add(8), desc);
    expect_value("the descriptor", Machine::read_desc(page.add(8)).raw(), desc.raw())?;
    expect_value("its memory", word(page.add(8)), desc.raw())?;
    expect_value("its neighbour", word(page), 0)
}

pub(super) fn cas_compares(arena: &mut Arena<'_>) -> Result<(), Failure> {
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

pub(super) fn bulk(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (a, b) = (arena.page()?, arena.page()?);
    set_word(a.add(PAGE_SIZE - 8), PATTERN);
    expect_that("different pages differ", (!Machine::equal(a, b, PAGE_SIZE)).then_some(()))?;
    Machine::copy(b, a, PAGE_SIZE);
    expect_value("the last word copied", word(b.add(PAGE_SIZE - 8)), PATTERN)?;
    expect_that("a copy is equal", Machine::equal(a, b, PAGE_SIZE).then_some(()))?;
    Machine::zero(b, PAGE_SIZE);
    expect_value("the last word zeroed", word(b.add(PAGE_SIZE - 8)), 0)?;
    Machine::fill(a.add(64), PAGE_SIZE - 64, [PATTERN, 7]);
    expect_value("before what is filled", word(a.add(56)), 0)?;
    expect_value("the first word of the last line", word(a.add(PAGE_SIZE - 64)), PATTERN)?;
    expect_value("the second", word(a.add(PAGE_SIZE - 56)), 7)?;
    expect_value("the last", word(a.add(PAGE_SIZE - 8)), 0)
}

pub(super) fn code(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let page = arena.page()?;
    set_word(page.add(64), PATTERN);
    Machine::sync_icache(page.add(64), 64);
    Machine::sync_icache(page, PAGE_SIZE);
    expect_value("the code", word(page.add(64)), PATTERN)?;
    expect_value("what is before it", word(page.add(56)), 0)
}

pub(super) fn masks_nest(_: &mut Arena<'_>) -> Result<(), Failure> {
    let outer = Machine::mask_irqs();
    let inner = Machine::mask_irqs();
    Machine::restore_irqs(inner);
    let still = Machine::mask_irqs();
    Machine::restore_irqs(outer);
    expect_that("restoring an inner mask keeps the outer one", (inner == still).then_some(()))
}

pub(super) fn cpu_number(_: &mut Arena<'_>) -> Result<(), Failure> {
    let id = Machine::id();
    Machine::relax();
    Machine::interleave();
    expect_that("a CPU keeps its number", (Machine::id() == id).then_some(()))?;
    expect_that("the number is below the limit", (id.index() < MAX_CPUS).then_some(()))
}
