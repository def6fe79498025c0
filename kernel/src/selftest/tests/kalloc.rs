//! The kernel heap on the machine.

use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};

use allocator_api2::vec::Vec;
use mm::Mm;
use mm::kalloc::KArc;

use crate::selftest::{Verdict, check, check_eq, selftest};

selftest!("kalloc::blocks_keep_their_contents", blocks_keep_their_contents);
selftest!("kalloc::the_last_share_drops", the_last_share_drops);
selftest!("kalloc::a_request_beyond_memory_is_an_error", a_request_beyond_memory);

/// Vectors of many sizes, alive at the same time, each hold what was stored in them.
fn blocks_keep_their_contents(_: &'static Mm) -> Verdict {
    let mut all: [Vec<u8>; 20] = core::array::from_fn(|_| Vec::new());
    for (n, bytes) in all.iter_mut().enumerate() {
        let size = 1 << n;
        check!(bytes.try_reserve_exact(size).is_ok(), "no memory for {size} bytes");
        bytes.resize(size, n as u8);
    }
    for (n, bytes) in all.iter().enumerate() {
        check!(bytes.iter().all(|&byte| byte == n as u8), "a block of {} bytes was overwritten", bytes.len());
    }
    Ok(())
}

static DROPS: AtomicU32 = AtomicU32::new(0);

struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        DROPS.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is shared goes with its last share, once.
fn the_last_share_drops(_: &'static Mm) -> Verdict {
    DROPS.store(0, Ordering::Relaxed);
    let Ok(first) = KArc::try_new(Counted) else {
        check!(false, "no memory for a share");
        return Ok(());
    };
    let second = first.clone();
    drop(first);
    check_eq!(DROPS.load(Ordering::Relaxed), 0, "drops while a share is left");
    drop(second);
    check_eq!(DROPS.load(Ordering::Relaxed), 1, "drops with the last share");
    Ok(())
}

/// More than there is is an error, and nothing ends.
fn a_request_beyond_memory(mm: &'static Mm) -> Verdict {
    let mut bytes: Vec<u8> = Vec::new();
    let beyond = (mm.ram_pages() << 12) as usize;
    // A request whose memory nobody could use may be optimised away, and then succeeds.
    let mut request = |size| black_box(&mut bytes).try_reserve_exact(black_box(size));
    check!(request(beyond).is_err(), "a vector of {beyond} bytes");
    check!(request(64).is_ok(), "64 bytes afterwards");
    Ok(())
}
