//! `/proc/<pid>/maps`: a line for each VMA.
//!
//! ```text
//! start-end         rights  offset   device inode                    name, from column 74 on
//! 00410000-00412000 rw-p    00000000 00:00  0                        [heap]
//! ```
//! Memory without a name has none. Only memory that Linux has a file behind shows a device, an inode and an offset.
#![forbid(unsafe_code)]

use core::fmt;

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;

use super::lines::Lines;
use crate::Mm;
use crate::kalloc::KArc;
use crate::shmem::Object;
use crate::space::{AddressSpace, Prot, Vma, VmaKind};

/// The column before the name (Linux: `seq_setwidth` of `show_vma_header_prefix`).
const COLUMN: usize = 72;
/// Linux's file behind anonymous huge pages of the pool.
const HUGETLB_FILE: File = File { minor: 0x0e, inode: 1, name: "/anon_hugepage (deleted)" };
/// Linux's file behind shared memory without a name.
const OBJECT_FILE: File = File { minor: 0x01, inode: 0, name: "/dev/zero (deleted)" };
/// The file of a device.
const DEVICE_FILE: File = File { minor: 0x05, inode: 2, name: "/dev/quire-map" };

/// The file that Linux has behind a VMA, on a device of its own.
#[derive(Clone, Copy)]
struct File {
    minor: u64,
    inode: u64,
    name: &'static str,
}

fn file(vma: &Vma) -> Option<File> {
    match vma.kind {
        VmaKind::Anon => None,
        VmaKind::Hugetlb(_) => Some(HUGETLB_FILE),
        VmaKind::HugeShared(_, id) | VmaKind::HugePrivate(_, id) => {
            Some(File { inode: id.raw(), ..HUGETLB_FILE })
        }
        VmaKind::Shared(id) | VmaKind::Private(id) => Some(File { inode: id.raw(), ..OBJECT_FILE }),
        VmaKind::Device(_) => Some(DEVICE_FILE),
    }
}

/// What a VMA is called.
pub(super) enum Name {
    /// So.
    Fixed(&'static str),
    /// By the name that memfd_create was told.
    Memory(KArc<Object>),
}

impl Name {
    /// Writes it, a line feed as `\012` and what is no UTF-8 as U+FFFD.
    fn write(&self, to: &mut Lines<'_>) -> fmt::Result {
        let object = match self {
            Name::Fixed(name) => return to.text(name),
            Name::Memory(object) => object,
        };
        to.text("/memfd:")?;
        for chunk in object.name().unwrap_or_default().utf8_chunks() {
            let mut lines = chunk.valid().split('\n');
            lines.next().map_or(Ok(()), |first| to.text(first))?;
            for line in lines {
                to.text("\\012")?;
                to.text(line)?;
            }
            if !chunk.invalid().is_empty() {
                to.text("\u{fffd}")?;
            }
        }
        to.text(" (deleted)")
    }
}

/// What a VMA is called. `stack` is an address of the process's first stack.
pub(super) fn name(space: &AddressSpace, vma: &Vma, stack: VirtAddr) -> Option<Name> {
    let object = vma.kind.object().and_then(|id| space.objects.find(id));
    if let Some(named) = object.filter(|object| object.name().is_some()) {
        return Some(Name::Memory(named));
    }
    if let Some(file) = file(vma) {
        return Some(Name::Fixed(file.name));
    }
    let (start, end) = space.heap();
    if vma.start < end && vma.end > start {
        return Some(Name::Fixed("[heap]"));
    }
    vma.contains(stack).then_some(Name::Fixed("[stack]"))
}

/// The line of a VMA. `name` may be nothing.
///
/// # Errors
/// The sink's.
pub(super) fn line(to: &mut Lines<'_>, vma: &Vma, name: Option<&Name>) -> fmt::Result {
    let file = file(vma);
    let (minor, inode) = file.map_or((0, 0), |file| (file.minor, file.inode));
    let (sharing, offset) = match vma.kind {
        VmaKind::Anon | VmaKind::Hugetlb(_) => (b'p', 0),
        VmaKind::Private(_) | VmaKind::HugePrivate(..) => (b'p', vma.pgoff * PAGE_SIZE),
        VmaKind::Shared(_) | VmaKind::HugeShared(..) => (b's', vma.pgoff * PAGE_SIZE),
        VmaKind::Device(_) if vma.kind.is_shared() => (b's', vma.pgoff * PAGE_SIZE),
        VmaKind::Device(_) => (b'p', vma.pgoff * PAGE_SIZE),
    };
    prefix(to, (vma.start, vma.end), vma.prot, (sharing, offset), (minor, inode))?;
    if let Some(name) = name {
        to.pad(COLUMN)?;
        name.write(to)?;
    }
    to.ascii(b'\n')
}

/// All of a line but the name.
fn prefix(
    to: &mut Lines<'_>,
    (start, end): (VirtAddr, VirtAddr),
    prot: Prot,
    (sharing, offset): (u8, u64),
    (minor, inode): (u64, u64),
) -> fmt::Result {
    let letter = |right, letter| if prot.contains(right) { letter } else { b'-' };
    to.hex(start.raw(), 8)?;
    to.ascii(b'-')?;
    to.hex(end.raw(), 8)?;
    to.ascii(b' ')?;
    to.ascii(letter(Prot::READ, b'r'))?;
    to.ascii(letter(Prot::WRITE, b'w'))?;
    to.ascii(letter(Prot::EXEC, b'x'))?;
    to.ascii(sharing)?;
    if (offset, minor, inode) == (0, 0, 0) {
        return to.text(" 00000000 00:00 0 ");
    }
    to.ascii(b' ')?;
    to.hex(offset, 8)?;
    to.text(" 00:")?;
    to.hex(minor, 2)?;
    to.ascii(b' ')?;
    to.decimal(inode, 0)?;
    to.ascii(b' ')
}

/// The line of smaps_rollup: from the first VMA to the last.
pub(super) fn rollup_line(to: &mut Lines<'_>, start: VirtAddr, end: VirtAddr) -> fmt::Result {
    prefix(to, (start, end), Prot::NONE, (b'p', 0), (0, 0))?;
    to.pad(COLUMN)?;
    to.text("[rollup]\n")
}

impl Mm {
    /// Writes the line of the first VMA that ends above `from`, and returns where that VMA ends: the place of the next
    /// line. `None`: there is no such VMA. `stack` is an address of the process's first stack.
    ///
    /// # Errors
    /// The sink's; how much it got is its own to know.
    pub fn write_maps(
        &self,
        space: &AddressSpace,
        stack: VirtAddr,
        from: VirtAddr,
        out: &mut dyn fmt::Write,
    ) -> Result<Option<VirtAddr>, fmt::Error> {
        let Some(vma) = space.find_vma(from) else { return Ok(None) };
        let mut to = Lines::new(out);
        line(&mut to, &vma, name(space, &vma, stack).as_ref())?;
        to.finish()?;
        Ok(Some(vma.end))
    }
}
