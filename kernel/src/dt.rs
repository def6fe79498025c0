//! The device tree: everything that the kernel knows of the machine before it touches it.
//!
//! The tree is checked once and boiled down to a [`Platform`]; nobody looks at the tree afterwards. What is
//! missing or makes no sense is an error with a sentence, never a guess.

use core::fmt;

use arch::PhysAddr;
use arch::aarch64::gic::{Affinity, Interrupt};
use arch::aarch64::psci::Conduit;
use arch::contract::MAX_CPUS;
use arch::layout::linear;
use arrayvec::ArrayVec;
use dtoolkit::error::FdtParseError;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::NodeStandard;
use dtoolkit::{Node, Property};
use mm::boot::PhysRange;

/// Ranges of memory that are looked at; more are left unused.
pub const MAX_RANGES: usize = 16;
/// The clock of QEMU's PL011, for a tree that does not name it.
const DEFAULT_UART_CLOCK: u32 = 24_000_000;

/// The machine.
#[derive(Debug)]
pub struct Platform {
    /// RAM.
    pub memory: ArrayVec<PhysRange, MAX_RANGES>,
    /// RAM that is in use: the tree itself, the initrd, what the tree reserves.
    pub reserved: ArrayVec<PhysRange, MAX_RANGES>,
    /// The CPUs, in the order of the tree.
    pub cpus: ArrayVec<Affinity, MAX_CPUS>,
    /// CPUs beyond [`MAX_CPUS`], which stay off.
    pub cpus_left_off: usize,
    /// How PSCI is called.
    pub conduit: Conduit,
    /// GICv3 distributor.
    pub distributor: PhysRange,
    /// GICv3 redistributors.
    pub redistributors: PhysRange,
    /// PL011 registers.
    pub uart: PhysRange,
    /// PL011 receive interrupt.
    pub uart_interrupt: Interrupt,
    /// PL011 input clock in Hz.
    pub uart_clock: u32,
    /// Virtual timer interrupt.
    pub timer: Interrupt,
    /// Boot arguments.
    pub boot_args: &'static str,
    /// Initial RAM disk.
    pub initrd: Option<PhysRange>,
}

/// Why there is no [`Platform`].
#[derive(Debug)]
pub enum DtError {
    /// The boot loader gave no tree.
    NoTree,
    /// It stands where the early tables do not reach.
    OutOfReach(PhysAddr),
    /// It is damaged.
    Damaged(FdtParseError),
    /// A node is not there.
    Missing(&'static str),
    /// A property of this node is missing or malformed.
    Malformed(&'static str, &'static str),
}

impl fmt::Display for DtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DtError::NoTree => {
                write!(f, "the boot loader gave no device tree: boot the flat image, not the ELF file")
            }
            DtError::OutOfReach(pa) => write!(f, "the device tree at {pa} is too far from the kernel"),
            DtError::Damaged(error) => write!(f, "the device tree is damaged: {error}"),
            DtError::Missing(node) => write!(f, "the device tree has no {node}"),
            DtError::Malformed(node, property) => {
                write!(f, "the device tree's {node} has no usable '{property}'")
            }
        }
    }
}

impl From<FdtParseError> for DtError {
    fn from(error: FdtParseError) -> Self {
        DtError::Damaged(error)
    }
}

/// First word of a device tree.
const MAGIC: u32 = 0xd00d_feed;
/// More than any device tree: QEMU leaves room in the trees that it makes, a few MiB at most.
const MAX_BYTES: u32 = 16 << 20;

/// The blob at `pa`, through the linear map.
fn blob(pa: PhysAddr) -> Result<&'static [u8], DtError> {
    if pa == PhysAddr::new(0) {
        return Err(DtError::NoTree);
    }
    if !arch::aarch64::boot::device_tree_in_reach(pa) {
        return Err(DtError::OutOfReach(pa));
    }
    let at = core::ptr::with_exposed_provenance::<u8>(linear(pa).raw() as usize);
    let word = |offset: usize| {
        // SAFETY: the boot protocol puts a tree at `pa`, 8-byte aligned, which the early tables map; these
        // are words of its header, and nobody writes it.
        u32::from_be(unsafe { at.add(offset).cast::<u32>().read() })
    };
    if !pa.is_aligned(8) || word(0) != MAGIC || word(4) > MAX_BYTES {
        return Err(DtError::NoTree);
    }
    // SAFETY: as above, for the length that the header tells; the range is reserved, so it stays.
    Ok(unsafe { core::slice::from_raw_parts(at, word(4) as usize) })
}

/// Reads the tree at `pa`.
///
/// # Errors
/// [`DtError`], with the node or property.
pub fn read(pa: PhysAddr) -> Result<Platform, DtError> {
    let blob = blob(pa)?;
    let tree = Fdt::new(blob)?;
    let root = tree.root();
    let (cpus, cpus_left_off) = cpus(tree)?;
    let gic = compatible(root, "arm,gic-v3", "GICv3 (-M virt,gic-version=3)")?;
    let mut gic_regs = regs(gic, "interrupt controller")?;
    let uart = compatible(root, "arm,pl011", "PL011")?;
    let timer = compatible(root, "arm,armv8-timer", "architected timer")?;
    let initrd = initrd(tree)?;
    let mut platform = Platform {
        memory: memory(tree)?,
        reserved: reserved(tree),
        cpus,
        cpus_left_off,
        conduit: conduit(root)?,
        distributor: next_reg(&mut gic_regs, "interrupt controller")?,
        redistributors: next_reg(&mut gic_regs, "interrupt controller")?,
        uart: next_reg(&mut regs(uart, "UART")?, "UART")?,
        uart_interrupt: interrupt(uart, 0, "UART")?,
        uart_clock: uart_clock(root, uart).unwrap_or(DEFAULT_UART_CLOCK),
        // Secure, non-secure, virtual, hypervisor (Linux bindings/timer/arm,arch_timer.yaml).
        timer: interrupt(timer, 2, "timer")?,
        boot_args: boot_args(tree)?,
        initrd,
    };
    let tree_range = PhysRange { start: pa, end: pa.add(blob.len() as u64) };
    for range in [Some(tree_range), initrd].into_iter().flatten() {
        platform.reserved.try_push(range).map_err(|_| DtError::Malformed("reserved-memory", "reg"))?;
    }
    Ok(platform)
}

fn compatible<'a>(root: FdtNode<'a>, name: &str, what: &'static str) -> Result<FdtNode<'a>, DtError> {
    let okay = |node: &FdtNode<'a>| node.property("status").is_none_or(|status| status.value() == b"okay\0");
    root.children().find(|node| node.is_compatible(name) && okay(node)).ok_or(DtError::Missing(what))
}

fn regs<'a>(node: FdtNode<'a>, what: &'static str) -> Result<impl Iterator<Item = PhysRange> + 'a, DtError> {
    let regs = node.reg().ok().flatten().ok_or(DtError::Malformed(what, "reg"))?;
    Ok(regs.filter_map(|reg| range(reg.address().ok()?, reg.size().ok()?)))
}

/// A range that is not empty and does not wrap.
fn range(start: u64, bytes: u64) -> Option<PhysRange> {
    let start = PhysAddr::new(start);
    let end = start.checked_add(bytes)?;
    (bytes > 0).then_some(PhysRange { start, end })
}

fn next_reg(regs: &mut impl Iterator<Item = PhysRange>, what: &'static str) -> Result<PhysRange, DtError> {
    regs.next().ok_or(DtError::Malformed(what, "reg"))
}

fn memory(tree: Fdt<'_>) -> Result<ArrayVec<PhysRange, MAX_RANGES>, DtError> {
    let mut ranges = ArrayVec::new();
    for node in tree.root().children().filter(|node| node.name_without_address() == "memory") {
        for range in regs(node, "memory")? {
            if ranges.try_push(range).is_err() {
                break;
            }
        }
    }
    if ranges.is_empty() { Err(DtError::Missing("memory")) } else { Ok(ranges) }
}

/// What the tree reserves: the memory reservation block and `/reserved-memory`.
fn reserved(tree: Fdt<'_>) -> ArrayVec<PhysRange, MAX_RANGES> {
    let block = tree.memory_reservations().filter_map(|entry| range(entry.address(), entry.size()));
    let nodes = tree.find_node("/reserved-memory").into_iter().flat_map(|node| node.children());
    let named = nodes.filter_map(|node| regs(node, "reserved-memory").ok()).flatten();
    // Two places stay free for the tree and the initrd.
    block.chain(named).take(MAX_RANGES - 2).collect()
}

fn cpus(tree: Fdt<'_>) -> Result<(ArrayVec<Affinity, MAX_CPUS>, usize), DtError> {
    let (mut found, mut left_off) = (ArrayVec::new(), 0);
    for cpu in tree.cpus().map_err(|_| DtError::Missing("cpus"))?.cpus() {
        let id = cpu.ids().ok().and_then(|mut ids| ids.next());
        let id = id.and_then(|id| dtoolkit::ToCellInt::to_int::<u64>(id).ok());
        let affinity = Affinity::new(id.ok_or(DtError::Malformed("cpu", "reg"))?);
        if found.try_push(affinity).is_err() {
            left_off += 1;
        }
    }
    if found.is_empty() { Err(DtError::Missing("cpu")) } else { Ok((found, left_off)) }
}

fn conduit(root: FdtNode<'_>) -> Result<Conduit, DtError> {
    let node = ["arm,psci-1.0", "arm,psci-0.2"]
        .into_iter()
        .find_map(|name| compatible(root, name, "PSCI").ok())
        .ok_or(DtError::Missing("PSCI"))?;
    match node.property("method").and_then(|method| method.value_as::<&str>().ok()) {
        Some("hvc") => Ok(Conduit::Hvc),
        Some("smc") => Ok(Conduit::Smc),
        _ => Err(DtError::Malformed("PSCI", "method")),
    }
}

/// The interrupt at `index` of a node: three cells each (type, number, flags).
fn interrupt(node: FdtNode<'_>, index: usize, what: &'static str) -> Result<Interrupt, DtError> {
    let malformed = DtError::Malformed(what, "interrupts");
    let Some(property) = node.property("interrupts") else { return Err(malformed) };
    let cell = |at: usize| {
        let bytes = property.value().get(at * 4..at * 4 + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let specifier = cell(index * 3).zip(cell(index * 3 + 1));
    specifier.and_then(|(kind, number)| Interrupt::from_specifier(kind, number)).ok_or(malformed)
}

/// The frequency of the clock that the UART's `clocks` names first.
fn uart_clock(root: FdtNode<'_>, uart: FdtNode<'_>) -> Option<u32> {
    let clocks = uart.property("clocks")?;
    let phandle = u32::from_be_bytes(clocks.value().get(..4)?.try_into().ok()?);
    let clock = root.children().find(|node| node.phandle().ok().flatten() == Some(phandle))?;
    clock.property("clock-frequency")?.value_as::<u32>().ok()
}

fn boot_args(tree: Fdt<'static>) -> Result<&'static str, DtError> {
    let Some(chosen) = tree.find_node("/chosen") else { return Ok("") };
    match chosen.property("bootargs") {
        None => Ok(""),
        Some(args) => args.value_as::<&str>().map_err(|_| DtError::Malformed("chosen", "bootargs")),
    }
}

/// `linux,initrd-start` and `-end`, each one or two cells.
fn initrd(tree: Fdt<'_>) -> Result<Option<PhysRange>, DtError> {
    let Some(chosen) = tree.find_node("/chosen") else { return Ok(None) };
    let address = |name: &'static str| match chosen.property(name) {
        None => Ok(None),
        Some(property) => match property.value() {
            [a, b, c, d] => Ok(Some(u64::from(u32::from_be_bytes([*a, *b, *c, *d])))),
            _ => property.value_as::<u64>().map(Some).map_err(|_| DtError::Malformed("chosen", name)),
        },
    };
    let (start, end) = (address("linux,initrd-start")?, address("linux,initrd-end")?);
    Ok(start
        .zip(end)
        .filter(|(start, end)| start < end)
        .map(|(start, end)| PhysRange { start: PhysAddr::new(start), end: PhysAddr::new(end) }))
}
