//! A contiguous group is made read-only, member by member.
//!
//! ```text
//!     UVA + n -> A + n rw C       16 pages, live
//!     store  UVA + n -> A + n r- C n = 0 .. 15
//!     DSB ISHST; TLBI RVAALE1IS UVA, 16 pages; DSB ISH
//! ```
//! A right is taken away without a break (R_GPPYH); until the flush any page of the group may still be written.

use tests::lab::*;

/// After the flush no write succeeds.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let first = lab.map_group(UVA, A, USER_RW);
        make_group(first, A, USER_RO | CONTIGUOUS);
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::LeafOnly, Some(Level::L3));
        flush_by(Tlbi::Range { start: UVA, pages: GROUP, tag, depth, level }, FlushScope::Broadcast);
        let last = UVA.add(15 * PAGE_SIZE);
        assert_eq!(user_store(last, 1), Err(UserFault(last)));
        assert_eq!(user_load(last), Ok(0));
    });
}
