//! The scheduler: preemptive round robin over one run queue, on all CPUs.
//!
//! Threads have slots in a table of fixed size, and are in lists by these slots, so that starting one can fail only for
//! want of a slot or memory, and waking one cannot fail at all. One spinlock protects the table. A context switch
//! happens with that lock held: the thread that is switched to releases it, on the same CPU.
//!
//! ```text
//!           spawn                  picked
//!   Free ----------> Runnable <-----------------> Running --- exit ---> Dead --- reap ---> Free
//!                       ^      preempted, yields     |
//!                       |                            | park, sleep
//!                       `------- unpark, time ----- Parked, Sleeping
//! ```
//! Each CPU has two threads that no other runs: one that idles, and the stopper, which is on standby until the CPU is
//! asked to stop ([`crate::stop`]), and comes before all others then.
//!
//! | file | what |
//! |---|---|
//! | `thread` | one thread: state, context, stack, address space |
//! | `table` | the table, the run queue, and what each CPU runs |
//! | `switch` | changing from one thread to another; the idle loop |
//! | `wait` | park, unpark, sleep, join |
//! | `life` | spawn, exit, reap |
//! | `fp` | EL0's vector registers, saved only for those who use them |

mod fp;
mod life;
mod switch;
mod table;
mod thread;
mod wait;

pub use fp::{fp_copy, fp_trap};
pub use life::{SpawnError, USER_THREAD, make_stopper, reap, spawn, spawn_user};
pub use switch::{idle_loop, init_boot_cpu, preempt, tick, want_resched, yield_now};
pub use table::{MAX_THREADS, ThreadInfo, call_stopper, current_process, for_each_thread, running_name};
pub use thread::{FpBox, State, ThreadId};
pub use wait::{join, park, park_until, sleep_ns, sleep_ns_while, unpark_all, wake};
