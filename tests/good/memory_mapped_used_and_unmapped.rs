//! What `mm` makes of all this: memory is mapped, used on a page fault, protected, and unmapped.
//!
//! ```text
//!     mmap   16 pages             nothing is backed yet
//!     write  each                 page faults: make
//!     mprotect read               tighten: flush
//!     munmap                      unmap: flush, free
//! ```
//! The sequences of this folder in one go, written by nobody but `mm::pgtable`.

use mm::space::{MapProt, MmapRequest};
use mm::testkit::{Builder, with_space};
use tests::lab::*;

/// Each step as the user sees it.
pub(crate) fn run(machine: MachineDesc) {
    const BYTES: u64 = GROUP * PAGE_SIZE;
    let builder = Builder::new().machine(|own| *own = small(machine));
    with_space(&builder, |mm, _, space| {
        let request = MmapRequest::anonymous(BYTES, MapProt::READ | MapProt::WRITE);
        let va = mm.mmap(space, &request).expect("sixteen pages can be mapped");
        for n in 0..GROUP {
            assert_eq!(user_store(va.add(n * PAGE_SIZE), n), Ok(()));
        }
        assert_eq!(mm.mprotect(space, va.raw(), BYTES, MapProt::READ), Ok(()));
        assert_eq!(user_store(va, 1), Err(UserFault(va)));
        assert_eq!(user_load(va.add(PAGE_SIZE)), Ok(1));
        assert_eq!(mm.munmap(space, va.raw(), BYTES), Ok(()));
        assert_eq!(user_load(va), Err(UserFault(va)));
    });
}
