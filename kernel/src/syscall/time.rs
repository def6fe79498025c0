//! clock_gettime and nanosleep.
#![forbid(unsafe_code)]

use super::{Answer, Errno, user};
use crate::process::Process;
use crate::time;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// CLOCK_REALTIME, MONOTONIC, MONOTONIC_RAW, REALTIME_COARSE, MONOTONIC_COARSE, BOOTTIME. All begin at boot: the
/// kernel reads no calendar.
const CLOCKS: [u64; 6] = [0, 1, 4, 5, 6, 7];

/// `clock_gettime(clock, timespec)`.
pub(super) fn clock_gettime(clock: u64, to: u64) -> Answer {
    if !CLOCKS.contains(&clock) {
        return Err(Errno::INVAL);
    }
    let now = time::now_ns();
    let mut timespec = [0; 16];
    timespec[..8].copy_from_slice(&(now / NS_PER_SECOND).to_le_bytes());
    timespec[8..].copy_from_slice(&(now % NS_PER_SECOND).to_le_bytes());
    user::write(to, &timespec)?;
    Ok(0)
}

/// `nanosleep(request, remaining)`. Nothing but the end interrupts a sleep, so `remaining` is never written.
pub(super) fn nanosleep(process: &Process, request: u64, _remaining: u64) -> Answer {
    let mut timespec = [0; 16];
    user::read(request, &mut timespec)?;
    let [seconds, nanoseconds] = [0, 8].map(|at| {
        let mut word = [0; 8];
        word.copy_from_slice(&timespec[at..at + 8]);
        i64::from_le_bytes(word)
    });
    if seconds < 0 || !(0..NS_PER_SECOND as i64).contains(&nanoseconds) {
        return Err(Errno::INVAL);
    }
    let length = (seconds as u64).saturating_mul(NS_PER_SECOND).saturating_add(nanoseconds as u64);
    process.sleep_ns(length);
    Ok(0)
}
