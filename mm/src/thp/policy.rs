//! How an anonymous fault is to be backed: values in, a word out.
//!
//! | mode | first write of an aligned 2 MiB range that fits its VMA |
//! |---|---|
//! | `never` | small |
//! | `always` | huge |
//! | `madvise` | huge where MADV_HUGEPAGE was given, else small |
//! | `reserve` | threshold 1: huge (classic huge pages); else reserve |
//! | `defer` | as `madvise`: all other memory is left to khugepaged |
//!
//! `defer` is the mode of the series \[RFC v2 0/5\] "mm: introduce THP deferred setting" (N. Pache, February 2025): the
//! fault handler gives huge pages where MADV_HUGEPAGE asks for them, and khugepaged collapses whatever it finds
//! ([`super::khugepaged`]). There is no `defer+madvise` beside it there, as there is for `defrag`: `defer` is it.
//!
//! A range that has a reservation already, made under `reserve`, goes on to take its pages from it in every mode and with
//! every threshold: [`super::reservation::take_kept`].
//!
//! What becomes huge *later*, by promotion in place or by khugepaged, is asked anew when it is tried
//! ([`may_become_huge`]; Linux: `thp_vma_allowable_order` for khugepaged):
//!
//! | mode | later |
//! |---|---|
//! | `never` | nothing: what is ripe stays as it is |
//! | `madvise` | what MADV_HUGEPAGE was given for |
//! | `always`, `reserve`, `defer` | anything |
//!
//! MADV_COLLAPSE asks for one range and is not bound by the mode.
//!
//! A read sees zeros, and reserves nothing: a block of them where a write would be huge, else the page of zeros. Where
//! `use_zero_page` is 0 a huge page of its own is in the place of the block of zeros (Linux:
//! `do_huge_pmd_anonymous_page`).
//! MADV_NOHUGEPAGE is always small, and so is what a process has given up by PR_SET_THP_DISABLE ([`ThpPermission`]).
//! The answer is a wish: where there is no block of 2 MiB, or other pages are mapped in the range, `huge` and
//! `reserve` end as small.
#![forbid(unsafe_code)]

use arch::{Access, VirtAddr};

use crate::Mm;
use crate::config::{Number, ThpMode};
use crate::space::{AddressSpace, HugeAdvice, Vma, VmaKind};
use crate::thp::ThpPermission;

/// Whether the aligned 2 MiB range around the address lies wholly in its VMA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fits {
    /// It does.
    Yes,
    /// It reaches beyond.
    No,
}

/// What the policy sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// The mode in force.
    pub mode: ThpMode,
    /// The threshold in force: pages, 1..=512.
    pub threshold: u16,
    /// What the user said about huge pages.
    pub advice: HugeAdvice,
    /// What the access wants to do.
    pub access: Access,
    /// Whether a block fits.
    pub fits: Fits,
    /// Whether the process may have huge pages at all.
    pub permission: ThpPermission,
}

/// What the policy answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Backing {
    /// A page of its own.
    Small,
    /// A page of the range's reservation, which is made where there is none.
    Reserve,
    /// A block at once.
    Huge,
    /// The block of zeros.
    HugeZero,
}

/// Answers for an access to `va` in `vma` of `space`, with mode and threshold of this moment.
pub fn backing(mm: &Mm, space: &AddressSpace, vma: &Vma, va: VirtAddr, access: Access) -> Backing {
    let fits = if vma.fits_block(va) { Fits::Yes } else { Fits::No };
    let (mode, threshold) = (mm.thp.mode(), mm.thp.threshold());
    let (advice, permission) = (vma.advice, space.thp_permission());
    match decide(&Question { mode, threshold, advice, access, fits, permission }) {
        Backing::HugeZero if mm.thp.number(Number::UseZeroPage) == 0 => Backing::Huge,
        answer => answer,
    }
}

/// Whether memory of `vma` may become huge after its faults, by mode, advice and permission of this moment.
#[must_use]
pub fn may_become_huge(mm: &Mm, space: &AddressSpace, vma: &Vma) -> bool {
    vma.kind == VmaKind::Anon && grows(mm.thp.mode(), vma.advice) && space.thp_permission().allows(vma.advice)
}

/// Whether the mode lets memory with this advice become huge later.
fn grows(mode: ThpMode, advice: HugeAdvice) -> bool {
    match mode {
        ThpMode::Never => false,
        ThpMode::Madvise => advice == HugeAdvice::Huge,
        ThpMode::Always | ThpMode::Reserve | ThpMode::Defer => true,
    }
}

/// Answers the question.
// Walk A.4: sees values, answers a word.
pub fn decide(question: &Question) -> Backing {
    if question.fits == Fits::No || !question.permission.allows(question.advice) {
        return Backing::Small;
    }
    let write = match (question.mode, question.advice) {
        (ThpMode::Never, _) => Backing::Small,
        (ThpMode::Madvise | ThpMode::Defer, HugeAdvice::None | HugeAdvice::NoHuge) => Backing::Small,
        (ThpMode::Always, _) | (ThpMode::Madvise | ThpMode::Defer, HugeAdvice::Huge) => Backing::Huge,
        (ThpMode::Reserve, _) if question.threshold == 1 => Backing::Huge,
        (ThpMode::Reserve, _) => Backing::Reserve,
    };
    match (question.access, write) {
        (Access::Write, _) => write,
        (_, Backing::Huge) => Backing::HugeZero,
        _ => Backing::Small,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Question = Question {
        mode: ThpMode::Reserve,
        threshold: 256,
        advice: HugeAdvice::None,
        access: Access::Write,
        fits: Fits::Yes,
        permission: ThpPermission::Granted,
    };

    /// The table at the top of the file, row by row.
    #[test]
    fn the_table() {
        use Backing::{Huge, Reserve, Small};
        use HugeAdvice as A;
        for (mode, advice, threshold, answer) in [
            (ThpMode::Never, A::None, 256, Small),
            (ThpMode::Never, A::Huge, 1, Small),
            (ThpMode::Always, A::None, 256, Huge),
            (ThpMode::Always, A::NoHuge, 256, Small),
            (ThpMode::Madvise, A::None, 256, Small),
            (ThpMode::Madvise, A::Huge, 256, Huge),
            (ThpMode::Madvise, A::NoHuge, 256, Small),
            (ThpMode::Reserve, A::None, 1, Huge),
            (ThpMode::Reserve, A::None, 2, Reserve),
            (ThpMode::Reserve, A::Huge, 512, Reserve),
            (ThpMode::Reserve, A::NoHuge, 1, Small),
            (ThpMode::Defer, A::None, 1, Small),
            (ThpMode::Defer, A::Huge, 256, Huge),
            (ThpMode::Defer, A::NoHuge, 256, Small),
        ] {
            let question = Question { mode, advice, threshold, ..WRITE };
            assert_eq!(decide(&question), answer, "{question:?}");
        }
    }

    /// A read asks for the block of zeros where a write would ask for a huge page, and for nothing else that is huge;
    /// no access does to a range that does not fit, nor of a process that may not have huge pages.
    #[test]
    fn reads_and_odd_ranges() {
        for &mode in ThpMode::ALL {
            for access in [Access::Read, Access::Execute] {
                let zeros = if mode == ThpMode::Always { Backing::HugeZero } else { Backing::Small };
                assert_eq!(decide(&Question { mode, access, ..WRITE }), zeros);
            }
            assert_eq!(decide(&Question { mode, fits: Fits::No, ..WRITE }), Backing::Small);
            for permission in [ThpPermission::Withheld, ThpPermission::Advised] {
                assert_eq!(decide(&Question { mode, permission, ..WRITE }), Backing::Small);
            }
            let advised = Question { mode, advice: HugeAdvice::Huge, ..WRITE };
            let permission = ThpPermission::Advised;
            assert_eq!(decide(&Question { permission, ..advised }), decide(&advised));
            let permission = ThpPermission::Withheld;
            assert_eq!(decide(&Question { permission, ..advised }), Backing::Small);
        }
    }
}
