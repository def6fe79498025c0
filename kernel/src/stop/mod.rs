//! What one CPU asks of all others: to stand still, to run a function, or to have been seen.
//!
//! | call | another CPU | who waits |
//! |---|---|---|
//! | [`stop_machine`] | changes to its stopper, a thread that comes before all others, and stands still there | all, from the first to arrive until the work is done |
//! | [`pause_others`] | stands still in the handler of the interrupt | the same, but for the changes of threads |
//! | [`run_on_each_cpu`] | runs the function in the handler of the interrupt, and stands still there | the same |
//! | [`grace_period`] | goes on; it has its interrupts open at some moment, as it does all the time | the caller alone |
//!
//! Who stands still has its interrupts masked, holds no spinlock, and touches its own stack and the words of the request
//! only: no struct page, which may have no translation meanwhile.
//!
//! | file | what |
//! |---|---|
//! | `request` | the first three: one request of all CPUs at a time |
//! | `grace` | the fourth: a counter on each CPU |
//! | `figures` | how often, how many interrupts, how long CPUs stood still |

mod figures;
mod grace;
mod request;

pub use figures::{Asked, Pauses, asked, ipis, pauses, take_pauses};
pub use grace::{grace_period, idles, seen};
pub use request::{ipi, join, kick, online_cpus, pause_others, run_on_each_cpu, stop_machine, stopper};
