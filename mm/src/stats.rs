//! Counters, under the names of Linux's `/proc/vmstat` where Linux has them.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use crate::env::KernelEnv;
use crate::error::OutOfMemory;
use crate::trace::{Args, Phase, Point, Trace};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// One counter. Gauges (`nr_…`) go up and down, all others only up.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $variant),+ }

        impl Counter {
            /// Every counter, in the order in which they are printed.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant),+];
            /// The name under which it is printed.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name),+ }
            }
        }
    };
}

counters! {
    /// Pages given out by the buddy allocator, and those that hugetlb folios of boot have had since before it (4 KiB
    /// units).
    PgAlloc = "pgalloc",
    /// Pages given back (4 KiB units).
    PgFree = "pgfree",
    /// Page faults handled.
    PgFault = "pgfault",
    /// TLB conflict aborts of users, which were resolved (FEAT_BBM level 2).
    TlbConflict = "tlb_conflict",
    /// Page faults that found the entry already good.
    PgFaultSpurious = "pgfault_spurious",
    /// Page tables allocated since boot and in use, kernel and user.
    NrPageTable = "nr_page_table_pages",
    /// Anonymous pages mapped (4 KiB units): a page once for each entry that maps it, so that this is the sum of all
    /// spaces' RssAnon. Linux counts a page once (NR_ANON_MAPPED). For that the way of counting must tell the first
    /// mapping of a page from a further one, and the last from one before: of single pages all of them do, of a page of
    /// a folio only `thp-like`; the others know it of the folio as a whole, which is what Linux counts by without
    /// CONFIG_PAGE_MAPCOUNT, and `rfc-v1` not even that.
    NrAnon = "nr_anon_pages",
    /// Anonymous pages mapped by 2 MiB blocks (2 MiB units).
    NrAnonThp = "nr_anon_transparent_hugepages",
    /// Pages pinned so far, each time they were (4 KiB units).
    FollPinAcquired = "nr_foll_pin_acquired",
    /// Pages unpinned so far.
    FollPinReleased = "nr_foll_pin_released",
    /// Pages that objects hold (4 KiB units).
    NrShmem = "nr_shmem",
    /// Pages in reservations that no entry maps (4 KiB units).
    NrThpReserved = "nr_thp_reserved",
    /// Huge pages made by copy, by MADV_COLLAPSE or khugepaged.
    ThpCollapseAlloc = "thp_collapse_alloc",
    /// Times that one of both had no folio for it, or no room on the heap.
    ThpCollapseAllocFailed = "thp_collapse_alloc_failed",
    /// Ranges that one of both tried to make one, and could not for another reason.
    ThpCollapseFailed = "thp_collapse_failed",
    /// Ranges that khugepaged left, since more than `max_ptes_none` pages of them have no memory of their own.
    ThpScanExceedNone = "thp_scan_exceed_none_pte",
    /// Ranges that khugepaged left, since more than `max_ptes_shared` pages of them may be another process's too.
    ThpScanExceedShared = "thp_scan_exceed_share_pte",
    /// Huge pages made at the first fault.
    ThpFaultAlloc = "thp_fault_alloc",
    /// Faults that were to get a huge page, or the block of zeros, and got a small one for want of memory.
    ThpFaultFallback = "thp_fault_fallback",
    /// Counts that had been left behind in folios that were freed (`mapcount=rfc-v1`).
    MapcountStranded = "mapcount_stranded",
    /// Reservations made.
    ThpResAlloc = "thp_res_alloc",
    /// Reservations that could not be made for want of a 2 MiB block.
    ThpResAllocFailed = "thp_res_alloc_failed",
    /// Reservations given up while pages of them were populated, whatever the reason; those pages go on as single ones
    /// (FreeBSD: vm.reserv.broken).
    ThpResBroken = "thp_res_broken",
    /// Reservations given up because memory was short (FreeBSD: vm.reserv.reclaimed).
    ThpResReclaimed = "thp_res_reclaimed",
    /// Reservations given up without a populated page: the block went back whole (FreeBSD: vm.reserv.freed).
    ThpResFreed = "thp_res_freed",
    /// Reservations all of whose pages are populated, or are being promoted (FreeBSD: vm.reserv.fullpop).
    NrThpResFullpop = "nr_thp_res_fullpop",
    /// Reservations with populated and other pages: the length of the queue (FreeBSD: vm.reserv.partpopq).
    NrThpResPartpop = "nr_thp_res_partpop",
    /// Of the promotions, those that replaced the table by the block without a break (FEAT_BBM level 2).
    ResPagesCollapsedDirect = "res_pages_collapsed_direct",
    /// Groups of 16 pages of a reservation whose entries became a folded group (64 KiB).
    ThpResFolded = "thp_res_folded",
    /// Ranges promoted in place.
    ResPagesCollapsed = "res_pages_collapsed",
    /// Of them, those that the fault which reached the threshold promoted itself (`promote=sync`).
    ResPagesCollapsedSync = "res_pages_collapsed_sync",
    /// Promotions that were tried and could not be done.
    ResCollapseFailed = "res_collapse_failed",
    /// Pages that promotion had to zero because nobody had touched them.
    ResPagesFilled = "res_pages_filled",
    /// Pages of zeros that went back because memory was short, out of huge pages that promotion had filled.
    ResPagesGivenBack = "res_pages_given_back",
    /// Pages moved to another frame (4 KiB units).
    PgMigrateSuccess = "pgmigrate_success",
    /// Pages that could not be moved (4 KiB units).
    PgMigrateFail = "pgmigrate_fail",
    /// Times that a huge page was wanted, none was free, and memory was compacted for it.
    CompactStall = "compact_stall",
    /// Of these, times that there was one afterwards.
    CompactSuccess = "compact_success",
    /// Of these, times that there was none.
    CompactFail = "compact_fail",
    /// Pages that compaction looked at to move them (4 KiB units).
    CompactMigrateScanned = "compact_migrate_scanned",
    /// Blocks in one piece made by moving what was in their way.
    AllocContigSuccess = "alloc_contig_success",
    /// Ranges that could not be had in one piece.
    AllocContigFail = "alloc_contig_fail",
    /// Folios split into single pages.
    ThpSplitPage = "thp_split_page",
    /// Folios that could not be split.
    ThpSplitPageFailed = "thp_split_page_failed",
    /// Folios put on the list of those that are mapped in part.
    ThpDeferredSplitPage = "thp_deferred_split_page",
    /// Huge pages split because they held many zeros, and memory was short.
    ThpUnderusedSplitPage = "thp_underused_split_page",
    /// 2 MiB block mappings split into pages.
    ThpSplitPmd = "thp_split_pmd",
    /// Groups of 16 page entries that got the contiguous bit; those of a table that is new are counted too.
    ContpteFold = "contpte_fold",
    /// Groups that lost it before a part of them changed.
    ContpteUnfold = "contpte_unfold",
    /// Leaves of hugetlb pages that were taken apart into 512 smaller ones ([`crate::hugetlb::hgm`]).
    HgmSplit = "hgm_split",
    /// Leaves of hugetlb pages that were made in place of smaller ones.
    HgmCollapse = "hgm_collapse",
    /// Nanoseconds for which the object and the page-table lock were held to make them.
    HgmPtlHeld = "hgm_ptl_held_ns",
    /// The longest of these.
    HgmPtlHeldLongest = "hgm_ptl_held_longest_ns",
    /// hugetlb folios whose vmemmap is optimised at present.
    NrHvoOptimized = "nr_hvo_optimized",
    /// hugetlb folios optimised so far.
    HvoOptimize = "hvo_optimize",
    /// hugetlb folios restored so far.
    HvoRestore = "hvo_restore",
    /// Restores that could not get their pages; the folio stayed optimised.
    HvoRestoreFailed = "hvo_restore_failed",
    /// vmemmap pages given to the buddy allocator, or never taken at boot, and not taken back (gauge).
    NrVmemmapFreed = "nr_vmemmap_freed",
    /// 2 MiB blocks of vmemmap split into pages.
    HvoSplitPmd = "hvo_split_pmd",
    /// Times that HVO had all other CPUs stopped or paused.
    HvoPause = "hvo_pause",
    /// Grace periods for which HVO waited.
    HvoGracePeriod = "hvo_grace_period",
    /// Accesses to struct pages that found their translation broken, and waited until it was made.
    HvoFaultWait = "hvo_fault_wait",
    /// Accesses to struct pages that took a TLB conflict abort while a block of vmemmap was split, and were tried again.
    HvoConflict = "hvo_conflict",
    /// Huge pages that a write after fork had taken apart, and that became one again: in place, or in a new block where
    /// each page had been written.
    ThpReunited = "thp_reunited",
    /// Nanoseconds for which page-table locks were held to look at ranges, and to exchange their entries, for promotion
    /// in place and collapse by copy.
    ThpPtlHeld = "thp_ptl_held_ns",
    /// The longest of these, in nanoseconds.
    ThpPtlHeldLongest = "thp_ptl_held_longest_ns",
    /// Nanoseconds for which mmap locks were held for reading, for promotion in place.
    ThpMmapReadHeld = "thp_mmap_read_held_ns",
    /// The longest of these, in nanoseconds.
    ThpMmapReadHeldLongest = "thp_mmap_read_held_longest_ns",
    /// Nanoseconds for which mmap locks were held for writing, for collapse by copy.
    ThpMmapWriteHeld = "thp_mmap_write_held_ns",
    /// The longest of these, in nanoseconds.
    ThpMmapWriteHeldLongest = "thp_mmap_write_held_longest_ns",
    /// Pages that collapse has copied.
    ThpCollapseCopied = "thp_collapse_copied",
    /// Pages that collapse had to zero because there was nothing, or zeros.
    ThpCollapseFilled = "thp_collapse_filled",
    /// Pages that fork had driven out of their block, and that a promotion has brought back.
    ResPagesBroughtBack = "res_pages_brought_back",
    /// Shared pages copied for who wrote to them.
    CowCopy = "cow_copy",
    /// Descriptors stored into live tables.
    PteStore = "mmu_descriptor_store",
    /// Live entries broken.
    PteBreak = "mmu_entry_break",
    /// TLBI operations by address or range.
    TlbiVa = "mmu_tlbi_va",
    /// TLBI operations on a whole ASID.
    TlbiAsid = "mmu_tlbi_asid",
    /// TLBI operations on everything.
    TlbiAll = "mmu_tlbi_all",
    /// DSBs that completed TLBIs.
    DsbIsh = "mmu_dsb_ish",
    /// Times that the ASIDs ran out and began anew.
    AsidRollover = "asid_rollover",
}

/// All counters of one machine, and the points that count some of them. Relaxed: a snapshot of several may be
/// inconsistent by what happens meanwhile.
#[derive(Debug)]
#[repr(C)]
pub struct Stats {
    /// Which points are on, and what they have written down.
    pub trace: Trace,
    values: [AtomicU64; Counter::ALL.len()],
}

impl Stats {
    /// All zero, and no point is on. Records get their times from `env`.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(env: &'static dyn KernelEnv) -> Result<Self, OutOfMemory> {
        Ok(Stats { trace: Trace::new(env)?, values: [const { AtomicU64::new(0) }; Counter::ALL.len()] })
    }
    /// Counts `n` of what the point says, and writes it down where that is on. `args` is asked only then.
    #[inline(always)]
    pub fn note(&self, point: Point, n: u64, args: impl FnOnce() -> Args) {
        self.tell(point, Phase::Instant, n, args);
    }
    /// As [`Self::note`], where a slice begins; the same thread ends it by [`Self::end`].
    #[inline(always)]
    pub fn begin(&self, point: Point, n: u64, args: impl FnOnce() -> Args) {
        self.tell(point, Phase::Begin, n, args);
    }
    /// As [`Self::note`], where a slice ends.
    #[inline(always)]
    pub fn end(&self, point: Point, n: u64, args: impl FnOnce() -> Args) {
        self.tell(point, Phase::End, n, args);
    }
    /// What `f` does is a slice, of which `n` is counted at the beginning, and at the end as much as `end` says.
    #[inline(always)]
    pub fn slice<R>(
        &self,
        point: Point,
        (n, begin): (u64, impl FnOnce() -> Args),
        end: impl Fn(&R) -> (u64, Args),
        f: impl FnOnce() -> R,
    ) -> R {
        self.tell(point, Phase::Begin, n, begin);
        let result = f();
        // Asked twice, so that the arguments cost nothing where the point is off.
        let (n, _) = end(&result);
        self.tell(point, Phase::End, n, || end(&result).1);
        result
    }
    #[inline(always)]
    fn tell(&self, point: Point, phase: Phase, n: u64, args: impl FnOnce() -> Args) {
        if let Some(counter) = point.counter().filter(|_| n != 0) {
            self.add(counter, n);
        }
        if self.trace.is_on(point) && (n != 0 || phase != Phase::Instant) {
            let [a, b, c, d] = args();
            self.trace.record((point, phase), n, a, b, c, d);
        }
    }
    /// Adds `n`.
    pub fn add(&self, counter: Counter, n: u64) {
        self.values[counter as usize].fetch_add(n, Ordering::Relaxed);
    }
    /// Adds 1.
    pub fn inc(&self, counter: Counter) {
        self.add(counter, 1);
    }
    /// Makes a counter that says the most there was `n`, where it is less.
    pub fn raise(&self, counter: Counter, n: u64) {
        self.values[counter as usize].fetch_max(n, Ordering::Relaxed);
    }
    /// Begins a counter that says the most there was anew; returns what it was.
    pub fn take(&self, counter: Counter) -> u64 {
        self.values[counter as usize].swap(0, Ordering::Relaxed)
    }
    /// Takes `n` from a gauge.
    pub fn sub(&self, counter: Counter, n: u64) {
        self.values[counter as usize].fetch_sub(n, Ordering::Relaxed);
    }
    /// The present value.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Ordering::Relaxed)
    }
}
