//! Time and ticks.

use core::sync::atomic::{AtomicU64, Ordering};

use mm::Mm;

use super::kit::comes;
use crate::selftest::{Verdict, check, selftest};
use crate::{sched, time};

selftest!("timer::time_never_goes_back", time_never_goes_back);
selftest!("timer::ticks_come", ticks_come);

/// Each CPU, one after another, sees a later time than the one before.
fn time_never_goes_back(mm: &'static Mm) -> Verdict {
    let (latest, back) = (AtomicU64::new(0), AtomicU64::new(0));
    for _ in 0..20 {
        let here = time::now_ns();
        mm.env.run_on_each_cpu(&|| {
            let now = time::now_ns();
            latest.fetch_max(now, Ordering::SeqCst);
            back.fetch_add(u64::from(now < here), Ordering::SeqCst);
        });
        let after = time::now_ns();
        check!(after >= latest.load(Ordering::SeqCst), "{after} ns after another CPU's later time");
    }
    check!(back.load(Ordering::SeqCst) == 0, "{} times a CPU's time was behind", back.load(Ordering::SeqCst));
    Ok(())
}

/// The timer's interrupts are counted, about one in 10 ms.
fn ticks_come(_: &'static Mm) -> Verdict {
    let ticks = || {
        let mut all = 0;
        sched::for_each_thread(|thread| all += thread.ticks);
        all
    };
    let before = ticks();
    let came = comes(|| ticks() >= before + 5);
    check!(came, "{} ticks in two seconds", ticks() - before);
    Ok(())
}
