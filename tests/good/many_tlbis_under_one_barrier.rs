//! Three pages far apart are broken, flushed by three TLBIs and one barrier, and made.
//!
//! ```text
//!     store  all -> 0; DSB ISHST
//!     TLBI VAAE1IS KVA; TLBI VAAE1IS KVA + 1G; TLBI VAAE1IS KVA + 2G
//!     DSB ISH
//!     store  all -> B
//! ```
//! The DSB completes every TLBI that this vCPU has issued before it (D8.14.5).

use tests::lab::*;

/// One wait for three flushes.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let addresses = [0, 1 << 30, 2 << 30].map(|offset| KVA.add(offset));
        let slots = addresses.map(|va| lab.map(va, A, RW));
        for slot in slots {
            Machine::write_desc(slot, Desc::INVALID);
        }
        Machine::dsb(Dsb::IshSt);
        for va in addresses {
            Machine::tlbi(everything_at(va), FlushScope::Broadcast);
        }
        Machine::dsb(Dsb::Ish);
        for slot in slots {
            make(slot, page(B, RW));
        }
        assert_eq!(addresses.map(kernel_read), [Ok(B); 3]);
    });
}
