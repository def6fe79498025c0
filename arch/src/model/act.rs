//! Acting as another vCPU, as the handler of an interrupt that one CPU sends to another.

use super::bind::current;
use super::machine::State;
use super::sched::Phase;
use super::step::{Step, before};
use crate::contract::CpuId;

/// The caller is itself again when this is dropped, also by a panic.
struct Return<'m> {
    state: &'m State,
    /// As whom it acts, and that vCPU's mask.
    cpu: CpuId,
    masked: bool,
    /// Who it was.
    own: CpuId,
}

impl Drop for Return<'_> {
    fn drop(&mut self) {
        let sched = &self.state.sched;
        sched.swap_mask(self.cpu, self.masked);
        sched.give_back(self.cpu);
        sched.become_cpu(self.own);
    }
}

/// Runs `f` on the caller's stack as vCPU `cpu`, interrupts unmasked. Where that has a job of its own, only once that
/// stands at a step with interrupts unmasked, and it does not go on before `f` has ended. A vCPU that has no kernel
/// root yet starts with that of vCPU 0.
///
/// # Panics
/// The machine has no such vCPU.
#[track_caller]
pub fn run_as<R>(cpu: CpuId, f: impl FnOnce() -> R) -> R {
    current(|state, own| {
        let (cpus, sched) = (state.desc.cpus, &state.sched);
        assert!(cpu.index() < cpus, "model: no vCPU {cpu} on a machine of {cpus}");
        if cpu == own {
            return f();
        }
        before(state, own, Step::ActAs(cpu));
        sched.block(state, Phase::AwaitsVcpu(cpu));
        sched.displace(cpu);
        sched.become_cpu(cpu);
        let back = Return { state, cpu, masked: sched.swap_mask(cpu, false), own };
        state.regime().start(cpu);
        let result = f();
        drop(back);
        // Somebody may act as this vCPU at this moment.
        sched.block(state, Phase::Ready);
        result
    })
}
