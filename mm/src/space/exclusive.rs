//! Whether a page is one space's alone, and so what an entry that maps it may grant.
//!
//! After fork, entries of several spaces map one private page, and none of them may grant writing. An entry gets the
//! permission back where the page is known to be *exclusive*: no other space maps it, and nobody holds a reference
//! that he might read it by.
//!
//! ```text
//!   references to the folio  =  its entries, all of this space  +  its reservation's  +  others: must be none
//! ```
//! **Why this cannot be wrong.** The caller holds T of a space that maps the page. If no other space does, only a fork
//! of this one could change that, and fork needs M, which the caller has too. If another one does, its entry is
//! counted until it is cleared, and the entry's reference is held until every TLB has lost what it granted: so the
//! references are read first, and an entry that leaves meanwhile makes them too many (Linux:
//! `wp_can_reuse_anon_folio`).
//!
//! **Pins.** Only an exclusive page is pinned, and fork gives the child a copy of a page that is pinned. So a pinned
//! page that one space maps is exclusive, whoever else holds references: a device writes to it, and the space must
//! go on seeing that.
#![forbid(unsafe_code)]

use arch::pte::PteFlags;
use arch::{Desc, Level};

use super::{Prot, range};
use crate::Mm;
use crate::hugetlb::{self, HugeSize};
use crate::mapcount::{self, Answer, Sharing};
use crate::page::{Flags, PageKind, PageRef};
use crate::pgtable::normal_page;

/// Whether the folio is the caller's alone, as no page of an object or of a device ever is: who may write those, the
/// kind of VMA says. The caller holds M and T of a space that maps it. A wrong yes is impossible; the answer is no
/// wherever the scheme of counting cannot tell.
#[must_use]
pub(crate) fn is_exclusive(mm: &Mm, head: PageRef) -> bool {
    if !may_be(head) {
        return false;
    }
    if head.maybe_pinned() {
        return true;
    }
    let references = head.refcount();
    // The mark leaves before the reference does: where it is still there, the reference was counted.
    let reserved = u32::from(head.flags().contains(Flags::RESERVED));
    let by_entries = references.saturating_sub(reserved);
    if by_entries == 1 {
        return true;
    }
    if is_all_of_one(head, references) {
        return true;
    }
    let scheme = mapcount::scheme(mm);
    let (sharing, entries) = scheme.sharing_and_entries(head);
    sharing == Answer::Exact(Sharing::Exclusive) && entries == Answer::Exact(by_entries)
}

/// Whether so many references are those of one space that maps all of a hugetlb page. It maps all or nothing of it, so
/// no other has any, whatever the scheme of counting can tell.
fn is_all_of_one(head: PageRef, references: u32) -> bool {
    let entries = HugeSize::from_order(head.order()).map_or(1, HugeSize::entries);
    head.is_kind(PageKind::Hugetlb) && references == entries as u32
}

/// Whether the page that a leaf of the caller's space maps is an anonymous one, or a hugetlb one, and that leaf's
/// reference the only one: then it is exclusive, and no reservation's. A tail, which has no references, is not looked
/// through.
#[must_use]
#[inline(always)]
pub(crate) fn is_sole(page: PageRef) -> bool {
    page.refcount() == 1 && may_be(page)
}

/// Whether it is of a kind that one space may have alone.
#[inline(always)]
fn may_be(page: PageRef) -> bool {
    page.is_kind(PageKind::Anon) || hugetlb::is_own(page)
}

/// Who may do what, of a leaf's attributes.
const RIGHTS: PteFlags = PteFlags::USER.union(PteFlags::READ_ONLY).union(PteFlags::PXN).union(PteFlags::UXN);

/// `leaf` with all rights of a VMA. A special one keeps its mark and its memory type, and one of a folded group stays
/// one.
#[must_use]
#[inline(always)]
pub(crate) fn with_all_rights(leaf: Desc, level: Level, prot: Prot) -> Desc {
    if !leaf.is_special() {
        let group = leaf.flags(level) & PteFlags::CONTIGUOUS;
        return range::ready(leaf.with_flags(level, prot.leaf_flags() | group), level);
    }
    let kept = leaf.flags(level) - RIGHTS;
    leaf.with_flags(level, kept | (prot.leaf_flags() & RIGHTS))
}

/// What may stand in place of `leaf` in a VMA with these rights: all of them, but writing where the leaf does not grant
/// it and the page is not exclusive. As for [`is_exclusive`].
#[must_use]
#[inline]
pub(crate) fn leaf_again(mm: &Mm, leaf: Desc, level: Level, prot: Prot) -> Desc {
    let new = with_all_rights(leaf, level, prot);
    let writes = |leaf: Desc| !leaf.flags(level).contains(PteFlags::READ_ONLY);
    if !writes(new) || writes(leaf) || may_write(mm, leaf, level) { new } else { read_only(new, level) }
}

/// Whether the page of a leaf is the space's alone.
#[inline]
fn may_write(mm: &Mm, leaf: Desc, level: Level) -> bool {
    let alone = |page: PageRef| is_sole(page) || is_exclusive(mm, page.head(mm.config.tails));
    normal_page(leaf, level).is_some_and(alone)
}

/// The same leaf, or migration entry, without the right to write.
#[must_use]
pub(crate) fn read_only(desc: Desc, level: Level) -> Desc {
    match desc.as_migration(level) {
        Some(moving) => moving.with_flags(moving.flags | PteFlags::READ_ONLY).desc(level),
        None => desc.with_flags(level, desc.flags(level) | PteFlags::READ_ONLY),
    }
}
