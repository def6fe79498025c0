//! From a page of an object to where it may be mapped.
#![forbid(unsafe_code)]

use core::ops::{ControlFlow, Range};

use arch::{Machine, PhysMem, VirtAddr};

use super::object::Object;
use crate::kalloc::KArc;
use crate::page::PageRef;
use crate::space::{AddressSpace, Vma};

impl Object {
    /// Asks `f` of each address at which a page with one of these indices may be mapped, until it breaks: every space
    /// that maps the object, every VMA of it there. Whether the page *is* mapped the tables say, under T, which `f`
    /// takes. I is held meanwhile: no space is attached or detached, and mremap takes no entries of this object from
    /// one VMA to another. `f` does not sleep and takes locks of rank 35 and above.
    ///
    /// # Errors
    /// What `f` breaks with.
    pub fn visit_mappers<B>(
        &self,
        pages: Range<u64>,
        mut f: impl FnMut(&KArc<AddressSpace>, &Vma, VirtAddr) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mappers = self.mappers.lock();
        for space in mappers.iter() {
            let mut verdict = ControlFlow::Continue(());
            space.for_each_linear(pages.clone(), |part| {
                if part.kind.object() != Some(self.id) {
                    return;
                }
                for index in pages.start.max(part.pgoff)..pages.end {
                    let Some(va) = part.address_of(index).filter(|_| verdict.is_continue()) else { return };
                    verdict = f(space, part, va);
                }
            });
            verdict?;
        }
        ControlFlow::Continue(())
    }

    /// As [`Self::visit_mappers`], of the parts of VMAs whose pages have an index in `pages`.
    ///
    /// # Errors
    /// What `f` breaks with.
    pub(crate) fn visit_parts<B>(
        &self,
        pages: Range<u64>,
        mut f: impl FnMut(&KArc<AddressSpace>, &Vma, Range<VirtAddr>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mappers = self.mappers.lock();
        mappers.iter().try_for_each(|space| {
            space.try_for_each_linear(pages.clone(), |vma, part| match vma.kind.object() {
                Some(id) if id == self.id => f(space, vma, part),
                _ => ControlFlow::Continue(()),
            })
        })
    }

    /// Puts `new` in the place of `old`, which no entry maps any more and to which the caller has a reference: copies
    /// its bytes, its owner and its index, under O, where no fault can find it. `old` is frozen then: it is the
    /// caller's. Whether that was done: not, where the object has another page there by now, or somebody else holds
    /// `old`.
    pub(crate) fn exchange_page(&self, index: u64, old: PageRef, new: PageRef) -> bool {
        /// The caller's, and the object's own.
        const EXPECTED: u32 = 2;
        let mut contents = self.contents.lock();
        let number = self.number_of(index);
        if contents.pages.get(number) != Some(old) || !old.freeze(EXPECTED) {
            return false;
        }
        Machine::copy(new.pfn().phys(), old.pfn().phys(), self.unit());
        new.set_mapping(self.id.mapping(), index);
        match contents.pages.replace(number, new.get()) {
            // Its reference went with the freeze.
            Ok(gone) => gone.leave(),
            Err(new) => debug_assert!(false, "index {index} has lost its page under O: {new:?}"),
        }
        true
    }

    /// Holds I: for mremap, while it takes entries of this object from one VMA to another.
    #[must_use]
    pub fn hold_mappers(&self) -> impl Sized + '_ {
        self.mappers.lock()
    }
}
