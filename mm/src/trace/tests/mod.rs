//! Tracepoints on the model: what is written, what is lost, and that it agrees with the counters.

mod control;
mod list;
mod ring;
mod workload;

use arch::contract::CpuId;

use super::{Phase, Point, Record, Still};
use crate::Mm;

/// All records that are still there, in their order.
fn records(still: &Still<'_>) -> Vec<Record> {
    let mut records: Vec<_> = still.cpus().flat_map(|cpu| still.records(cpu)).collect();
    records.sort_by_key(|record| record.order);
    records
}

/// The records of `mm`, in their order.
fn read(mm: &Mm) -> Vec<Record> {
    mm.stats.trace.with_still(mm, records)
}

/// Says a thing at a point that counts nothing.
fn say(mm: &Mm, what: u64) {
    mm.stats.note(Point::Make, 1, || [what, 0, 0, 0]);
}

/// What was said so, by one CPU, the oldest first.
fn said(mm: &Mm, cpu: usize) -> Vec<u64> {
    mm.stats
        .trace
        .with_still(mm, |still| still.records(CpuId::new(cpu)).map(|record| record.args[0]).collect())
}

/// Whether each slice that begins ends, by the same thread, and those of a thread nest. How many there are of each point.
fn assert_nested(records: &[Record]) -> Vec<(Point, u64)> {
    let mut open: Vec<(usize, Point)> = Vec::new();
    let mut slices: Vec<(Point, u64)> = Vec::new();
    for record in records {
        let cpu = record.cpu.index();
        match record.phase {
            Phase::Begin => open.push((cpu, record.point)),
            Phase::End => {
                let last = open.iter().rposition(|&(of, _)| of == cpu);
                let last = last.unwrap_or_else(|| panic!("{record:?} ends what has not begun"));
                assert_eq!(open.remove(last).1, record.point, "{record:?} crosses another slice");
                match slices.iter_mut().find(|(point, _)| *point == record.point) {
                    Some((_, n)) => *n += 1,
                    None => slices.push((record.point, 1)),
                }
            }
            Phase::Instant => {}
        }
    }
    assert_eq!(open, [], "slices that do not end");
    slices
}
