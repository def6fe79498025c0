//! User memory as a program sees it: address spaces whose faults are resolved.
//!
//! ```
//! use mm::space::{MapProt, MmapRequest};
//! use mm::testkit::{Builder, spaces};
//!
//! spaces::with_space(&Builder::new(), |mm, space| {
//!     let request = MmapRequest::anonymous(4096, MapProt::READ | MapProt::WRITE);
//!     let va = mm.mmap(space, &request).unwrap();
//!     arch::model::user_store(va, 7).unwrap();
//!     assert_eq!(arch::model::user_load(va), Ok(7));
//! });
//! ```

use arch::contract::Privilege;
use arch::model;
use arch::{Access, Machine, Mmu, VirtAddr};

use super::Builder;
use crate::Mm;
use crate::fault::FaultInfo;
use crate::kalloc::KArc;
use crate::space::AddressSpace;

/// Boots, makes an address space, runs `f` with it active on vCPU 0 and its faults resolved, and ends it.
///
/// # Panics
/// Any count of a mapping is wrong, or a page is missing after the end of the space.
pub fn with_space(machine: &Builder, f: impl FnOnce(&Mm, &KArc<AddressSpace>)) {
    machine.clone().boot(|mm, _| {
        let before = mm.free_page_count();
        let space = mm.new_space().expect("there is memory for an address space");
        mm.activate_space(Some(&space));
        resolving(mm, &[&space], || f(mm, &space));
        mm.activate_space(None);
        check(mm, &[&space]);
        mm.destroy_space(&space);
        check(mm, &[]);
        assert_eq!(mm.free_page_count(), before, "pages are missing after the end of the space");
    });
}

/// Runs `f` while faults on any vCPU are resolved for the one of `spaces` that is active there.
pub fn resolving<R>(mm: &Mm, spaces: &[&KArc<AddressSpace>], f: impl FnOnce() -> R) -> R {
    let resolve = |va: VirtAddr, access: Access, status| {
        let Some((root, _)) = Machine::user_root() else { return false };
        let space = spaces.iter().find(|space| space.root() == root);
        let info = FaultInfo { va, access, privilege: Privilege::User, status };
        space.is_some_and(|space| mm.handle_mm_fault(space, &info).is_ok())
    };
    model::with_fault_handler(&resolve, f)
}

/// Checks every count of `spaces`, which are all that there are.
///
/// # Panics
/// With the first thing that is wrong.
pub fn check(mm: &Mm, spaces: &[&AddressSpace]) {
    if let Err(wrong) = mm.check_spaces(spaces) {
        panic!("{wrong}");
    }
}
