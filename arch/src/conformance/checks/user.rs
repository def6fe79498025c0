//! EL0's rights, and the kernel's copies with them.

use super::*;
use crate::contract::{UserFault, UserMem};

pub(super) fn kernel_page_from_el0(arena: &mut Arena<'_>) -> Result<(), Failure> {
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

pub(super) fn user_rights(arena: &mut Arena<'_>) -> Result<(), Failure> {
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

pub(super) fn user_copy(arena: &mut Arena<'_>) -> Result<(), Failure> {
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

pub(super) fn user_copy_fails(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let page = arena.page()?;
    let (root, _) = arena.user(page, PteFlags::USER_RO)?;
    Machine::set_user_root(Some((root, arena.asids()[0])));
    let end = USER_VA.add(PAGE_SIZE);
    let mut bytes = [0; 16];
    let read = Machine::copy_from_user(&mut bytes, end.add(0x40));
    expect_that("an unmapped page is not read", (read == Err(UserFault(end.add(0x40)))).then_some(()))?;
    let written = Machine::copy_to_user(USER_VA, &bytes);
    expect_that("a read-only page is not written", (written == Err(UserFault(USER_VA))).then_some(()))?;
    let across = Machine::copy_from_user(&mut bytes, VirtAddr::new(end.raw() - 8));
    expect_that("a copy stops where its page ends", (across == Err(UserFault(end))).then_some(()))
}
