//! The kit itself: what others' tests lean on.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arch::contract::Cpu;
use arch::model::{Job, user_load, user_store};
use arch::{Machine, Order};

use super::*;
use crate::env::KernelEnv;
use crate::error::OutOfMemory;
use crate::locks::{MMAP, SleepLock};
use crate::page::PageKind;
use crate::space::{MapProt, MmapRequest};

/// While the machine is stopped, no other vCPU makes a step.
#[test]
fn a_stopped_machine_stands_still() {
    Builder::new().cpus(4).boot(|_, env| {
        let (steps, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let walk = || {
            while !done.load(Ordering::Relaxed) {
                steps.fetch_add(1, Ordering::Relaxed);
                Machine::relax();
            }
        };
        let stop = || {
            for _ in 0..20 {
                env.stop_machine(&mut || {
                    let before = steps.load(Ordering::Relaxed);
                    (0..50).for_each(|_| Machine::interleave());
                    assert_eq!(steps.load(Ordering::Relaxed), before);
                });
            }
            done.store(true, Ordering::Relaxed);
        };
        run_on_cpus(env, vec![Box::new(stop), Box::new(walk), Box::new(walk), Box::new(walk)]);
        assert!(steps.load(Ordering::Relaxed) > 0);
    });
}

/// Two that stop the machine at once come one after the other.
#[test]
fn stopping_is_exclusive() {
    Builder::new().cpus(3).boot(|_, env| {
        let inside = AtomicUsize::new(0);
        let stop = || {
            for _ in 0..50 {
                env.stop_machine(&mut || {
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                    Machine::interleave();
                    inside.fetch_sub(1, Ordering::Relaxed);
                });
            }
        };
        run_on_cpus(env, (0..3).map(|_| -> Job<'_> { Box::new(stop) }).collect());
    });
}

/// A function for each CPU runs once on each, as that CPU.
#[test]
fn each_cpu_runs_it_once() {
    Builder::new().cpus(3).boot(|_, env| {
        let ran = [const { AtomicUsize::new(0) }; 3];
        env.run_on_each_cpu(&|| {
            ran[Machine::id().index()].fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ran.map(AtomicUsize::into_inner), [1; 3]);
    });
}

/// A writer keeps everybody out, sleeping threads are woken, and the machine can be stopped while one sleeps.
#[test]
fn sleep_locks_exclude() {
    Builder::new().cpus(4).boot(|_, env| {
        let (lock, value) = (SleepLock::new(MMAP), AtomicUsize::new(0));
        let write = || {
            for _ in 0..200 {
                let _guard = lock.write(env);
                let seen = value.load(Ordering::Relaxed);
                Machine::interleave();
                value.store(seen + 1, Ordering::Relaxed);
            }
        };
        let read = || {
            for _ in 0..50 {
                let guard = lock.read(env);
                let seen = value.load(Ordering::Relaxed);
                Machine::interleave();
                assert_eq!(value.load(Ordering::Relaxed), seen);
                drop(guard);
                env.stop_machine(&mut || ());
            }
        };
        run_on_cpus(env, vec![Box::new(write), Box::new(write), Box::new(read), Box::new(read)]);
        assert_eq!(value.into_inner(), 400);
    });
}

/// A seed is a run, step by step, although locks and memory stand at other addresses of the host each time.
#[test]
fn a_seed_is_a_run() {
    let run = |seed| {
        Builder::new().ram_mib(32).cpus(3).machine(|desc| desc.seed = seed).boot(|mm, env| {
            let space = mm.new_space().unwrap();
            let request = MmapRequest::anonymous(64 << 12, MapProt::READ | MapProt::WRITE);
            let va = mm.mmap(&space, &request).unwrap();
            let job = || {
                run_as_user(mm, env, &space, || {
                    (0..64).for_each(|n| user_store(va.add(n << 12), n).unwrap())
                });
            };
            run_on_cpus(env, (0..3).map(|_| -> Job<'_> { Box::new(job) }).collect());
            mm.destroy_space(&space);
            (model::steps(), model::counters())
        })
    };
    for seed in 0..4 {
        let shift = vec![0u8; 1000 * seed as usize];
        let first = run(seed);
        drop(shift);
        assert_eq!(run(seed), first);
    }
    assert_ne!(run(0), run(1));
}

/// An operation that keeps a page when it fails is found out.
#[test]
#[should_panic(expected = "after allocation 2 failed, 1 pages are missing")]
fn a_leak_is_found() {
    fail_every_allocation(
        &Builder::new().ram_mib(16),
        |_| (),
        |mm, ()| -> Result<(), OutOfMemory> {
            let first = mm.alloc_pages(Order::PAGE, PageKind::Kernel)?;
            let second = mm.alloc_pages(Order::PAGE, PageKind::Kernel)?;
            [first, second].into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
            Ok(())
        },
    );
}

/// A user's accesses fault their pages in and read back what was written; one that no VMA allows fails and leaves
/// its reason; and when the space is gone so is its memory.
#[test]
fn user_accesses_fault_in() {
    Builder::new().boot(|mm, env| {
        let before = mm.free_page_count();
        let space = mm.new_space().unwrap();
        let rights = MapProt::READ | MapProt::WRITE;
        let va = mm.mmap(&space, &MmapRequest::anonymous(64 << 10, rights)).unwrap();
        run_as_user(mm, env, &space, || {
            for n in 0..16 {
                user_store(va.add(n << 12), n).unwrap();
            }
            assert!((0..16).all(|n| user_load(va.add(n << 12)) == Ok(n)));
            assert!(mm.free_page_count() < before);
            assert!(user_load(va.add(1 << 30)).is_err());
        });
        assert!(env.last_fault().unwrap().to_string().contains("no VMA"));
        mm.destroy_space(&space);
        assert_eq!(mm.free_page_count(), before);
    });
}
