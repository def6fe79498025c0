//! The kernel's own tables: every live leaf, and what the hardware makes of it.

use core::ops::ControlFlow;

use arch::addr::PAGE_SIZE;
use arch::contract::{FaultStatus, Privilege};
use arch::layout::{self, IMAGE_BASE, LINEAR_BASE};
use arch::pte::{PteFlags, Rights};
use arch::{Access, Machine, Mmu, VirtAddr};
use mm::Mm;
use mm::pgtable::visit::{Leaf, visit_leaves};

use crate::selftest::{Failure, NotPassed, Verdict, check, check_eq, require, selftest};

selftest!("pgtable::no_leaf_is_writable_and_executable", no_leaf_is_writable_and_executable);
selftest!("pgtable::nothing_of_the_kernel_is_el0s", nothing_of_the_kernel_is_el0s);
selftest!("pgtable::the_hardware_agrees_with_the_tables", the_hardware_agrees);
selftest!("pgtable::text_cannot_be_written_through_the_linear_map", text_cannot_be_written);
selftest!("pgtable::stacks_have_guard_pages", stacks_have_guard_pages);
selftest!("pgtable::pan_is_on", pan_is_on);

/// Looks at every leaf of the kernel's tree, under its lock; stops at the first that `fault` finds fault with.
/// Returns the number of leaves.
fn every_leaf(mm: &Mm, mut fault: impl FnMut(&Leaf) -> Result<(), Failure>) -> Result<u64, NotPassed> {
    let (mut count, mut found) = (0, ControlFlow::Continue(()));
    mm.with_kernel_tree(|tree, _| {
        visit_leaves(tree.root(), LINEAR_BASE, |leaf| {
            count += 1;
            if found.is_continue() {
                found = fault(&leaf).map_or_else(ControlFlow::Break, ControlFlow::Continue);
            }
        });
    });
    match found {
        ControlFlow::Break(failure) => Err(failure.into()),
        ControlFlow::Continue(()) => Ok(count),
    }
}

fn failure(leaf: &Leaf, what: &str) -> Failure {
    let rights = Rights(leaf.desc.flags(leaf.level));
    Failure::new(file!(), line!(), format_args!("{} ({}, level {}): {what}", leaf.va, rights, leaf.level))
}

/// No leaf lets anybody write where anybody may execute.
fn no_leaf_is_writable_and_executable(mm: &'static Mm) -> Verdict {
    let leaves = every_leaf(mm, |leaf| {
        let executable = leaf.desc.kernel_exec() || leaf.desc.user_exec();
        match leaf.desc.grants_write(Machine::hw_dirty()) && executable {
            true => Err(failure(leaf, "writable and executable")),
            false => Ok(()),
        }
    })?;
    check!(leaves > 0, "the kernel's tree has no leaves");
    Ok(())
}

/// The hardware's walker refuses EL0 every access to every leaf.
fn nothing_of_the_kernel_is_el0s(mm: &'static Mm) -> Verdict {
    every_leaf(mm, |leaf| {
        for access in [Access::Read, Access::Write] {
            if let Ok(pa) = Machine::translate(leaf.va, access, Privilege::User) {
                return Err(failure(leaf, if pa.raw() == 0 { "open to EL0, at 0" } else { "open to EL0" }));
            }
        }
        match leaf.desc.user_exec() || leaf.desc.flags(leaf.level).contains(PteFlags::USER) {
            true => Err(failure(leaf, "has a right for EL0")),
            false => Ok(()),
        }
    })?;
    Ok(())
}

/// The hardware's walker finds for EL1 what the tables say: output address and write permission.
fn the_hardware_agrees(mm: &'static Mm) -> Verdict {
    every_leaf(mm, |leaf| {
        let output = leaf.desc.output(leaf.level);
        let read = Machine::translate(leaf.va, Access::Read, Privilege::Kernel);
        let write = Machine::translate(leaf.va, Access::Write, Privilege::Kernel);
        if read != Ok(output) {
            return Err(failure(leaf, "the hardware reads elsewhere"));
        }
        match write.is_ok() == leaf.desc.grants_write(Machine::hw_dirty()) {
            true => Ok(()),
            false => Err(failure(leaf, "the hardware has another write permission")),
        }
    })?;
    Ok(())
}

/// What the kernel executes can be written neither where it runs nor at its linear address.
fn text_cannot_be_written(mm: &'static Mm) -> Verdict {
    let mut text = 0;
    every_leaf(mm, |leaf| {
        if leaf.va < IMAGE_BASE || !leaf.desc.kernel_exec() {
            return Ok(());
        }
        text += 1;
        let alias = layout::linear(leaf.desc.output(leaf.level));
        for va in [leaf.va, alias] {
            let write = Machine::translate(va, Access::Write, Privilege::Kernel);
            if !matches!(write, Err(FaultStatus::Permission(_))) {
                return Err(failure(leaf, "text can be written"));
            }
        }
        match Machine::translate(alias, Access::Read, Privilege::Kernel) {
            Ok(_) => Ok(()),
            Err(_) => Err(failure(leaf, "text cannot be read through the linear map")),
        }
    })?;
    check!(text > 0, "no leaf of the image is executable");
    Ok(())
}

/// A stack is mapped from its base to its top; the pages below and above are not; after it is freed nothing is.
fn stacks_have_guard_pages(mm: &'static Mm) -> Verdict {
    const PAGES: u64 = 4;
    let Ok(base) = mm.alloc_stack(PAGES) else {
        check!(false, "no memory for a stack");
        return Ok(());
    };
    let write = |va: VirtAddr| Machine::translate(va, Access::Write, Privilege::Kernel);
    let bytes = PAGES * PAGE_SIZE;
    let inside = (0..PAGES).all(|n| write(base.add(n * PAGE_SIZE)).is_ok());
    let (below, above) = (write(VirtAddr::new(base.raw() - 1)), write(base.add(bytes)));
    mm.free_stack(base, PAGES);
    let after = write(base);
    let is_unmapped = |result| matches!(result, Err(FaultStatus::Translation(_)));
    check!(inside, "a page of the stack at {base} is not mapped");
    check!(is_unmapped(below), "below the stack at {base}: {below:?}");
    check!(is_unmapped(above), "above the stack at {base}: {above:?}");
    check!(is_unmapped(after), "the freed stack at {base}: {after:?}");
    Ok(())
}

/// Where there is PAN every CPU has it on, so the kernel cannot reach user memory by accident.
fn pan_is_on(mm: &'static Mm) -> Verdict {
    use core::sync::atomic::{AtomicUsize, Ordering};
    require!(Machine::features().pan, "FEAT_PAN");
    let on = AtomicUsize::new(0);
    mm.env.run_on_each_cpu(&|| {
        on.fetch_add(usize::from(Machine::pan_is_on()), Ordering::Relaxed);
    });
    check_eq!(on.load(Ordering::Relaxed), mm.env.online_cpus(), "CPUs with PAN on");
    Ok(())
}
