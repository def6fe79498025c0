//! The steps of a remap, by name: one function each, which an optimised build keeps, so that a debugger
//! can stop at every store of a promotion or of an HVO remap and see what is still owed.
//!
//! A step is announced right *after* its effect, with the entry before and after it. Each is also the point `step` of
//! [`crate::trace`], and handed to [`KernelEnv::at_step`] for who wants to look at the machine in that moment.
//!
//! [`KernelEnv::at_step`]: crate::env::KernelEnv::at_step
#![forbid(unsafe_code)]

use core::fmt;

use arch::{Desc, Level, PhysAddr, VirtAddr};

use crate::Mm;
use crate::trace::Point;

/// What must still happen before the step's change holds on every CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Owed {
    /// Nothing.
    Nothing = 0,
    /// DSB ISHST, TLBI, DSB ISH, and then the new descriptor.
    FlushThenMake = 1,
    /// The new descriptor: nothing can hold the old one any more.
    Make = 2,
    /// DSB ISHST, TLBI, DSB ISH.
    Flush = 3,
}

impl fmt::Display for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Owed::Nothing => "nothing",
            Owed::FlushThenMake => "DSB ISHST, TLBI, DSB ISH, then the make",
            Owed::Make => "the make",
            Owed::Flush => "DSB ISHST, TLBI, DSB ISH",
        })
    }
}

/// One step of a remap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Step {
    /// Which.
    pub kind: StepKind,
    /// What is owed after it.
    pub owed: Owed,
    /// The level of the entry.
    pub level: Level,
    /// How many entries of its table, from this one on, the step changed alike; 1 or more.
    pub entries: u32,
    /// The first address that the entry translates.
    pub va: VirtAddr,
    /// Where the entry stands.
    pub slot: PhysAddr,
    /// The entry before.
    pub old: Desc,
    /// The entry after.
    pub new: Desc,
}

impl Step {
    /// Kind, what is owed, level, and entries, as the point `step` has them: a byte each, but the last has more.
    fn summary(&self) -> u64 {
        self.kind as u64 | (self.owed as u64) << 8 | (self.level as u64) << 16 | u64::from(self.entries) << 24
    }
}

macro_rules! steps {
    ($($(#[$doc:meta])* $variant:ident => $function:ident),+ $(,)?) => {
        /// The names of the steps.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum StepKind { $($(#[$doc])* $variant),+ }

        impl StepKind {
            /// The name, which is that of the function a debugger stops at.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(StepKind::$variant => stringify!($function)),+ }
            }
        }

        $($(#[$doc])*
        #[inline(never)]
        pub fn $function(step: &Step) {
            // The kind makes the body differ from that of its neighbours, which the compiler would else merge into one.
            core::hint::black_box((step, StepKind::$variant));
        })+

        impl StepKind {
            /// Every kind, in the order of their numbers.
            pub const ALL: &'static [StepKind] = &[$(StepKind::$variant),+];
        }

        /// Announces a step: to a debugger by the function of its name, to whoever looks on by the kernel, and to the
        /// trace.
        pub fn announce(mm: &Mm, step: &Step) {
            match step.kind { $(StepKind::$variant => $function(step)),+ }
            mm.stats.note(Point::Step, 1, || {
                [step.va.raw(), step.old.raw(), step.new.raw(), step.summary()]
            });
            mm.env.at_step(step);
        }
    };
}

steps! {
    /// A promotion begins: the range is verified and locked, nothing is stored yet.
    PromoteBegin => promote_begin,
    /// The table entry of the range is invalid.
    PromoteBreak => promote_break,
    /// No TLB holds the table or its pages any more.
    PromoteFlush => promote_flush,
    /// The block is in place.
    PromoteMake => promote_make,
    /// The block stands where the table did, without a break; TLBs may hold either.
    PromoteReplace => promote_replace,
    /// An HVO remap of a list of folios begins: all pages are allocated, nothing is stored yet.
    HvoBegin => hvo_begin,
    /// The 2 MiB block of vmemmap is invalid.
    HvoSplitBreak => hvo_split_break,
    /// No TLB holds the block any more.
    HvoSplitFlush => hvo_split_flush,
    /// The table that replaces the block is in place.
    HvoSplitMake => hvo_split_make,
    /// The table stands where the block did, without a break; TLBs may hold either.
    HvoSplitReplace => hvo_split_replace,
    /// A run of vmemmap pages is without translation.
    HvoBreak => hvo_break,
    /// A run of vmemmap pages has become read-only, in the same frames.
    HvoReadOnly => hvo_read_only,
    /// No TLB holds what the entries were before the last step.
    HvoFlush => hvo_flush,
    /// The frames of a run hold the same bytes as the page that is to be shared.
    HvoCopy => hvo_copy,
    /// A run of vmemmap pages that was broken translates to the shared page, read-only.
    HvoMake => hvo_make,
    /// A run of read-only vmemmap pages translates to the shared page, which holds the same bytes.
    HvoRepoint => hvo_repoint,
    /// The remap is complete; the old pages may be freed.
    HvoEnd => hvo_end,
    /// A restore of a list of folios begins: all pages are allocated and filled, nothing is stored yet.
    RestoreBegin => restore_begin,
    /// A run of vmemmap pages is without translation.
    RestoreBreak => restore_break,
    /// A run of vmemmap pages translates to frames of its own that hold the same bytes, read-only yet.
    RestoreRepoint => restore_repoint,
    /// No TLB holds what the entries were before the last step.
    RestoreFlush => restore_flush,
    /// The frames of a run hold tails again, where they held what the shared page does.
    RestoreCopy => restore_copy,
    /// A run of vmemmap pages that was broken translates to frames of its own, writable.
    RestoreMake => restore_make,
    /// A run of vmemmap pages in frames of its own has become writable.
    RestoreRelax => restore_relax,
    /// The restore is complete.
    RestoreEnd => restore_end,
}
