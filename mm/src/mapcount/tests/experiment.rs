//! The experiment on the host: every scheme goes through it, and what is said of costs in the documentation is so.

use std::collections::BTreeMap;

use arch::Order;

use super::{machine, with_gigabyte};
use crate::config::Mapcount;
use crate::mapcount::experiment::{answers, costs, giant_costs, overflow};
use crate::page::PageKind;
use crate::testkit::touched::Touches;

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

/// Collapsing 1 GiB of real memory that is mapped by pages: rule A and pairs touch a count for each table at most,
/// counters of pages one for each page, there and back. Of 8192 such mappings the last is one too many where leaf
/// entries or their pages are counted.
#[test]
fn a_gigabyte_collapses() {
    with_gigabyte(|mm| {
        let free = mm.free_page_count();
        for &scheme in Mapcount::ALL {
            let mut all = Figures::new();
            let block = mm.alloc_contig(Order::PUD, PageKind::Kernel).unwrap();
            giant_costs(mm, scheme, block, &mut Touches, &mut |row| {
                println!("{row}");
                all.insert((row.what.into(), row.part), row.value);
            })
            .unwrap();
            assert_eq!(mm.free_page_count(), free);
            let of = |what: &str, part| all[&(what.to_string(), part)];
            let both = |part| {
                (
                    of("collapse_1g_in_one_step", part),
                    of("collapse_1g_step_1_of_2", part) + of("collapse_1g_step_2_of_2", part),
                )
            };
            let ((one_step, two_steps), (lines, lines_of_two)) = (both("atomics"), both("lines"));
            match scheme {
                Mapcount::ThpLike => {
                    assert!(one_step >= 1 << 18, "{one_step}");
                    assert!(two_steps >= 3 << 18, "{two_steps}");
                    assert!(lines >= 1 << 18 && lines_of_two >= 2 << 18, "{lines}, {lines_of_two}");
                }
                _ => {
                    if counts_leaves(scheme) && scheme != Mapcount::Vmacount {
                        assert!(one_step <= 4, "{scheme}: {one_step} for 512 tables of pages");
                    }
                    assert!(
                        one_step <= 2 * 513 && two_steps <= 2 * 1026,
                        "{scheme}: {one_step}, {two_steps}"
                    );
                    assert!(lines <= 3 && lines_of_two <= 6, "{scheme}: {lines}, {lines_of_two}");
                }
            }
            let fit = of("fits_of_8192_mappings_of_1g_by_pages", "");
            assert_eq!(fit, if counts_leaves(scheme) { 8191 } else { 8192 }, "{scheme}");
        }
    });
}

/// Whether each page entry is one more in one count.
fn counts_leaves(scheme: Mapcount) -> bool {
    use Mapcount::{MmOwner, RfcV2, TotalMapped, Vmacount};
    matches!(scheme, RfcV2 | Vmacount | MmOwner | TotalMapped)
}

/// Of 2^22 VMAs that map 2 MiB by 512 pages the last is one too many where leaf entries are counted. Where tops, pairs
/// or each page by itself are, they all fit.
#[test]
fn vmas_fit_until_a_count_is_full() {
    for &scheme in Mapcount::ALL {
        machine().boot(|mm, _| {
            let mut fit = 0;
            overflow(mm, scheme, &mut |row| fit = row.value).unwrap();
            assert_eq!(fit, (1 << 22) - u64::from(counts_leaves(scheme)), "{scheme}");
        });
    }
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
