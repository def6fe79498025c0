//! The set of VMAs and its search for gaps, against a sorted vector that is searched from end to end.

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::layout::{USER_END, USER_START};

use super::gap::{self, MMAP_BASE};
use super::vma::STACK_GUARD_GAP;
use super::{
    AccessPattern, Commit, Grain, Growth, HugeAdvice, MAX_VMAS, MmapError, Prot, Usage, Vma, VmaKind, VmaSet,
};
use crate::testkit::{self, Builder, Random, fail_every_allocation};

const BLOCK: u64 = 2 << 20;

/// The oracle: VMAs in a vector, sorted.
#[derive(Default)]
struct Model(Vec<Vma>);

impl Model {
    fn overlapping(&self, start: VirtAddr, end: VirtAddr) -> impl Iterator<Item = &Vma> {
        self.0.iter().filter(move |vma| vma.start < end && start < vma.end)
    }
    fn cut(&mut self, at: VirtAddr) {
        if let Some(n) = self.0.iter().position(|vma| vma.start < at && at < vma.end) {
            let whole = self.0[n];
            self.0[n].end = at;
            self.0.insert(n + 1, whole.part(at, whole.end));
        }
    }
    fn remove(&mut self, start: VirtAddr, end: VirtAddr) {
        self.cut(start);
        self.cut(end);
        self.0.retain(|vma| vma.end <= start || end <= vma.start);
    }
    fn insert(&mut self, vma: Vma) {
        self.0.push(vma);
        self.0.sort_by_key(|vma| vma.start);
        self.merge(vma.start, vma.end);
    }
    fn change(&mut self, start: VirtAddr, end: VirtAddr, change: impl Fn(&mut Vma)) {
        self.cut(start);
        self.cut(end);
        self.0.iter_mut().filter(|vma| vma.start < end && start < vma.end).for_each(change);
        self.merge(start, end);
    }
    /// Equal neighbours that meet in `[start, end]` become one.
    fn merge(&mut self, start: VirtAddr, end: VirtAddr) {
        let mut n = 0;
        while n + 1 < self.0.len() {
            let (low, high) = (self.0[n], self.0[n + 1]);
            if (start..=end).contains(&low.end) && low.merges_with(&high) {
                self.0[n].end = high.end;
                self.0.remove(n + 1);
            } else {
                n += 1;
            }
        }
    }
    /// The highest place, tried gap by gap from the top.
    fn gap(&self, bytes: u64) -> Option<VirtAddr> {
        let align = if bytes >= BLOCK { BLOCK } else { PAGE_SIZE };
        [(USER_START, MMAP_BASE), (MMAP_BASE, USER_END)].into_iter().find_map(|(low, high)| {
            let ends = self.0.iter().map(|vma| vma.end).chain([low]).map(|end| end.max(low));
            let fits = ends.filter_map(|from| {
                let above = self.0.iter().find(|vma| vma.end > from);
                let to = above.map_or(high, |vma| vma.guard_start()).min(high);
                let start = VirtAddr::new(to.raw().checked_sub(bytes)?).align_down(align);
                (start >= from).then_some(start)
            });
            fits.max()
        })
    }
}

fn vma(start: u64, pages: u64, random: &mut Random) -> Vma {
    let prot = if random.below(2) == 0 { Prot::READ } else { Prot::READ | Prot::WRITE };
    let growth = if random.below(12) == 0 { Growth::Down } else { Growth::Fixed };
    // Now and then moved, so that neighbours differ in their linear index.
    let moved = random.below(4) / 3 * 1000;
    Vma {
        start: VirtAddr::new(start),
        end: VirtAddr::new(start + pages * PAGE_SIZE),
        prot,
        kind: VmaKind::Anon,
        advice: HugeAdvice::None,
        pattern: AccessPattern::Normal,
        commit: Commit::Account,
        userfault: None,
        grain: Grain::Whole,
        growth,
        pgoff: start / PAGE_SIZE + moved,
    }
}

fn agree(set: &VmaSet, model: &Model, step: u64) {
    assert_eq!(set.len(), model.0.len(), "step {step}");
    assert!(
        set.iter().eq(model.0.iter()),
        "step {step}: {:#?}\n{:#?}",
        set.iter().collect::<Vec<_>>(),
        model.0
    );
    assert!(set.is_sound(), "step {step}: the tree is not sound");
}

/// Thousands of random calls on windows of different sizes: what is in the set, what is found, and which gap is chosen.
#[test]
fn the_set_is_a_sorted_vector() {
    let mut random = Random::for_test("the_set_is_a_sorted_vector", 7);
    testkit::boot(|_| {
        for (window, longest, steps) in
            [(64, 8, 1500), (4096, 40, 1500), (4096, 2, 3000), (60_000, 1300, 800)]
        {
            let (mut set, mut model) = (VmaSet::new(), Model::default());
            let base = MMAP_BASE.raw() - window / 2 * PAGE_SIZE;
            for step in 0..steps {
                let first = random.below(window);
                let pages = 1 + random.below(longest.min(window - first));
                let (start, end) = (
                    VirtAddr::new(base + first * PAGE_SIZE),
                    VirtAddr::new(base + (first + pages) * PAGE_SIZE),
                );
                set.prepare(3).unwrap();
                match random.below(8) {
                    0..4 => {
                        let new = vma(start.raw(), pages, &mut random);
                        set.remove(start, end);
                        set.insert(new);
                        model.remove(start, end);
                        model.insert(new);
                    }
                    4 | 5 => {
                        set.remove(start, end);
                        model.remove(start, end);
                    }
                    _ => {
                        let prot = vma(0, 1, &mut random).prot;
                        set.change(start, end, |vma| vma.prot = prot);
                        model.change(start, end, |vma| vma.prot = prot);
                    }
                }
                agree(&set, &model, step);
                let found = set.find(start);
                assert_eq!(found, model.0.iter().find(|vma| vma.end > start).copied(), "step {step}");
                let below = set.find_below(start);
                assert_eq!(below, model.0.iter().rfind(|vma| vma.start < start).copied(), "step {step}");
                assert!(set.overlapping(start, end).eq(model.overlapping(start, end)), "step {step}");
                let bytes = (1 + random.below(2 * longest)) * PAGE_SIZE;
                let wish = gap::find(&set, 0, bytes, VmaKind::Anon.granule());
                assert_eq!(wish, model.gap(bytes), "step {step}: a gap of {bytes:#x} bytes");
                let index = first + random.below(2000);
                let pages = base / PAGE_SIZE + index..base / PAGE_SIZE + index + 30;
                let linear = set.next_linear(&pages, USER_START).map(|part| part.start);
                let expected =
                    model.0.iter().filter_map(|vma| pages.clone().find_map(|index| vma.address_of(index)));
                assert_eq!(linear, expected.min(), "step {step}: linear index");
            }
        }
    });
}

/// No gap, a gap as large as all, and the guard gap of a stack whose lower neighbour lies inside of it.
#[test]
fn gaps_at_the_edges() {
    testkit::boot(|_| {
        let mut set = VmaSet::new();
        let find = |set: &VmaSet, bytes| gap::find(set, 0, bytes, VmaKind::Anon.granule());
        assert_eq!(find(&set, PAGE_SIZE), Some(VirtAddr::new(MMAP_BASE.raw() - PAGE_SIZE)));
        assert_eq!(find(&set, MMAP_BASE.offset_from(USER_START)), None, "2 MiB alignment does not fit");
        set.prepare(3).unwrap();
        let mut random = Random::new(1);
        let stack = MMAP_BASE.raw() - 4 * PAGE_SIZE;
        set.insert(Vma { growth: Growth::Down, ..vma(stack, 4, &mut random) });
        assert_eq!(find(&set, PAGE_SIZE), Some(VirtAddr::new(stack - STACK_GUARD_GAP - PAGE_SIZE)));
        set.insert(Vma { growth: Growth::Fixed, ..vma(stack - 8 * PAGE_SIZE, 1, &mut random) });
        assert_eq!(find(&set, PAGE_SIZE), Some(VirtAddr::new(stack - 9 * PAGE_SIZE)));
        let all = Vma { start: USER_START, end: USER_END, ..vma(USER_START.raw(), 1, &mut random) };
        set.remove(USER_START, USER_END);
        set.insert(all);
        assert_eq!(find(&set, PAGE_SIZE), None);
    });
}

/// Each allocation of `prepare` fails once; the set is as it was, and what was prepared can be put in.
#[test]
fn room_is_made_or_nothing_changes() {
    let failed = fail_every_allocation(
        &Builder::new(),
        |_| (VmaSet::new(), Model::default()),
        |_, (mut set, mut model)| {
            let mut outcome = Ok(());
            for n in 0..200 {
                let new = vma(USER_START.raw() + n * 4 * PAGE_SIZE, 1, &mut Random::new(n));
                match set.prepare(1) {
                    Ok(()) => {
                        set.insert(new);
                        model.insert(new);
                    }
                    Err(error) => outcome = Err(error),
                }
                agree(&set, &model, n);
            }
            outcome
        },
    );
    assert!(failed >= 7, "{failed} allocations failed");
}

/// The set takes 65530 VMAs, and is no deeper then than its ways are long; the next is refused and nothing is lost.
#[test]
fn the_limit() {
    testkit::boot(|_| {
        let mut set = VmaSet::new();
        let mut random = Random::for_test("the_limit", 3);
        let mut places: Vec<u64> = (0..MAX_VMAS as u64).collect();
        while let Some(n) = random.take(&mut places) {
            set.prepare(1).unwrap();
            let new = vma(USER_START.raw() + n * 2 * PAGE_SIZE, 1, &mut random);
            set.insert(new);
        }
        assert_eq!((set.len(), set.prepare(1)), (MAX_VMAS, Err(MmapError::TooManyVmas)));
        assert!(set.is_sound());
        (0..MAX_VMAS as u64).filter(|n| n % 3 != 0).for_each(|n| {
            let start = VirtAddr::new(USER_START.raw() + n * 2 * PAGE_SIZE);
            set.remove(start, start.add(PAGE_SIZE));
        });
        assert_eq!(set.len(), MAX_VMAS.div_ceil(3));
        assert!(set.is_sound());
    });
}

/// A space that has ended maps nothing, whatever its root is used for by then.
#[test]
fn nothing_is_mapped_after_the_end() {
    Builder::new().ram_mib(16).boot(|mm, _| {
        let space = mm.new_space().unwrap();
        mm.destroy_space(&space);
        assert_eq!(mm.usage(&space), Usage::default());
    });
}
