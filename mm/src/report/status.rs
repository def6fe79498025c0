//! `/proc/<pid>/status`: a process in numbers.
//!
//! Of Linux's rows those that mean something here, in its order. What only the kernel above knows it says in a
//! [`Subject`].
#![forbid(unsafe_code)]

use core::fmt;

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::layout::USER_END;

use super::leaves::Reading;
use super::lines::Lines;
use super::sizes::Tally;
use crate::Mm;
use crate::space::{AddressSpace, Growth, Prot};
use crate::thp::permission::ThpPermission;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It runs, or waits for a CPU.
    Running,
    /// It waits for something else.
    Sleeping,
    /// It has ended, and nobody has asked how.
    Zombie,
}

impl State {
    /// Linux's letter and word.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            State::Running => "R (running)",
            State::Sleeping => "S (sleeping)",
            State::Zombie => "Z (zombie)",
        }
    }
}

/// A process, as far as its address space does not know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject<'a> {
    /// The name of its program.
    pub name: &'a str,
    /// Its number.
    pub pid: u32,
    /// Its parent's number; 0 for none.
    pub ppid: u32,
    /// What it does.
    pub state: State,
    /// An address of its first stack.
    pub stack: VirtAddr,
    /// How many threads it has.
    pub threads: u32,
}

/// Sums over all VMAs, in bytes.
#[derive(Clone, Copy, Default)]
struct Virtual {
    all: u64,
    /// Private and writable, and no stack.
    data: u64,
    stack: u64,
    /// Executable.
    text: u64,
}

fn add_up(space: &AddressSpace, stack: VirtAddr) -> Virtual {
    let mut sums = Virtual::default();
    space.for_each_vma(|vma| {
        sums.all += vma.bytes();
        if vma.growth == Growth::Down || vma.contains(stack) {
            sums.stack += vma.bytes();
        } else if vma.prot.contains(Prot::WRITE) {
            sums.data += vma.bytes();
        } else if vma.prot.contains(Prot::EXEC) {
            sums.text += vma.bytes();
        }
    });
    sums
}

impl Mm {
    /// Writes the status of a process. `space` is `None` for one whose memory is gone: the rows of memory are missing
    /// then, as on Linux. Takes M for reading, so it may sleep.
    ///
    /// # Errors
    /// The sink's.
    pub fn write_status(
        &self,
        subject: &Subject<'_>,
        space: Option<&AddressSpace>,
        out: &mut dyn fmt::Write,
    ) -> fmt::Result {
        let mut to = Lines::new(out);
        to.text("Name:\t")?;
        to.text(subject.name)?;
        to.text("\nState:\t")?;
        to.text(subject.state.text())?;
        to.ascii(b'\n')?;
        to.tab_number("Tgid", subject.pid.into())?;
        to.tab_number("Pid", subject.pid.into())?;
        to.tab_number("PPid", subject.ppid.into())?;
        if let Some(space) = space {
            self.memory_rows(space, subject.stack, &mut to)?;
        }
        to.tab_number("Threads", subject.threads.into())?;
        to.finish()
    }

    fn memory_rows(&self, space: &AddressSpace, stack: VirtAddr, to: &mut Lines<'_>) -> fmt::Result {
        let mmap = space.mmap_lock.read(self.env);
        let sums = add_up(space, stack);
        let mut tally = Tally::new(self);
        tally.add(space, VirtAddr::new(0), USER_END, Reading::Locked);
        drop(mmap);
        let sizes = tally.sizes();
        debug_assert!(sizes.tables.is_multiple_of(PAGE_SIZE));
        to.tab_row("VmSize", sums.all)?;
        to.tab_row("VmLck", 0)?;
        to.tab_row("VmRSS", sizes.rss())?;
        to.tab_row("RssAnon", sizes.anonymous)?;
        to.tab_row("RssFile", sizes.file)?;
        to.tab_row("RssShmem", sizes.shmem)?;
        to.tab_row("VmData", sums.data)?;
        to.tab_row("VmStk", sums.stack)?;
        to.tab_row("VmExe", sums.text)?;
        to.tab_row("VmLib", 0)?;
        to.tab_row("VmPTE", sizes.tables)?;
        to.tab_row("VmSwap", 0)?;
        to.tab_row("HugetlbPages", sizes.private_hugetlb + sizes.shared_hugetlb)?;
        to.tab_number("THP_enabled", (space.thp_permission() != ThpPermission::Withheld).into())
    }
}
