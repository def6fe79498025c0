//! The experiment on the host: every scheme goes through it, and what is said of costs in the documentation is so.

use std::collections::BTreeMap;

use arch::PhysAddr;

use super::{machine, with_gigabyte};
use crate::config::Mapcount;
use crate::mapcount::experiment::{Giant, Meter, answers, costs, giant_costs};
use crate::testkit::touched;

/// Counts atomic operations and struct pages written.
struct Touches;

impl Meter for Touches {
    fn measure(&mut self, operation: &mut dyn FnMut(), say: &mut dyn FnMut(&'static str, u64, &'static str)) {
        let ((), touched) = touched::watch(operation);
        say("atomics", touched.atomics, "operations");
        say("lines", touched.lines.len() as u64, "struct-pages");
    }
}

type Figures = BTreeMap<(String, &'static str), u64>;

fn figures(scheme: Mapcount) -> Figures {
    let mut figures = Figures::new();
    machine().boot(|mm, _| {
        let free = mm.free_page_count();
        costs(mm, scheme, &mut Touches, &mut |row| {
            println!("{row}");
            figures.insert((row.what.into(), row.part), row.value);
        })
        .unwrap();
        assert_eq!(mm.free_page_count(), free);
    });
    figures
}

/// One atomic operation for a run, where the scheme allows it; counters of pages take one each, in a cache line each.
#[test]
fn a_run_is_one_atomic_operation() {
    for (scheme, batch, lines) in [
        (Mapcount::RfcV1, 1, 2),
        (Mapcount::RfcV1Counted, 1, 2),
        (Mapcount::RfcV2, 1, 1),
        (Mapcount::ThpLike, 513, 512),
        (Mapcount::Vmacount, 2, 3),
        (Mapcount::VmaPt, 1, 1),
        (Mapcount::MmOwner, 1, 2),
        (Mapcount::TotalMapped, 2, 2),
    ] {
        let figures = figures(scheme);
        let of = |what: &str, part| figures[&(what.to_string(), part)];
        let batched = (of("map_2m_pages_batch", "atomics"), of("map_2m_pages_batch", "lines"));
        assert_eq!(batched, (batch, lines), "{scheme}");
        assert!(of("map_2m_block", "atomics") <= 2, "{scheme}");
        let most = if scheme == Mapcount::ThpLike { 1025 } else { 2 };
        assert!(of("collapse_2m", "atomics") <= most, "{scheme}");
    }
}

/// Collapsing 1 GiB that is mapped by pages: rule A and pairs touch a count for each table at most, counters of pages
/// one for each page, there and back.
#[test]
fn a_gigabyte_collapses() {
    with_gigabyte(|mm, head| {
        for &scheme in Mapcount::ALL {
            let mut all = Figures::new();
            giant_costs(mm, scheme, head, &mut Touches, &mut |row| {
                println!("{row}");
                all.insert((row.what.into(), row.part), row.value);
            })
            .unwrap();
            let atomics = |what: &str| all[&(what.to_string(), "atomics")];
            let one_step = atomics("collapse_1g_in_one_step");
            let two_steps = atomics("collapse_1g_step_1_of_2") + atomics("collapse_1g_step_2_of_2");
            match scheme {
                Mapcount::ThpLike => {
                    assert!(one_step >= 1 << 18, "{one_step}");
                    assert!(two_steps >= 3 << 18, "{two_steps}");
                }
                _ => {
                    assert!(one_step <= 2 * 513 && two_steps <= 2 * 1026, "{scheme}: {one_step}, {two_steps}")
                }
            }
        }
    });
}

/// Of the states of the workload, the answers of all schemes: shares that add up, and no broken contract.
#[test]
fn answers_are_tabled() {
    for &scheme in Mapcount::ALL {
        machine().boot(|mm, _| {
            let mut sum = BTreeMap::new();
            let broken = answers(mm, scheme, 60, 7, &mut |row| {
                println!("{row}");
                *sum.entry(row.what).or_insert(0) += row.value;
            });
            assert_eq!(broken, Ok(0), "{scheme}");
            assert!(sum.values().all(|total| (9_990..=10_000).contains(total)), "{scheme}: {sum:?}");
        });
    }
}

/// 1 GiB of free memory in one piece is found, and given back whole.
#[test]
fn a_gigabyte_is_taken_and_given_back() {
    const GIB: u64 = 1 << 30;
    let big = machine().ram_mib(2048 + 64).machine(|desc| desc.max_steps = 2_000_000_000);
    big.boot(|mm, _| {
        let free = mm.free_page_count();
        let giant = Giant::take(mm).unwrap();
        assert_eq!(giant.head().pfn(), PhysAddr::new(2 * GIB).pfn());
        giant.free(mm);
        assert_eq!(mm.free_page_count(), free);
    });
    machine().boot(|mm, _| {
        let free = mm.free_page_count();
        assert!(Giant::take(mm).is_err(), "32 MiB have no gigabyte");
        assert_eq!(mm.free_page_count(), free);
    });
}
