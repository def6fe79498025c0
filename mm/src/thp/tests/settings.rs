//! What becomes of reservations when a setting changes.

use super::*;
use crate::config::ThpMode;
use crate::space::Advice;
use crate::thp::promote::{PromoteError, promote_range};

/// A ripe range waits while the mode forbids that it becomes huge, in place or by pages brought back, and is promoted
/// when it allows it again.
#[test]
fn the_mode_in_force_decides_about_promotion() {
    use ThpMode::{Always, Defer, Madvise, Never, Reserve};
    for (mode, advice, promoted) in [
        (Never, None, 0),
        (Never, Some(Advice::HugePage), 0),
        (Madvise, None, 0),
        (Madvise, Some(Advice::HugePage), 1),
        (Always, None, 1),
        (Defer, None, 1),
        (Reserve, None, 1),
    ] {
        with_site(threshold(4), |site| {
            site.store_all(0..4);
            if let Some(advice) = advice {
                site.mm.madvise(&site.space, BASE.raw(), RANGES * RANGE_BYTES, advice).unwrap();
            }
            site.mm.thp.set_mode(mode);
            assert_eq!((site.drain(), site.get(Counter::ResPagesCollapsed)), (promoted, promoted), "{mode}");
            assert_eq!(site.is_block(0), promoted == 1);
            site.assert_contents(|page| page < 4);
        });
    }
}

/// A huge page that a write after fork has taken apart stays so while the mode is `never`.
#[test]
fn never_reunites_nothing() {
    with_site(threshold(256).config(|config| config.thp = ThpMode::Always), |site| {
        site.store_all(0..RANGE_PAGES);
        let child = site.mm.fork_space(&site.space).unwrap();
        site.store(7);
        site.mm.destroy_space(&child);
        site.mm.thp.set_mode(ThpMode::Never);
        assert_eq!(promote_range(site.mm, &site.space, BASE), Err(PromoteError::Vma));
        site.mm.thp.set_mode(ThpMode::Always);
        assert_eq!(promote_range(site.mm, &site.space, BASE), Ok(()));
        assert!(site.is_block(0));
        site.assert_contents(|_| true);
    });
}
