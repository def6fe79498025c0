//! The points: where memory management says what it does.
//!
//! A point is a *slice*, which begins and ends, or an *instant*. Where a counter of [`crate::stats`] counts the same
//! thing, the point is what counts it ([`crate::stats::Stats::note`]): both are one call, so they agree.
//!
//! The first argument is an address of the process or of vmemmap where it is called `va`, which a filter goes by.
#![forbid(unsafe_code)]

use core::fmt;

use crate::stats::Counter;

/// Whether a point has a length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// It begins and ends, on one thread.
    Slice,
    /// It has none.
    Instant,
}

impl Shape {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Shape::Slice => "slice",
            Shape::Instant => "instant",
        }
    }
}

macro_rules! points {
    ($($room:literal: {
        $($(#[doc = $doc:literal])+ $variant:ident $name:literal $shape:ident $([$counter:ident])?
            ($($arg:literal),*) $(=> ($($end:literal),*))?;)+
    })+) => {
        /// One point.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Point { $($($(#[doc = $doc])+ $variant),+),+ }

        impl Point {
            /// Every point, in the order of its numbers.
            pub const ALL: &'static [Point] = &[$($(Point::$variant),+),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($(Point::$variant => $name),+),+ }
            }
            /// The room in which it stands.
            #[must_use]
            pub const fn room(self) -> &'static str {
                match self { $($(Point::$variant => $room),+),+ }
            }
            /// Whether it has a length.
            #[must_use]
            pub const fn shape(self) -> Shape {
                match self { $($(Point::$variant => Shape::$shape),+),+ }
            }
            /// The counter that counts the same thing.
            #[must_use]
            #[inline(always)]
            pub const fn counter(self) -> Option<Counter> {
                match self {
                    $($(Point::$variant => {
                        let all: &[Counter] = &[$(Counter::$counter)?];
                        if all.is_empty() { None } else { Some(all[0]) }
                    })+)+
                }
            }
            /// What its arguments mean, at the beginning.
            #[must_use]
            pub const fn arguments(self) -> &'static [&'static str] {
                match self { $($(Point::$variant => &[$($arg),*]),+),+ }
            }
            /// What its arguments mean, at the end of a slice.
            #[must_use]
            pub const fn results(self) -> &'static [&'static str] {
                match self { $($(Point::$variant => &[$($($end),*)?]),+),+ }
            }
            /// What it says.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $($(Point::$variant => concat!($($doc),+)),+),+ }
            }
        }
    };
}

points! {
    "fault": {
        /// A page fault of a user address; `access` is 0 for a read, 1 for a write, 2 for a fetch; `result` 0 made,
        /// 1 nothing to do, 2 refused.
        Fault "page_fault" Slice [PgFault] ("va", "access") => ("va", "result");
        /// A fault that found the entry already good.
        Spurious "spurious" Instant [PgFaultSpurious] ("va");
        /// A TLB conflict abort of a user, resolved.
        Conflict "tlb_conflict" Instant [TlbConflict] ("va");
        /// A shared page was copied for who wrote to it.
        Cow "cow" Instant [CowCopy] ("va", "from_pfn", "to_pfn", "order");
    }
    "thp": {
        /// A huge page was made at the first fault.
        HugeFault "huge_fault" Instant [ThpFaultAlloc] ("va", "pfn");
        /// A fault that was to get a huge page got a small one, for want of memory.
        HugeFallback "huge_fallback" Instant [ThpFaultFallback] ();
        /// A reservation was made.
        Reserve "reserve" Instant [ThpResAlloc] ("va", "pfn");
        /// A reservation could not be made, for want of a block.
        ReserveFail "reserve_fail" Instant [ThpResAllocFailed] ("va");
        /// A fault took a page of a reservation, of which so many are taken now.
        Take "take" Instant ("va", "pfn", "populated");
        /// A reservation was given up whole.
        ReserveFree "reserve_free" Instant [ThpResFreed] ("va", "pfn");
        /// A reservation was given up of which so many pages were taken.
        ReserveBreak "reserve_break" Instant [ThpResBroken] ("va", "pfn", "populated");
        /// Of these two, one that was given up because memory was short.
        ReserveReclaim "reserve_reclaim" Instant [ThpResReclaimed] ("va", "pfn", "unused");
        /// An attempt at a promotion in place; `result` is 1 where the block was made.
        Promote "promote" Slice [ResPagesCollapsed] ("va", "pfn", "to_fill") => ("va", "result");
        /// A promotion that was tried and could not be done.
        PromoteFail "promote_fail" Instant [ResCollapseFailed] ("va");
        /// A huge page that fork had taken apart became one again.
        Reunite "reunite" Instant [ThpReunited] ("va");
        /// A huge page is made by copy; `result` is 1 where it was.
        Collapse "collapse" Slice [ThpCollapseAlloc] ("va", "pfn") => ("va", "result");
        /// A range that could not be made one by copy.
        CollapseFail "collapse_fail" Instant [ThpCollapseFailed] ("va");
        /// A block of 2 MiB became a table of pages.
        SplitBlock "split_block" Instant [ThpSplitPmd] ("va", "pfn");
    }
    "reclaim": {
        /// Memory is short: what nobody needs is given back, until so many pages are free.
        Reclaim "give_back" Slice ("pages") => ("freed");
        /// A huge page was split for its zeros.
        Underused "underused" Instant [ThpUnderusedSplitPage] ("pfn", "freed");
        /// Pages of zeros that a promotion had filled were given back.
        GivenBack "zeros_given_back" Instant [ResPagesGivenBack] ("pfn");
        /// A process is killed for want of memory.
        Oom "oom" Instant ("pid", "resident");
    }
    "pgtable": {
        /// Descriptors were stored into a live table.
        Store "store" Instant [PteStore] ("va", "level");
        /// Live entries were broken.
        Break "break" Instant [PteBreak] ("va", "level");
        /// Broken entries were made.
        Make "make" Instant ("va", "level", "entries");
        /// A round of TLB invalidations: DSB, TLBIs, DSB.
        Flush "flush" Slice [DsbIsh] ("va", "bytes") => ();
        /// So many TLBIs by address, or one by range.
        TlbiVa "tlbi_va" Instant [TlbiVa] ("va", "bytes");
        /// A TLBI of a whole ASID.
        TlbiAsid "tlbi_asid" Instant [TlbiAsid] ("asid");
        /// A TLBI of everything.
        TlbiAll "tlbi_all" Instant [TlbiAll] ();
        /// Groups of 16 entries got the contiguous bit.
        Fold "fold" Instant [ContpteFold] ("va");
        /// A group lost it.
        Unfold "unfold" Instant [ContpteUnfold] ("va");
        /// A step of a remap (`mm/src/steps.rs`), after its effect; `step` is kind, owed, level and entries, a byte
        /// each but for the last.
        Step "step" Instant ("va", "old", "new", "step");
    }
    "hvo": {
        /// A list of hugetlb folios gives its struct pages back; `folios` at the end are those that did.
        Optimise "hvo_optimise" Slice [HvoOptimize] ("folios", "entries") => ("folios");
        /// A list of hugetlb folios gets its struct pages again.
        Restore "hvo_restore" Slice [HvoRestore] ("folios", "entries") => ("folios");
        /// A folio could not get them.
        RestoreFail "hvo_restore_fail" Instant [HvoRestoreFailed] ("pfn");
        /// A folio was divided while it was optimised: one restored, so many optimised.
        Divide "hvo_divide" Instant ("pfn", "pieces");
        /// A block of vmemmap became a table.
        VmemmapSplit "hvo_split" Instant [HvoSplitPmd] ("va");
        /// All other CPUs are stopped or paused.
        Hold "hvo_hold" Slice [HvoPause] () => ();
        /// A grace period is waited for.
        Grace "hvo_grace" Slice [HvoGracePeriod] () => ();
        /// An access to a struct page found its translation broken; `result` is 1 where it waited until it was
        /// made.
        Wait "hvo_wait" Slice [HvoFaultWait] ("va") => ("va", "result");
        /// An access to a struct page took a TLB conflict abort.
        VmemmapConflict "hvo_conflict" Instant [HvoConflict] ();
    }
    "rmap": {
        /// A folio is moved to another frame; `pages` at the end are those that were moved.
        Migrate "migrate" Slice [PgMigrateSuccess] ("pfn", "to_pfn", "order") => ("pages");
        /// Pages that could not be moved.
        MigrateFail "migrate_fail" Instant [PgMigrateFail] ("pfn");
        /// A folio is split into single pages; `result` is 1 where it was.
        Split "split" Slice [ThpSplitPage] ("pfn") => ("result");
        /// A folio could not be split.
        SplitFail "split_fail" Instant [ThpSplitPageFailed] ("pfn");
        /// A part of a folio is mapped no more.
        PartlyMapped "partly_mapped" Instant [ThpDeferredSplitPage] ("pfn");
        /// Memory is compacted for a block of this order; `result` is 1 where there is one now.
        Compact "compact" Slice [CompactStall] ("order") => ("result");
        /// Pages in one piece are made by moving what is there; `result` is 1 where they were.
        Contig "contig" Slice [AllocContigSuccess] ("pfn", "order") => ("result");
    }
    "hugetlb": {
        /// A fault in memory of hugetlb, a part of `page_fault`.
        HugetlbFault "hugetlb_fault" Slice ("va", "bytes") => ("va");
        /// Free folios are divided into smaller ones.
        Demote "demote" Slice ("bytes", "folios") => ("folios");
        /// A leaf of a hugetlb page became 512 smaller ones.
        HgmSplit "hgm_split" Instant [HgmSplit] ("va", "level");
        /// Smaller leaves of a hugetlb page became one.
        HgmCollapse "hgm_collapse" Instant [HgmCollapse] ("va", "level");
    }
    "space": {
        /// An address space is copied.
        Fork "fork" Slice ("space") => ();
        /// The call mmap; `va` at the end is where, or 0.
        Mmap "mmap" Slice ("bytes") => ("va");
        /// The call munmap.
        Munmap "munmap" Slice ("va", "bytes") => ("va");
        /// The call mprotect.
        Mprotect "mprotect" Slice ("va", "bytes") => ("va");
        /// The call mremap; `va` at the end is where, or 0.
        Mremap "mremap" Slice () => ("va");
        /// The call madvise.
        Madvise "madvise" Slice ("va", "bytes") => ("va");
        /// An address space ends.
        Exit "exit" Slice ("space") => ();
    }
    "buddy": {
        /// Pages were given out.
        Alloc "alloc" Instant [PgAlloc] ("pfn", "order");
        /// Pages were given back.
        Free "free" Instant [PgFree] ("pfn");
    }
    "sched": {
        /// The CPU changes to another thread: its number, its process, its name in 16 bytes.
        Switch "switch" Instant ("thread", "pid", "name", "name");
    }
}

const _: () = assert!(Point::ALL.len() <= 64, "a point is a bit of a word");

impl Point {
    /// The point with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Point> {
        Self::ALL.get(usize::from(number)).copied()
    }
    /// Whether its first argument is an address.
    #[must_use]
    pub fn has_va(self) -> bool {
        self.arguments().first() == Some(&"va")
    }
}

/// Some of the points.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Points(u64);

impl Points {
    /// No point.
    pub const NONE: Points = Points(0);
    /// All points.
    pub const ALL: Points = Points(u64::MAX >> (64 - Point::ALL.len()));

    /// The points that a word names: one, those of a room, or `all`.
    #[must_use]
    pub fn named(word: &str) -> Option<Points> {
        if word == "all" {
            return Some(Points::ALL);
        }
        let named = Point::ALL.iter().filter(|point| point.name() == word || point.room() == word);
        let points = named.fold(Points::NONE, |points, &point| points.with(point));
        (points != Points::NONE).then_some(points)
    }
    pub(super) const fn from_bits(bits: u64) -> Points {
        Points(bits)
    }
    pub(super) const fn bits(self) -> u64 {
        self.0
    }
    /// These and one more.
    #[must_use]
    pub const fn with(self, point: Point) -> Points {
        Points(self.0 | 1 << point as u32)
    }
    /// These and others.
    #[must_use]
    pub const fn and(self, others: Points) -> Points {
        Points(self.0 | others.0)
    }
    /// These without others.
    #[must_use]
    pub const fn without(self, others: Points) -> Points {
        Points(self.0 & !others.0)
    }
    /// Whether this is one of them.
    #[must_use]
    pub const fn has(self, point: Point) -> bool {
        self.0 & 1 << point as u32 != 0
    }
    /// Each of them, in the order of their numbers.
    pub fn each(self) -> impl Iterator<Item = Point> {
        Point::ALL.iter().copied().filter(move |&point| self.has(point))
    }
}

impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, point) in self.each().enumerate() {
            write!(f, "{}{}", if n == 0 { "" } else { " " }, point.name())?;
        }
        Ok(())
    }
}
