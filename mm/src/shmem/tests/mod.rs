//! Objects on the model: loads and stores of several spaces fault, walk tables and use TLBs as on the machine.

mod bytes;
mod exhaust;
mod private;
mod races;
mod share;
mod size;

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;

use super::*;
use crate::Mm;
use crate::fault::{FaultError, FaultReason};
use crate::kalloc::KArc;
use crate::space::{AddressSpace, MapFlags, MapProt, MmapRequest};
use crate::testkit::{Builder, HostEnv, check};

const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
const BASE: VirtAddr = VirtAddr::new(0x4000_0000);

fn at(page: u64) -> VirtAddr {
    BASE.add(page * PAGE_SIZE)
}

/// `pages` pages at [`BASE`].
fn request(pages: u64, flags: MapFlags) -> MmapRequest {
    let request = MmapRequest::anonymous(pages * PAGE_SIZE, RW).fixed(BASE.raw());
    MmapRequest { flags: flags | MapFlags::FIXED, ..request }
}

/// Maps all of the object at [`BASE`], from page `first` of it on.
fn map(mm: &Mm, space: &KArc<AddressSpace>, object: &ObjectUse, pages: u64, first: u64, flags: MapFlags) {
    let request = MmapRequest { offset: first * PAGE_SIZE, ..request(pages, flags) };
    mm.mmap_object(space, &request, object).unwrap();
}

fn write(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr, value: u64) -> Result<(), FaultError> {
    mm.write_user(space, va, &value.to_le_bytes())
}

fn read(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr) -> Result<u64, FaultError> {
    let mut bytes = [0; 8];
    mm.read_user(space, va, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Runs `f` with `N` spaces, which end after it; nothing is lost.
fn with_spaces<const N: usize>(f: impl FnOnce(&Mm, [&KArc<AddressSpace>; N])) {
    Builder::new().ram_mib(32).boot(|mm, _: &HostEnv| {
        let before = mm.free_page_count();
        let spaces = [(); N].map(|()| mm.new_space().unwrap());
        f(mm, spaces.each_ref());
        check(mm);
        spaces.iter().for_each(|space| mm.destroy_space(space));
        assert!(mm.objects.is_empty(), "an object was left behind");
        check(mm);
        assert_eq!(mm.free_page_count(), before, "pages are missing");
    });
}

fn is_beyond(result: Result<u64, FaultError>) -> bool {
    result.is_err_and(|error| error.reason == FaultReason::BeyondObject)
}
