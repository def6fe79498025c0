//! `hgm`: how long a process waits for a page of its memory that arrives, and for how many bytes, with entries that are
//! smaller than a hugetlb page and without: `tests/programs/postcopy.c`.
//!
//! The pools get what a part needs, and have their size back afterwards. Where memory has no page of 1 GiB in one
//! piece, the rows of that size are left out, in a sentence that says so.
#![forbid(unsafe_code)]

use mm::Mm;
use mm::hugetlb::HugeSize;

use super::Run;

/// One page of 1 GiB, and 32 pages of 2 MiB.
pub(super) fn run(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let sizes: [(_, _, &[&str]); 2] = [
        (HugeSize::M2, 32, &["postcopy", "shift=21", "pages=32", "touches=256", "rounds=4"]),
        (HugeSize::G1, 1, &["postcopy", "shift=30", "pages=1", "touches=512"]),
    ];
    run.expect(sizes.len());
    for (size, pages, args) in sizes {
        run.step(format_args!("{pages} pages of {size}"));
        with_pool(mm, run, size, pages, args)?;
    }
    Some(())
}

/// Runs a program with so many pages of the size in the pool, all free; passes it over where there are not so many.
fn with_pool(mm: &'static Mm, run: &mut Run<'_>, size: HugeSize, pages: u64, args: &[&str]) -> Option<()> {
    let before = mm.hugetlb.counts(size);
    let wanted = pages.max(before.nr);
    let got = mm.hugetlb.set_nr(mm, size, wanted).persistent;
    let free = mm.hugetlb.counts(size).free;
    let measured = if got == wanted && free >= pages {
        run.program(args)
    } else {
        run.line(format_args!("{pages} pages of {size} are left out: memory has {free} of them"));
        Some(())
    };
    let back = mm.hugetlb.set_nr(mm, size, before.nr).persistent;
    if back != before.nr {
        return run.fail(format_args!("the pool of {size} has {back} pages, and had {}", before.nr));
    }
    measured
}
