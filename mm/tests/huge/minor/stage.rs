//! What these tests stand on: a space, an object, a context, and two who do something at once.

use std::ops::Range;

use arch::VirtAddr;
use arch::model::{Job, MachineDesc, run_on_cpus};
use mm::Mm;
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::shmem::ObjectUse;
use mm::space::{AddressSpace, MapFlags, MapProt, MmapRequest};
use mm::testkit::{Builder, HostEnv, run_as_user};
use mm::userfault::{Minor, Serves, Userfault, Wake};

pub(super) const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
pub(super) const SIZE: HugeSize = HugeSize::K64;
pub(super) const BYTES: u64 = SIZE.bytes();
/// Pages of the object.
pub(super) const PAGES: u64 = 4;
/// What is delivered.
pub(super) const WORD: u64 = 0x1234_5678_9abc_def0;
/// Where everything is mapped.
pub(super) const BASE: u64 = 1 << 32;
/// Where it may be moved to.
pub(super) const ELSEWHERE: u64 = 2 << 32;

/// A space that maps an object of four pages, all of them registered; the first two pages are in the object.
pub(super) struct Stage<'m> {
    pub(super) mm: &'m Mm,
    pub(super) env: &'static HostEnv,
    pub(super) space: KArc<AddressSpace>,
    pub(super) object: ObjectUse,
    pub(super) context: KArc<Userfault>,
}

pub(super) fn at(page: u64) -> VirtAddr {
    VirtAddr::new(BASE + page * BYTES)
}

pub(super) fn pages(range: Range<u64>) -> Range<VirtAddr> {
    at(range.start)..at(range.end)
}

pub(super) fn shared(pages: u64, address: u64) -> MmapRequest {
    let request = MmapRequest::anonymous(pages * BYTES, RW).fixed(address);
    MmapRequest { flags: MapFlags::SHARED | MapFlags::FIXED, ..request }
}

impl<'m> Stage<'m> {
    pub(super) fn new(mm: &'m Mm, env: &'static HostEnv) -> Self {
        Stage::serving(mm, env, Serves::All)
    }

    pub(super) fn serving(mm: &'m Mm, env: &'static HostEnv, serves: Serves) -> Self {
        assert_eq!(mm.hugetlb.set_nr(mm, SIZE, PAGES + 1).persistent, PAGES + 1);
        let object = mm.new_named_object(b"test", Some(SIZE)).unwrap();
        mm.truncate_object(&object, PAGES * BYTES).unwrap();
        let space = mm.new_space().unwrap();
        mm.mmap_object(&space, &shared(PAGES, BASE), &object).unwrap();
        let context = mm.new_userfault(&space, serves).unwrap();
        mm.register_userfault(&context, pages(0..PAGES)).unwrap();
        mm.bring_huge_pages(&object, 0..2).unwrap();
        Stage { mm, env, space, object, context }
    }

    pub(super) fn as_user<R>(&self, f: impl FnOnce() -> R) -> R {
        run_as_user(self.mm, self.env, &self.space, f)
    }

    /// The next fault, waited for.
    pub(super) fn next(&self) -> Minor {
        loop {
            self.context.wait_for_fault(self.mm).unwrap();
            if let Some(fault) = self.context.next_fault(pages(0..PAGES)) {
                return fault;
            }
        }
    }

    /// Brings the word to the beginning of a page of the object and lets it be seen.
    pub(super) fn serve(&self, page: u64) {
        self.mm.deliver(&self.object, page * BYTES, &WORD.to_le_bytes()).unwrap();
        let done = self.mm.continue_userfault(&self.context, pages(page..page + 1), Wake::Now);
        assert_eq!(done, (BYTES, Ok(())));
    }

    /// Ends all of it, with the pool.
    pub(super) fn end(self) {
        self.mm.close_userfault(&self.context);
        self.mm.destroy_space(&self.space);
        self.mm.close_object(self.object);
        assert_eq!(self.mm.hugetlb.set_nr(self.mm, SIZE, 0).persistent, 0);
        assert_eq!(self.mm.hugetlb.counts(SIZE).reserved, 0);
    }

    /// Which part of its range is registered, a word a page.
    pub(super) fn registered(&self) -> [bool; PAGES as usize] {
        [0, 1, 2, 3].map(|page| self.space.vma_at(at(page)).is_some_and(|vma| vma.userfault.is_some()))
    }
}

pub(super) fn machine() -> Builder {
    Builder::new().ram_mib(32).cpus(3)
}

pub(super) fn seeded(seed: u64) -> Builder {
    machine().machine(move |desc: &mut MachineDesc| desc.seed = seed)
}

pub(super) fn staged(f: impl FnOnce(&Stage<'_>)) {
    machine().boot(|mm, env| {
        let stage = Stage::new(mm, env);
        f(&stage);
        stage.end();
    });
}

/// A user waits on one vCPU while another does something that lets him go on; at 20 seeds. What he finds is the job's
/// to say.
pub(super) fn while_one_waits(waits: impl Fn(&Stage<'_>) + Sync, meanwhile: impl Fn(&Stage<'_>) + Sync) {
    for seed in 0..20 {
        seeded(seed).boot(|mm, env| {
            let stage = Stage::new(mm, env);
            let (stage_ref, waits, meanwhile) = (&stage, &waits, &meanwhile);
            let jobs: Vec<Job<'_>> = vec![
                Box::new(move || meanwhile(stage_ref)),
                Box::new(move || stage_ref.as_user(|| waits(stage_ref))),
            ];
            run_on_cpus(jobs);
            mm.check_all().unwrap();
            assert_eq!(stage.context.waiting(), 0, "seed {seed}");
            stage.end();
        });
    }
}
