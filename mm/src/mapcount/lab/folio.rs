//! The folios of a lab, and what the tables really say of each.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::Order;

use crate::Mm;
use crate::config::TailEncoding;
use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;
use crate::mapcount::verdict::{PageTruth, Truth};
use crate::page::{FolioRef, PageKind, PageRef};

/// One folio, or single page.
#[derive(Debug)]
pub struct LabFolio {
    /// Its head.
    pub head: PageRef,
    owned: FolioRef,
    /// What a scan has found.
    pub truth: Seen,
    /// Which spaces were given each page, for what may be done next: a bit for each.
    pub placed: Vec<u8, KAlloc>,
}

/// What a scan of all tables has found of a folio.
#[derive(Debug)]
pub struct Seen {
    /// Leaf entries that map any part.
    pub entries: u64,
    /// Leaf entries that map each page.
    pub pages: Vec<u16, KAlloc>,
    /// Which spaces map each page: a bit for each.
    pub spaces: Vec<u8, KAlloc>,
}

impl Seen {
    fn new(pages: u64) -> Result<Self, OutOfMemory> {
        Ok(Seen { entries: 0, pages: zeros(pages)?, spaces: zeros(pages)? })
    }
    /// Nothing is mapped.
    pub fn clear(&mut self) {
        self.entries = 0;
        self.pages.fill(0);
        self.spaces.fill(0);
    }
    /// An entry of this space maps these pages of the folio.
    pub fn see(&mut self, space: usize, first: u64, pages: u64) {
        self.entries += 1;
        for n in first as usize..(first + pages) as usize {
            self.pages[n] += 1;
            self.spaces[n] |= 1 << space;
        }
    }
    /// Pages that are mapped.
    #[must_use]
    pub fn pages_mapped(&self) -> u64 {
        self.pages.iter().filter(|&&n| n != 0).count() as u64
    }
    /// Of the folio as a whole.
    #[must_use]
    pub fn of_folio(&self) -> Truth {
        Truth { entries: self.entries, pages: self.pages_mapped(), spaces: self.sharers().into() }
    }
    /// Of page `n`, which the folio has.
    #[must_use]
    pub fn of_page(&self, n: u64) -> PageTruth {
        let n = n as usize;
        PageTruth { entries: self.pages[n].into(), spaces: self.spaces[n].count_ones().into() }
    }
    /// Spaces that map any part.
    #[must_use]
    pub fn sharers(&self) -> u32 {
        self.spaces.iter().fold(0u8, |all, mask| all | mask).count_ones()
    }
}

impl LabFolio {
    /// A folio, or single page, of memory that is allocated for it.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn alloc(mm: &Mm, order: Order, kind: PageKind) -> Result<Self, OutOfMemory> {
        Self::of(mm, mm.alloc_pages(order, kind)?, kind)
    }

    /// A folio, or single page, that is made of a block.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the block is given back.
    pub fn of(mm: &Mm, block: FolioRef, kind: PageKind) -> Result<Self, OutOfMemory> {
        let (head, order) = (block.page(), block.order());
        match Seen::new(order.pages()).and_then(|truth| Ok((truth, zeros(order.pages())?))) {
            Ok((truth, placed)) => {
                make(head, order, kind, mm.config.tails);
                Ok(LabFolio { head, owned: block, truth, placed })
            }
            Err(OutOfMemory) => {
                mm.free_pages(block, order);
                Err(OutOfMemory)
            }
        }
    }

    /// Pages of the folio.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.head.order().pages()
    }

    /// Whether no space maps any page of it.
    #[must_use]
    pub fn is_unplaced(&self) -> bool {
        self.placed.iter().all(|&mask| mask == 0)
    }

    /// Whether each space maps a page of it once at most.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.head.kind() == PageKind::Anon
    }

    /// Makes it a fresh folio of a kind. Nothing maps it.
    pub fn renew(&self, mm: &Mm, kind: PageKind) {
        make(self.head, self.head.order(), kind, mm.config.tails);
    }

    /// Gives its memory back. Nothing maps it.
    pub fn free(self, mm: &Mm) {
        mm.put_folio(self.owned);
    }
}

/// `n` zeros.
fn zeros<T: Copy + Default>(n: u64) -> Result<Vec<T, KAlloc>, OutOfMemory> {
    let n = usize::try_from(n).map_err(|_| OutOfMemory)?;
    let mut zeros = Vec::new_in(KAlloc);
    zeros.try_reserve_exact(n).map_err(|_| OutOfMemory)?;
    zeros.resize(n, T::default());
    Ok(zeros)
}

/// The struct pages of a folio that nobody has mapped yet.
fn make(head: PageRef, order: Order, kind: PageKind, tails: TailEncoding) {
    head.set_kind(kind, order);
    head.set_raw_mapcount(0);
    if order > Order::PAGE {
        head.prep_compound(kind, order, tails);
    }
    head.set_refcount(1);
}
