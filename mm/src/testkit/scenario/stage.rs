//! The machine and the boot choices of a run, as the seed has them, and its end.
#![forbid(unsafe_code)]

use arch::features::{BbmLevel, Features};
use arch::model::{self, Job, MachineDesc};
use arch::{Machine, Order, PhysMem};

use super::Ran;
use super::home::{Home, Inside};
use super::memory::Memory;
use crate::Mm;
use crate::config::{HvoSplit, MmConfig, TailEncoding, VmemmapMap};
use crate::hvo::choice;
use crate::kalloc::KArc;
use crate::page::PageKind;
use crate::space::AddressSpace;
use crate::testkit::host_env::HostEnv;
use crate::testkit::{Builder, Random, check, run_on_cpus};

/// vCPUs of every scenario.
pub(super) const CPUS: usize = 4;

/// One element.
pub(super) fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize]
}

/// A booted machine, and the randomness of the run.
pub(super) struct Stage<'m> {
    pub(super) mm: &'m Mm,
    pub(super) env: &'static HostEnv,
}

/// Boots a machine of `ram_mib` MiB as `seed` has it and as `config` changes it, and runs `play`; then everything must
/// be consistent, and every page back that HVO does not keep.
pub(super) fn run(
    seed: u64,
    ram_mib: u64,
    config: impl FnOnce(&mut Random, &mut MmConfig),
    play: impl FnOnce(&Stage<'_>, &mut Random),
) -> Ran {
    run_on(seed, ram_mib, |_| (), config, play)
}

/// As [`run`], on a machine that `change` changes.
pub(super) fn run_on(
    seed: u64,
    ram_mib: u64,
    change: impl FnOnce(&mut MachineDesc),
    config: impl FnOnce(&mut Random, &mut MmConfig),
    play: impl FnOnce(&Stage<'_>, &mut Random),
) -> Ran {
    let mut random = Random::new(seed);
    let mut features = Features::BASE;
    let machine =
        machine(seed, ram_mib, &mut random).machine(change).machine(|desc| features = desc.features);
    let machine = machine.config(|choices| {
        choices.vmemmap = pick(&mut random, VmemmapMap::ALL);
        choices.tails = pick(&mut random, TailEncoding::ALL);
        choose_hvo(&mut random, choices, &features);
        config(&mut random, choices);
    });
    machine.boot(|mm, env| {
        let before = mm.free_page_count();
        play(&Stage { mm, env }, &mut random);
        check(mm);
        let kept = mm.hvo.kept_pages(mm) + mm.huge_zero.kept_pages();
        let free = mm.free_page_count();
        assert_eq!(
            free + kept,
            before,
            "pages are missing, or free twice, at the end ({kept} are kept by HVO and as zeros)"
        );
        Ran { steps: model::steps().steps }
    })
}

/// A way to split blocks and a strategy that go with the other choices on this machine.
fn choose_hvo(random: &mut Random, choices: &mut MmConfig, features: &Features) {
    let fits = |choices: &MmConfig, strategy| choice::fit(strategy, choices, features).is_ok();
    let split = pick(random, &[HvoSplit::Auto, HvoSplit::Fault, HvoSplit::StopMachine, HvoSplit::Pause]);
    choices.hvo_split = split;
    let possible: Vec<_> =
        choice::BEST_FIRST.into_iter().filter(|&strategy| fits(choices, strategy)).collect();
    choices.hvo = pick(random, &possible);
}

fn machine(seed: u64, ram_mib: u64, random: &mut Random) -> Builder {
    let levels = [BbmLevel::Level0, BbmLevel::Level1, BbmLevel::Level2, BbmLevel::Level3];
    Builder::new().ram_mib(ram_mib).cpus(CPUS).machine(|desc| {
        desc.seed = seed;
        desc.features.bbm = pick(random, &levels);
        desc.features.tlbi_range = pick(random, &[true, false]);
        desc.features.ttl = pick(random, &[true, false]);
        desc.features.asid_bits = pick(random, &[8, 16]);
    })
}

/// Bytes at the beginning of a page that hold vCPUs' words.
const WORDS: usize = 64;

impl Stage<'_> {
    /// Writes junk to the words of up to `blocks` free blocks of 2 MiB, so that who forgets to zero a page shows it.
    pub(super) fn spoil(&self, blocks: usize) {
        let block = |_| self.mm.alloc_pages(Order::PMD, PageKind::Kernel).ok();
        let blocks: Vec<_> = (0..blocks).map_while(block).collect();
        for block in blocks {
            for n in 0..Order::PMD.pages() {
                Machine::write_bytes(block.pfn().add(n).phys(), &[0xa5; WORDS]);
            }
            self.mm.free_pages(block, Order::PMD);
        }
    }

    /// Makes `space` the one that this vCPU runs, from now on; `None`: none.
    pub(super) fn switch_to(&self, space: Option<&KArc<AddressSpace>>) {
        self.mm.activate_space(space.map(|space| &**space));
        self.env.users.set(space.cloned());
    }

    /// Leaves a home for no other.
    pub(super) fn go(&self, inside: Inside<'_>) {
        self.switch_to(None);
        inside.leave();
    }

    /// What each vCPU knows of each home at first.
    pub(super) fn know_nothing(&self, homes: &[Home]) -> Vec<Vec<Vec<Memory>>> {
        (0..CPUS).map(|cpu| homes.iter().map(|home| home.memories(cpu)).collect()).collect()
    }

    /// Runs `job` on each vCPU, with `states[cpu]` and randomness of its own; returns what they return.
    pub(super) fn on_all_cpus<S: Send, T: Send>(
        &self,
        random: &mut Random,
        states: Vec<S>,
        job: impl Fn(S, Random) -> T + Sync,
    ) -> Vec<T> {
        let mut results: Vec<Option<T>> = states.iter().map(|_| None).collect();
        let mut jobs: Vec<Job<'_>> = Vec::new();
        for (state, result) in states.into_iter().zip(&mut results) {
            let (job, random) = (&job, Random::new(random.bits()));
            jobs.push(Box::new(move || *result = Some(job(state, random))));
        }
        run_on_cpus(self.env, jobs);
        results.into_iter().flatten().collect()
    }

    /// Looks at all that each vCPU has written to a home, checks everything with `homes`, which are all that there are,
    /// and ends them. `memories[cpu][home]` is what vCPU `cpu` knows.
    pub(super) fn close(&self, homes: Vec<Home>, memories: &mut [Vec<Vec<Memory>>]) {
        for (n, home) in homes.iter().enumerate() {
            let Some(inside) = home.enter(self) else { panic!("a home is closed at the end") };
            memories.iter_mut().for_each(|of_cpu| inside.look_at_all(&mut of_cpu[n]));
            self.go(inside);
        }
        check(self.mm);
        homes.into_iter().for_each(|home| home.end(self.mm));
    }
}
