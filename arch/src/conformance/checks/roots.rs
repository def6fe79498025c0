//! Roots, ASIDs, and where a walk ends.

use super::*;

pub(super) fn fault_levels(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let page = arena.page()?;
    let (root, _) = arena.user(page, PteFlags::USER_RW)?;
    Machine::set_user_root(Some((root, arena.asids()[0])));
    expect("the page", user(USER_VA, Access::Read), Ok(page))?;
    for level in Level::ALL {
        let neighbour = USER_VA.add(level.entry_bytes());
        expect("its neighbour", user(neighbour, Access::Read), Err(FaultStatus::Translation(level)))?;
    }
    Ok(())
}

pub(super) fn neither_half(_: &mut Arena<'_>) -> Result<(), Failure> {
    let fault = Err(FaultStatus::Translation(Level::L0));
    for va in [0x0001_0000_0000_0000, 0xfffe_ffff_ffff_f000] {
        expect("an address of neither half", kernel(VirtAddr::new(va), Access::Read), fault)?;
    }
    Ok(())
}

pub(super) fn kernel_root(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page, copy) = (arena.window(), arena.page()?, arena.page()?);
    arena.map(va, page, Level::L3, RW)?;
    let root = Machine::kernel_root();
    Machine::copy(copy, root, PAGE_SIZE);
    store(va, PATTERN);
    for table in [copy, root, root] {
        Machine::set_kernel_root(table);
        expect("the root reads back", Ok(Machine::kernel_root()), Ok(table))?;
        expect("the page", kernel(va, Access::Write), Ok(page))?;
        expect_value("a load", load(va), PATTERN)?;
    }
    Ok(())
}

pub(super) fn asids(arena: &mut Arena<'_>) -> Result<(), Failure> {
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

pub(super) fn asid_again(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let pages = [arena.page()?, arena.page()?];
    let asid = arena.asids()[0];
    for page in pages {
        let (root, _) = arena.user(page, PteFlags::USER_RW)?;
        Machine::set_user_root(Some((root, asid)));
        expect("the page of this root", user(USER_VA, Access::Write), Ok(page))?;
        Machine::set_user_root(None);
        flush(Tlbi::Asid(asid), FlushScope::Broadcast);
    }
    Ok(())
}

pub(super) fn global(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    arena.map(va, page, Level::L3, RW)?;
    store(va, PATTERN);
    let (root, _) = arena.user(page, PteFlags::USER_RW)?;
    for asid in arena.asids() {
        Machine::set_user_root(Some((root, asid)));
        expect("the kernel's page", kernel(va, Access::Read), Ok(page))?;
        expect_value("a load", load(va), PATTERN)?;
    }
    Ok(())
}
