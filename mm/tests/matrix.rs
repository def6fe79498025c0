//! The policy matrix: every combination of boot choices, on every kind of machine, runs the same workload, with the
//! full check between its acts; what is refused is listed with its sentence.
//!
//! The choices come from the lists `ALL`, so a new variant is in the matrix by itself; one that a combination cannot
//! have must be refused at boot, and its sentence added to [`refused_at`].
//!
//! | act | what |
//! |---|---|
//! | fill | read faults map the page of zeros; writes replace it; a promotion where the policy makes one |
//! | cut | mprotect, munmap and MADV_DONTNEED of parts, which split blocks and give up reservations |
//! | pool | hugetlb grows, its free folios are restored and optimised, one is mapped, all is given back |
//! | end | exit; every page is back but those that HVO keeps |
//!
//! On two CPUs the second one looks at each address before and after each change, with whatever its TLB holds.

use std::collections::BTreeSet;
use std::sync::Mutex;

use arch::features::{BbmLevel, Features};
use arch::model::{user_load, user_store};
use arch::{Level, VirtAddr};
use mm::Mm;
use mm::config::{
    Contpte, HugePages, HvoSplit, HvoStrategy, Mapcount, MmConfig, Promote, PromotionThreshold,
    ReserveReclaim, TailEncoding, ThpMode, VmemmapMap,
};
use mm::hugetlb::HugeSize;
use mm::hvo::Switch;
use mm::hvo::choice::choose;
use mm::kalloc::KArc;
use mm::page::PageKind;
use mm::space::{AddressSpace, Advice, MapFlags, MapProt, MmapRequest};
use mm::stats::Counter;
use mm::testkit::{Builder, HostEnv, check, run_as_user, run_on_cpus};
use mm::thp::promoter;

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
const BASE: VirtAddr = VirtAddr::new(0x4000_0000);
/// Promotion thresholds: both ends of the range, and few pages.
const THRESHOLDS: [u64; 3] = [1, 3, 512];

/// Every sentence with which a combination is refused at boot on a machine of this FEAT_BBM level, in the order of the
/// alphabet.
fn refused_at(bbm: BbmLevel) -> Vec<String> {
    let no_split = format!(
        "hvo=bbml2: vmemmap=pmd has to be split, and with FEAT_BBM level {} that cannot be done without a break",
        bbm as u8
    );
    let mut refused =
        vec!["hvo=alias: tails=pointer makes the tails of each folio say something else".to_string()];
    if bbm < BbmLevel::Level2 {
        refused.push(no_split.replace("hvo=bbml2", "hvo=alias"));
        refused.push(no_split);
    }
    refused.push(
        "mapcount=thp-like counts in tail struct pages, which HVO maps read-only: it needs hvo=off"
            .to_string(),
    );
    refused
}

/// A machine and its boot choices.
#[derive(Clone, Copy, Debug)]
struct Variant {
    config: MmConfig,
    bbm: BbmLevel,
    tlbi_range: bool,
    cpus: usize,
}

/// Every combination of boot choices. Only `thp=reserve` knows a threshold and somebody who promotes.
fn configs() -> Vec<MmConfig> {
    let mut configs = vec![MmConfig { hugepages: HugePages::NONE, ..MmConfig::default() }];
    fn choose<T: Copy>(configs: &mut Vec<MmConfig>, all: &[T], set: impl Fn(&mut MmConfig, T)) {
        *configs = configs
            .iter()
            .flat_map(|config| all.iter().map(|&value| (*config, value)))
            .map(|(mut config, value)| {
                set(&mut config, value);
                config
            })
            .collect();
    }
    choose(&mut configs, Mapcount::ALL, |config, value| config.mapcount = value);
    choose(&mut configs, TailEncoding::ALL, |config, value| config.tails = value);
    choose(&mut configs, VmemmapMap::ALL, |config, value| config.vmemmap = value);
    choose(&mut configs, HvoStrategy::ALL, |config, value| config.hvo = value);
    choose(&mut configs, HvoSplit::ALL, |config, value| config.hvo_split = value);
    choose(&mut configs, ThpMode::ALL, |config, value| config.thp = value);
    choose(&mut configs, &THRESHOLDS, |config, value| {
        config.promotion_threshold = PromotionThreshold::new(value).unwrap();
    });
    choose(&mut configs, Promote::ALL, |config, value| config.promote = value);
    configs.retain(has_hvo_choices);
    let (threshold, promote) = (THRESHOLDS[0] as u16, Promote::ALL[0]);
    configs
        .retain(|config| config.thp == ThpMode::Reserve || config.promotion_threshold.pages() == threshold);
    // With a threshold of 1 nothing is promoted, so it does not matter who does.
    configs.retain(|config| config.promotion_threshold.pages() != threshold || config.promote == promote);
    configs
}

/// How HVO works matters to no other choice but that of counting, where it is on, and to how vmemmap is mapped: so its
/// ways are each taken with the default policy, and all policies with none and the default. A block that is not to be
/// split leaves folios as they are, which has its own test.
fn has_hvo_choices(config: &MmConfig) -> bool {
    let default = MmConfig::default();
    let plain = config.mapcount == default.mapcount && config.thp == ThpMode::ALL[0];
    let usual = matches!(config.hvo, HvoStrategy::Off | HvoStrategy::Auto);
    let splits = config.hvo_split == HvoSplit::Auto
        || plain && config.vmemmap == VmemmapMap::Pmd && config.hvo == HvoStrategy::Alias;
    splits && config.hvo_split != HvoSplit::Refuse && (usual || plain)
}

/// Every combination on machines of this FEAT_BBM level: on each machine with the default way of counting, on one or
/// the other of them with each other way. Every other machine folds no groups, and each second pair of them gives up
/// reservations in the order of their use.
fn variants(bbm: BbmLevel) -> impl Iterator<Item = Variant> {
    let machines = [(false, 1), (false, 2), (true, 1), (true, 2)];
    configs().into_iter().enumerate().flat_map(move |(n, config)| {
        let all = config.mapcount == MmConfig::default().mapcount;
        let here = move |m: &usize| all || *m == n % machines.len();
        (0..machines.len()).filter(here).map(move |m| {
            let (tlbi_range, cpus) = machines[m];
            let contpte = Contpte::ALL[(n + m) % Contpte::ALL.len()];
            let reserve_reclaim = ReserveReclaim::ALL[(n + m / 2) % ReserveReclaim::ALL.len()];
            let config = MmConfig { contpte, reserve_reclaim, ..config };
            Variant { config, bbm, tlbi_range, cpus }
        })
    })
}

impl Variant {
    /// 16 MiB of RAM.
    fn builder(self) -> Builder {
        let machine = Builder::new().ram_mib(16).cpus(self.cpus).config(|config| *config = self.config);
        machine.machine(|desc| {
            desc.features.bbm = self.bbm;
            desc.features.tlbi_range = self.tlbi_range;
        })
    }
    /// Whether the first write maps a block.
    fn is_huge_at_once(self) -> bool {
        match self.config.thp {
            ThpMode::Never => false,
            ThpMode::Always | ThpMode::Madvise | ThpMode::Defer => true,
            ThpMode::Reserve => self.config.promotion_threshold.pages() == 1,
        }
    }
    /// How many pages are written first: as many as it takes to promote, or a few.
    fn pages(self) -> u64 {
        let reserve = self.config.thp == ThpMode::Reserve;
        if reserve { self.config.promotion_threshold.pages().into() } else { 4 }
    }
    /// Whether the range is one block in the end.
    fn is_huge(self) -> bool {
        self.config.thp != ThpMode::Never
    }
    /// Runs the workload, or says why it must not.
    fn run(self) -> Result<(), String> {
        let booted = self.builder().try_boot(|mm, env| {
            let before = mm.free_page_count();
            let space = mm.new_space().unwrap();
            let stage = Stage { variant: self, mm, env, space };
            stage.fill();
            stage.cut();
            stage.pool();
            mm.destroy_space(&stage.space);
            check(mm);
            assert_eq!(
                mm.free_page_count(),
                before - mm.hvo.kept_pages(mm) - mm.huge_zero.kept_pages(),
                "{self:?}: free pages at the end"
            );
        });
        booted.map_err(|error| error.to_string())
    }
}

/// One machine at work.
struct Stage<'t> {
    variant: Variant,
    mm: &'t Mm,
    env: &'static HostEnv,
    space: KArc<AddressSpace>,
}

impl Stage<'_> {
    /// Runs `f` as the user on every CPU, one after the other; the first CPU's answer, which is everybody's.
    fn everywhere<R: PartialEq + core::fmt::Debug + Send>(&self, f: impl Fn() -> R + Sync) -> R {
        let Stage { mm, env, ref space, variant } = *self;
        let first = run_as_user(mm, env, space, &f);
        if variant.cpus > 1 {
            let second = Mutex::new(None);
            let job = || *second.lock().unwrap() = Some(run_as_user(mm, env, space, &f));
            run_on_cpus(env, vec![Box::new(|| ()), Box::new(job)]);
            assert_eq!(second.into_inner().unwrap().as_ref(), Some(&first), "{variant:?}: the second CPU");
        }
        first
    }

    /// What every CPU reads at the first page of range `range`, and page `page` further on.
    fn word(&self, range: u64, page: u64) -> Option<u64> {
        self.everywhere(|| user_load(BASE.add(range * HUGE + page * PAGE)).ok())
    }

    fn store(&self, range: u64, pages: core::ops::Range<u64>) {
        run_as_user(self.mm, self.env, &self.space, || {
            pages.for_each(|page| user_store(BASE.add(range * HUGE + page * PAGE), page + 1).unwrap());
        });
    }

    fn level(&self, range: u64) -> Option<Level> {
        Some(self.space.ptl.lock().walk(BASE.add(range * HUGE)).leaf()?.level)
    }

    /// Two ranges of 2 MiB: the first is written by page 0 first, the second is read first.
    fn fill(&self) {
        let Stage { mm, variant, .. } = self;
        mm.mmap(&self.space, &MmapRequest::anonymous(2 * HUGE, RW).fixed(BASE.raw())).unwrap();
        mm.madvise(&self.space, BASE.raw(), HUGE, Advice::HugePage).unwrap();
        mm.madvise(&self.space, BASE.raw() + HUGE, HUGE, Advice::NoHugePage).unwrap();
        assert_eq!([0, 5].map(|page| self.word(1, page)), [Some(0); 2]);
        assert_eq!(mm.stats.get(Counter::NrAnon), 0, "{variant:?}: the page of zeros is counted");
        self.store(1, 0..3);
        assert_eq!([0, 2, 5].map(|page| self.word(1, page)), [Some(1), Some(3), Some(0)]);
        self.store(0, 0..1);
        let at_once = if variant.is_huge_at_once() { Level::L2 } else { Level::L3 };
        assert_eq!(self.level(0), Some(at_once).filter(|_| variant.pages() > 1 || variant.is_huge_at_once()));
        self.store(0, 1..variant.pages());
        check(mm);
        let promotes = variant.is_huge() && !variant.is_huge_at_once();
        let sync = promotes && variant.config.promote == Promote::Sync;
        assert_eq!(self.level(0) == Some(Level::L2), sync || variant.is_huge_at_once(), "{variant:?}");
        assert_eq!(promoter::drain(mm), (promotes && !sync).into(), "{variant:?}: ranges that were promoted");
        assert_eq!(self.level(0) == Some(Level::L2), variant.is_huge(), "{variant:?}");
        let last = variant.pages() - 1;
        assert_eq!(self.word(0, last), Some(last + 1));
        check(mm);
    }

    /// Parts of both ranges lose rights, contents, or their mapping.
    fn cut(&self) {
        let Stage { mm, ref space, variant, .. } = *self;
        self.store(0, 100..108);
        let at = |page| BASE.raw() + page * PAGE;
        mm.mprotect(space, at(101), 3 * PAGE, MapProt::READ).unwrap();
        let stored =
            self.everywhere(|| [100, 101].map(|page| user_store(VirtAddr::new(at(page)), page + 1).is_ok()));
        assert_eq!(stored, [true, false], "{variant:?}");
        assert_eq!([0, 100, 103].map(|page| self.word(0, page)), [Some(1), Some(101), Some(104)]);
        mm.munmap(space, at(102), PAGE).unwrap();
        mm.madvise(space, at(105), PAGE, Advice::DontNeed).unwrap();
        assert_eq!(
            [101, 102, 105, 106].map(|page| self.word(0, page)),
            [Some(102), None, Some(0), Some(107)]
        );
        check(mm);
        mm.mprotect(space, at(103), 300 * PAGE, MapProt::empty()).unwrap();
        mm.mprotect(space, at(103), 300 * PAGE, RW).unwrap();
        mm.madvise(space, at(200), 400 * PAGE, Advice::DontNeed).unwrap();
        assert_eq!(
            [106, 300, 512, 514].map(|page| self.word(0, page)),
            [Some(107), Some(0), Some(0), Some(0)]
        );
        mm.munmap(space, BASE.raw(), HUGE).unwrap();
        assert_eq!((self.word(0, 0), self.word(1, 0)), (None, Some(0)));
        check(mm);
    }

    /// The hugetlb pool, with HVO as the boot choice has it.
    fn pool(&self) {
        let Stage { mm, ref space, variant, .. } = *self;
        let hvo = variant.config.hvo != HvoStrategy::Off;
        let optimized = || mm.stats.get(Counter::NrHvoOptimized);
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 2).persistent, 2, "{variant:?}");
        assert_eq!(optimized(), if hvo { 2 } else { 0 });
        assert_eq!(mm.hugetlb.restore_free(mm).done, if hvo { 2 } else { 0 });
        assert_eq!(optimized(), 0);
        let request = MmapRequest::anonymous(HUGE, RW).fixed(BASE.raw()).with(MapFlags::HUGETLB);
        mm.mmap(space, &request).unwrap();
        self.store(0, 511..512);
        assert_eq!([0, 511].map(|page| self.word(0, page)), [Some(0), Some(512)]);
        check(mm);
        let again = mm.hugetlb.optimize_free(mm);
        assert_eq!((again.done, again.first_error.is_some()), if hvo { (1, false) } else { (0, true) });
        mm.munmap(space, BASE.raw(), HUGE).unwrap();
        assert_eq!(self.word(0, 511), None);
        check(mm);
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
        let pages = mm.alloc_pages(arch::Order::PMD, PageKind::Kernel).map(|page| mm.put_folio(page));
        assert_eq!(pages, Ok(()), "{variant:?}: the folios are the allocator's again");
    }
}

/// Runs all of a FEAT_BBM level. What is refused must be in the list.
fn run_level(bbm: BbmLevel) {
    let (mut ran, mut refused) = (0, BTreeSet::new());
    for variant in variants(bbm) {
        match variant.run() {
            Ok(()) => ran += 1,
            Err(sentence) => {
                println!("{variant:?}: {sentence}");
                refused.insert(sentence);
            }
        }
    }
    println!("FEAT_BBM {bbm:?}: {ran} combinations ran, {} refusals", refused.len());
    assert!(ran >= 4 * 16 * 2, "{ran} combinations are too few: the lists `ALL` have more");
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), refused_at(bbm));
}

/// All combinations, FEAT_BBM 0, with and without TLBI by range, on one CPU and two.
#[test]
fn bbm_level_0() {
    run_level(BbmLevel::Level0);
}

/// As at level 0.
#[test]
fn bbm_level_1() {
    run_level(BbmLevel::Level1);
}

/// As at level 0.
#[test]
fn bbm_level_2() {
    run_level(BbmLevel::Level2);
}

/// As at level 0.
#[test]
fn bbm_level_3() {
    run_level(BbmLevel::Level3);
}

/// What can be chosen later but not with this boot choice is refused in its own words: the switch of HVO, and values
/// that are none.
#[test]
fn later_choices_are_refused_in_words() {
    for config in configs() {
        let variant = Variant { config, bbm: BbmLevel::Level0, tlbi_range: false, cpus: 1 };
        // One huge page policy is enough, and a machine must boot to be told anything later.
        let boots = config.validate().is_ok() && choose(&config, &Features::BASE).is_ok();
        if config.thp != ThpMode::ALL[0] || !boots {
            continue;
        }
        variant.builder().boot(|mm, _| {
            let said = mm.hvo.set_switch(mm, Switch::On).map_err(|error| error.to_string());
            let expected = match config.hvo {
                HvoStrategy::Off => Err("the kernel was booted with hvo=off".to_string()),
                _ => Ok(()),
            };
            assert_eq!(said, expected);
        });
    }
    let mut config = MmConfig::default();
    for (key, words) in [
        (Mapcount::KEY, Mapcount::WORDS),
        (TailEncoding::KEY, TailEncoding::WORDS),
        (VmemmapMap::KEY, VmemmapMap::WORDS),
        (HvoStrategy::KEY, HvoStrategy::WORDS),
        (HvoSplit::KEY, HvoSplit::WORDS),
        (ThpMode::KEY, ThpMode::WORDS),
        (Promote::KEY, Promote::WORDS),
        (Contpte::KEY, Contpte::WORDS),
    ] {
        let error = config.parse(key, "none-of-them").unwrap_err().to_string();
        assert_eq!(error, format!("{key}=none-of-them: must be one of {}", words.join(" ")));
        for word in words {
            config.parse(key, word).unwrap();
            assert!(config.to_string().split(' ').any(|shown| shown == format!("{key}={word}")), "{config}");
        }
    }
}
