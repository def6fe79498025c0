//! Scenarios: small concurrent workloads over a whole [`crate::Mm`], on a machine of four vCPUs.
//!
//! A scenario is a function of its seed and of nothing else: the seed chooses the machine's features, the boot
//! choices, what each vCPU does, when vCPUs give way to each other and what their TLBs hold. So one number replays
//! a run. A run ends with the full check, all pages back, and a look at all that was written; it panics where
//! anything is wrong.
//!
//! ```text
//!   seed --> stage: machine, boot choices --> four jobs, one a vCPU --> contents, check, pages
//!                                               |          |
//!                                            access      change          of areas of spaces ("homes")
//!                                               |          |
//!                              memory: may this vCPU read  law: what may anybody do with the page,
//!                              this word here now?         and how often has it been wiped?
//! ```
//! **What is expected of an access.** A call that changes a page first says so in the page's `law`, then changes
//! it, and then says what holds from now on. An access that saw the same law before and after, with no change under
//! way, must do exactly what the law says: so whoever has *seen* that munmap returned must get a fault, and what
//! was stored must be read. What an access met that raced with a change is limited to what either order gives.
//!
//! | file | what |
//! |---|---|
//! | `law` | what all vCPUs know of a page |
//! | `memory` | what one vCPU knows of the words that it wrote |
//! | `area` | pages of a space under laws; the calls that change them |
//! | `home` | a space with its areas; who is in it, its end and rebirth |
//! | `person` | a vCPU that goes from home to home |
//! | `words` | words of one writer each, and what may be read in them while contents are taken away |
//! | `object` | an object that spaces map: its size, its holes, its words |
//! | `view` | an object in a space, shared or private |
//! | `hold` | a pinned page, and the device that uses it |
//! | `deeds` `huge_deeds` | what a vCPU does with an object; with the pages of one of hugetlb, and their pool |
//! | `family` | spaces that descend from each other by fork, and what must be read in each |
//! | `contest` | four vCPUs in one space: one disturbs it, one changes it, two access it |
//! | `stage` | the machine, the boot choices, the end of a run |
//! | `mixed` `shared` `asid` `promotion` `exit` `pressure` `hugetlb` `sizes` `hvo` `fork` `migration` `folding` | scenarios |
//! | `report` `khugepaged` `snapshot` | scenarios |
#![forbid(unsafe_code)]

mod area;
mod asid;
mod contest;
mod deeds;
mod exit;
mod family;
mod folding;
mod fork;
mod hold;
mod home;
mod huge_deeds;
mod hugetlb;
mod hvo;
mod khugepaged;
mod law;
mod memory;
mod migration;
mod mixed;
mod object;
mod person;
mod pressure;
mod promotion;
mod report;
mod shared;
mod sizes;
mod snapshot;
mod stage;
mod view;
mod words;

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ran {
    /// Steps of all vCPUs.
    pub steps: u64,
}

/// A workload.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Runs it; panics where anything is wrong.
    pub run: fn(seed: u64) -> Ran,
}

/// Every scenario.
pub const ALL: &[Scenario] = &[
    mixed::SCENARIO,
    shared::SCENARIO,
    asid::SCENARIO,
    promotion::SCENARIO,
    exit::SCENARIO,
    pressure::SCENARIO,
    hugetlb::SCENARIO,
    sizes::SCENARIO,
    hvo::SCENARIO,
    fork::SCENARIO,
    snapshot::SCENARIO,
    migration::SCENARIO,
    folding::SCENARIO,
    report::SCENARIO,
    khugepaged::SCENARIO,
];

/// The scenario with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
