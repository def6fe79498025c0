//! stub
use crate::addr::*;
use crate::contract::*;
use crate::features::*;
use crate::pte::*;
/// m
#[derive(Debug)]
pub struct Machine;
impl PhysMem for Machine {
    fn read_desc(_: PhysAddr) -> Desc {
        todo!()
    }
    fn write_desc(_: PhysAddr, _: Desc) {
        todo!()
    }
    fn cas_desc(_: PhysAddr, _: Desc, _: Desc) -> Result<(), Desc> {
        todo!()
    }
    fn zero(_: PhysAddr, _: u64) {
        todo!()
    }
    fn copy(_: PhysAddr, _: PhysAddr, _: u64) {
        todo!()
    }
    fn equal(_: PhysAddr, _: PhysAddr, _: u64) -> bool {
        todo!()
    }
    fn read_bytes(_: PhysAddr, _: &mut [u8]) {
        todo!()
    }
    fn write_bytes(_: PhysAddr, _: &[u8]) {
        todo!()
    }
    fn sync_icache(_: PhysAddr, _: u64) {
        todo!()
    }
}
impl Mmu for Machine {
    fn features() -> Features {
        todo!()
    }
    fn hw_dirty() -> HwDirty {
        todo!()
    }
    fn kernel_root() -> PhysAddr {
        todo!()
    }
    fn set_kernel_root(_: PhysAddr) {
        todo!()
    }
    fn user_root() -> Option<(PhysAddr, Asid)> {
        todo!()
    }
    fn set_user_root(_: Option<(PhysAddr, Asid)>) {
        todo!()
    }
    fn tlbi(_: Tlbi, _: FlushScope) {
        todo!()
    }
    fn dsb(_: Dsb) {
        todo!()
    }
    fn isb() {
        todo!()
    }
    fn kernel_access(_: VirtAddr, _: Access) -> *mut u8 {
        todo!()
    }
    fn translate(_: VirtAddr, _: Access, _: Privilege) -> Result<PhysAddr, FaultStatus> {
        todo!()
    }
}
impl Cpu for Machine {
    fn id() -> CpuId {
        todo!()
    }
    fn mask_irqs() -> IrqState {
        todo!()
    }
    fn restore_irqs(_: IrqState) {
        todo!()
    }
    fn relax() {
        todo!()
    }
    fn interleave() {
        todo!()
    }
}
impl UserMem for Machine {
    fn copy_from_user(_: &mut [u8], _: VirtAddr) -> Result<(), UserFault> {
        todo!()
    }
    fn copy_to_user(_: VirtAddr, _: &[u8]) -> Result<(), UserFault> {
        todo!()
    }
}
