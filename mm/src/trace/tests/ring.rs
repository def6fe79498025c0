//! The rings: what makes room for what, and who may write at once.

use arch::contract::CpuId;
use arch::model::Job;
use arch::{Cpu, Machine};

use super::super::record::RECORD_BYTES;
use super::super::{Phase, Point, Points, Record, Running};
use super::{read, said, say};
use crate::testkit::{self, Builder, run_on_cpus};

/// Records of the smallest ring.
const PLACES: u64 = 4096 / RECORD_BYTES;

/// Every field of a record survives its words, at its largest too.
#[test]
fn a_record_and_its_words() {
    for &point in Point::ALL {
        for phase in [Phase::Begin, Phase::End, Phase::Instant] {
            let running = Running { thread: (1 << 48) - 1, pid: u32::MAX };
            let cpu = CpuId::new(15);
            let args = [u64::MAX, 1, 0, 1 << 63];
            let record = Record {
                time: u64::MAX,
                order: (1 << 48) - 2,
                point,
                phase,
                running,
                cpu,
                n: u32::MAX,
                args,
            };
            assert_eq!(Record::from_words(record.to_words()), Some(record));
        }
    }
    let nothing = Record::from_words([0, 0xff << 48, 0, 0, 0, 0, 0, 0]);
    assert_eq!(nothing, None, "there is no point 255");
}

/// A full ring gives up its oldest records, says how many, and keeps the newest in their order.
#[test]
fn the_oldest_make_room() {
    Builder::new().boot(|mm, _| {
        let trace = &mm.stats.trace;
        trace.set_ring_kib(mm, 4).unwrap();
        trace.switch_on(mm, Points::NONE.with(Point::Make)).unwrap();
        (0..PLACES).for_each(|n| say(mm, n));
        let lost = |mm| trace.with_still(mm, |still| (still.written(CpuId::BOOT), still.lost(CpuId::BOOT)));
        assert_eq!(lost(mm), (PLACES, 0));
        assert_eq!(said(mm, 0), (0..PLACES).collect::<Vec<_>>());
        (PLACES..PLACES + 10).for_each(|n| say(mm, n));
        assert_eq!(lost(mm), (PLACES + 10, 10));
        assert_eq!(said(mm, 0), (10..PLACES + 10).collect::<Vec<_>>());
        assert_eq!(trace.with_still(mm, |still| still.record(CpuId::BOOT, 9)), None, "it was lost");
        trace.forget(mm);
        assert_eq!((lost(mm), said(mm, 0)), ((0, 0), vec![]));
        trace.switch_off(mm, Points::ALL);
        trace.forget(mm);
    });
}

/// Four CPUs write at once, however they take turns: each has all of its own records, in its own order, and all of them
/// are numbered, each once.
#[test]
fn writers_on_all_cpus() {
    const EACH: u64 = 40;
    for seed in 1..6 {
        Builder::new().cpus(4).machine(|desc| desc.seed = seed).boot(|mm, env| {
            let trace = &mm.stats.trace;
            trace.switch_on(mm, Points::NONE.with(Point::Make)).unwrap();
            let jobs = (0..4).map(|cpu| -> Job<'_> {
                Box::new(move || {
                    for n in 0..EACH {
                        Machine::interleave();
                        say(mm, cpu * 1000 + n);
                    }
                })
            });
            run_on_cpus(env, jobs.collect());
            for cpu in 0..4 {
                let expected: Vec<_> = (0..EACH).map(|n| cpu * 1000 + n).collect();
                assert_eq!(said(mm, cpu as usize), expected, "CPU {cpu}, seed {seed}");
            }
            let orders: Vec<_> = read(mm).iter().map(|record| record.order).collect();
            assert_eq!(orders, (0..4 * EACH).collect::<Vec<_>>(), "seed {seed}");
            trace.switch_off(mm, Points::ALL);
            trace.forget(mm);
        });
    }
}

/// A record says when, where, and who: the thread that was switched to last on its CPU. The change itself is the old
/// thread's, and has the new one's name.
#[test]
fn whose_records_they_are() {
    testkit::boot(|mm| {
        let trace = &mm.stats.trace;
        trace.switched(Running { thread: 0x1_0007, pid: 3 }, "first");
        trace.switch_on(mm, Points::ALL).unwrap();
        say(mm, 1);
        trace.switched(Running { thread: 0x2_0008, pid: 0 }, "a name of more than 16");
        say(mm, 2);
        trace.switch_off(mm, Points::ALL);
        let records: Vec<_> = read(mm)
            .into_iter()
            .filter(|record| matches!(record.point, Point::Make | Point::Switch))
            .collect();
        let whose: Vec<_> =
            records.iter().map(|record| (record.point, record.running.thread, record.running.pid)).collect();
        let expected = [(Point::Make, 0x1_0007, 3), (Point::Switch, 0x1_0007, 3), (Point::Make, 0x2_0008, 0)];
        assert_eq!(whose, expected);
        let [thread, pid, first, second] = records[1].args;
        let name = [first.to_le_bytes(), second.to_le_bytes()].concat();
        assert_eq!((thread, pid, name.as_slice()), (0x2_0008, 0, b"a name of more t".as_slice()));
        assert!(records.is_sorted_by_key(|record| record.time) && records[0].time > 0);
        assert!(records.iter().all(|record| record.cpu == CpuId::BOOT && record.phase == Phase::Instant));
        trace.forget(mm);
    });
}
