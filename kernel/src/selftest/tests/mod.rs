//! The self-tests, one file a room.
//!
//! | file | what |
//! |---|---|
//! | `kit` | what several of them need: threads, programs, settings that are put back |
//! | `conformance` | the machine keeps the contract that `mm` is written against |
//! | `page` `buddy` `kalloc` | struct pages, the allocator, the heap |
//! | `pgtable` | the kernel's own tables: rights, guards, nothing for EL0 |
//! | `contpte` | groups of page entries with the contiguous bit |
//! | `programs` | processes: what they may do, and what kills them |
//! | `thp` `khugepaged` `hugetlb` `hvo` `hvo_sizes` | huge pages and their struct pages |
//! | `rmap` | frames that move |
//! | `sched` `stop` `grace` `timer` `uaccess` | the kernel below all that |
//! | `files` `report` | settings; what processes map |

mod buddy;
mod conformance;
mod contpte;
mod files;
mod grace;
mod hugetlb;
mod hvo;
mod hvo_sizes;
mod kalloc;
mod khugepaged;
mod kit;
mod page;
mod pgtable;
mod programs;
mod report;
mod rmap;
mod sched;
mod stop;
mod thp;
mod timer;
mod uaccess;
