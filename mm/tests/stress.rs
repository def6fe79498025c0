//! Every scenario of the test kit, for a handful of seeds.

use std::panic::catch_unwind;
use std::time::Instant;

use mm::testkit::scenario;

#[test]
fn probe() {
    let n: u32 = std::env::var("N").map_or(20, |n| n.parse().unwrap());
    for s in scenario::ALL {
        if std::env::var("ONLY").is_ok_and(|o| o != s.name) { continue; }
        let t = Instant::now();
        let mut steps = 0;
        for seed in 1..=u64::from(n) {
            match catch_unwind(|| (s.run)(seed)) { Ok(r) => steps += r.steps, Err(_) => println!("{} seed {seed} FAILED", s.name) }
        }
        println!("{}: {:?} per run, {} steps per run", s.name, t.elapsed() / n, steps / u64::from(n));
    }
}
