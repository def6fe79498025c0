//! What each strategy of HVO must be seen to do: its steps, and how nobody comes to touch what he must not.
//!
//! Only the expectations and their words stand here; what happened is read from the machine.
#![forbid(unsafe_code)]

use mm::config::{HvoSplit, HvoStrategy};
use mm::stats::Counter;
use mm::steps::StepKind;

/// How a folio's entries are when their first change was made and flushed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Middle {
    /// They have no translation.
    Broken,
    /// They map the frames that they mapped before, read-only.
    ReadOnly,
}

/// What is expected of a strategy.
pub(super) struct Way {
    /// How they are in the middle.
    pub(super) middle: Middle,
    /// The steps there.
    pub(super) optimise: &'static [StepKind],
    /// The steps back.
    pub(super) restore: &'static [StepKind],
    /// Who is kept away.
    pub(super) title: &'static str,
    /// How, or why nobody has to be.
    pub(super) words: &'static [&'static str],
    /// What it counts once on the way there, a split excepted.
    pub(super) counts: Counter,
}

const BY_BREAK: [StepKind; 5] =
    [StepKind::HvoBegin, StepKind::HvoBreak, StepKind::HvoFlush, StepKind::HvoMake, StepKind::HvoEnd];
const BACK_BY_BREAK: [StepKind; 5] = [
    StepKind::RestoreBegin,
    StepKind::RestoreBreak,
    StepKind::RestoreFlush,
    StepKind::RestoreMake,
    StepKind::RestoreEnd,
];

const STOP_MACHINE: Way = Way {
    middle: Middle::Broken,
    optimise: &BY_BREAK,
    restore: &BACK_BY_BREAK,
    title: "hvo::strategy::stop_machine: a thread of each other CPU's own keeps it away",
    words: &[
        "every other CPU runs its stopper from before the first break until after the last make: it came",
        "there by a switch of threads, so it is between no read of a count and its compare-and-swap",
    ],
    counts: Counter::HvoPause,
};
const PAUSE: Way = Way {
    middle: Middle::Broken,
    optimise: &BY_BREAK,
    restore: &BACK_BY_BREAK,
    title: "hvo::strategy::pause: an interrupt keeps every other CPU away",
    words: &[
        "every other CPU is held in an interrupt handler from before the first break until after the last",
        "make: counts are swapped with interrupts masked, so it is in the midst of none",
    ],
    counts: Counter::HvoPause,
};
const FAULT: Way = Way {
    middle: Middle::Broken,
    optimise: &BY_BREAK,
    restore: &BACK_BY_BREAK,
    title: "hvo::strategy::fault: nobody is kept away; who comes too early waits",
    words: &[
        "whoever touches a struct page between break and make takes a translation fault, waits until the",
        "entry is made, and tries again; a grace period came first, so nobody is about to write a tail",
    ],
    counts: Counter::HvoGracePeriod,
};
const BBML2: Way = Way {
    middle: Middle::ReadOnly,
    optimise: &[
        StepKind::HvoBegin,
        StepKind::HvoReadOnly,
        StepKind::HvoFlush,
        StepKind::HvoCopy,
        StepKind::HvoRepoint,
        StepKind::HvoFlush,
        StepKind::HvoEnd,
    ],
    restore: &[
        StepKind::RestoreBegin,
        StepKind::RestoreRepoint,
        StepKind::RestoreFlush,
        StepKind::RestoreCopy,
        StepKind::RestoreRelax,
        StepKind::RestoreFlush,
        StepKind::RestoreEnd,
    ],
    title: "hvo::strategy::bbml2: nobody has to be kept away; the bytes are made equal",
    words: &[
        "no entry is ever without translation: read-only first, then the frames are written through the",
        "linear map until they hold what the shared page does, and then another address needs no break",
    ],
    counts: Counter::HvoGracePeriod,
};
const ALIAS: Way = Way {
    middle: Middle::ReadOnly,
    optimise: &[
        StepKind::HvoBegin,
        StepKind::HvoReadOnly,
        StepKind::HvoFlush,
        StepKind::HvoRepoint,
        StepKind::HvoFlush,
        StepKind::HvoEnd,
    ],
    restore: &[
        StepKind::RestoreBegin,
        StepKind::RestoreRepoint,
        StepKind::RestoreFlush,
        StepKind::RestoreRelax,
        StepKind::RestoreFlush,
        StepKind::RestoreEnd,
    ],
    title: "hvo::strategy::alias: nobody has to be kept away; the bytes are equal",
    words: &[
        "no entry is ever without translation, nothing is copied: all tails of this order say the same, so",
        "once neither side can be written, another address with the same bytes needs no break",
    ],
    counts: Counter::HvoGracePeriod,
};

/// What is expected of the strategy of this boot; `None` with `hvo=off`.
pub(super) fn of(strategy: HvoStrategy) -> Option<&'static Way> {
    match strategy {
        HvoStrategy::Off | HvoStrategy::Auto => None,
        HvoStrategy::Fault => Some(&FAULT),
        HvoStrategy::StopMachine => Some(&STOP_MACHINE),
        HvoStrategy::Pause => Some(&PAUSE),
        HvoStrategy::Bbml2 => Some(&BBML2),
        HvoStrategy::Alias => Some(&ALIAS),
    }
}

/// The steps by which a block of vmemmap gives way to a table.
pub(super) const fn split(split: HvoSplit) -> &'static [StepKind] {
    match split {
        HvoSplit::Fault | HvoSplit::StopMachine | HvoSplit::Pause => {
            &[StepKind::HvoSplitBreak, StepKind::HvoSplitFlush, StepKind::HvoSplitMake]
        }
        HvoSplit::Bbml2 => &[StepKind::HvoSplitReplace, StepKind::HvoSplitFlush],
        HvoSplit::Refuse | HvoSplit::Auto => &[],
    }
}

/// Whether a step is one of a split.
pub(super) const fn is_of_split(kind: StepKind) -> bool {
    matches!(
        kind,
        StepKind::HvoSplitBreak
            | StepKind::HvoSplitFlush
            | StepKind::HvoSplitMake
            | StepKind::HvoSplitReplace
    )
}

/// Whether a step stores descriptors.
pub(super) fn stores(kind: StepKind) -> bool {
    !["_begin", "_flush", "_copy", "_end"].iter().any(|end| kind.name().ends_with(end))
}
