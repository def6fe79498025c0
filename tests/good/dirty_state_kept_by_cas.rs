//! A clean page is made unwritable by compare and swap while another vCPU writes it.
//!
//! ```text
//!     vCPU 0                      vCPU 1
//!     UVA -> A r- DBM: clean      writes: hardware clears AP[2]
//!     cas until it holds: r-, no DBM; flush
//!     dirty, if that swap found AP[2] clear
//! ```
//! Either the write comes first and the swap sees the dirty page, or the write faults (D8.5.3).

use tests::lab::*;

/// A page that was written is never thought clean.
pub(crate) fn run(machine: MachineDesc) {
    const CLEAN: Desc = page(A, USER_RO.union(PteFlags::DBM));
    on(with_hw_dirty(machine), |mut lab| {
        start_vcpu_1();
        let slot = lab.map(UVA, A, USER_RO | PteFlags::DBM);
        let (mut found, mut written) = (CLEAN, Ok(()));
        let protects = || {
            while let Err(now) = Machine::cas_desc(slot, found, page(A, USER_RO)) {
                found = now;
            }
            flush(UVA);
        };
        run_on_cpus(vec![Box::new(protects), Box::new(|| written = user_store(UVA, 1))]);
        assert!(written.is_err() || found.grants_write(HwDirty::Disabled), "{found} was written");
    });
}
