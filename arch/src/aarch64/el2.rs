//! From EL2 down to EL1, on each CPU that is entered at EL2.
//!
//! Everything at EL2 that could trap or change what EL1 does is set so that it does not: the kernel then
//! sees the same machine at either entry. Registers that only some CPUs have are written only there.

use core::arch::global_asm;

/// HCR_EL2.RW: EL1 is AArch64. Everything else is off: no stage 2, no traps, E2H clear.
const HCR_EL2: u64 = 1 << 31;
/// CPTR_EL2 without E2H: nothing traps but SVE and SME, which this kernel does not offer.
const CPTR_EL2: u64 = 0x33ff;
/// CNTHCTL_EL2: EL1 may use the physical counter and timer.
const CNTHCTL_EL2: u64 = 0b11;
/// ICC_SRE_EL2: system registers for the GIC at EL2 and, by Enable, at EL1.
const ICC_SRE_EL2: u64 = 0b1111;
/// SPSR_EL2: EL1 with its own stack pointer, everything masked.
const SPSR_EL2: u64 = 0x3c5;
/// SCTLR_EL1 with the MMU and caches off: the RES1 bits of Armv8.0.
const SCTLR_EL1_OFF: u64 = 0x30d0_0800;

global_asm!(
    r#"
    .section .idmap.text, "ax"

// Returns to x30 at EL1 with everything masked. Uses x9 and x10. A CPU entered at EL3 stays here.
    .global drop_to_el1
drop_to_el1:
    msr     daifset, #0xf
    mrs     x9, CurrentEL
    cmp     x9, #(2 << 2)
    b.lo    2f
    b.eq    3f
1:  wfe
    b       1b
2:  ret
3:
    mov     x10, #{hcr}
    msr     hcr_el2, x10
    isb
    mov     x10, #{cptr}
    msr     cptr_el2, x10
    mov     x10, #{cnthctl}
    msr     cnthctl_el2, x10
    msr     cntvoff_el2, xzr
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mrs     x10, midr_el1
    msr     vpidr_el2, x10
    mrs     x10, mpidr_el1
    msr     vmpidr_el2, x10

    // All performance counters belong to EL1 (MDCR_EL2.HPMN), nothing of the debug kind traps.
    mrs     x10, id_aa64dfr0_el1
    ubfx    x10, x10, #8, #4
    cmp     x10, #1
    b.lt    4f
    cmp     x10, #15
    b.eq    4f
    mrs     x10, pmcr_el0
    ubfx    x10, x10, #11, #5
4:  csel    x10, xzr, x10, lt
    msr     mdcr_el2, x10

    // GIC system registers (ID_AA64PFR0_EL1.GIC).
    mrs     x10, id_aa64pfr0_el1
    ubfx    x10, x10, #24, #4
    cbz     x10, 5f
    mov     x10, #{icc_sre}
    msr     S3_4_C12_C9_5, x10          // ICC_SRE_EL2
    isb
    msr     S3_4_C12_C11_0, xzr         // ICH_HCR_EL2

    // Fine-grained traps (ID_AA64MMFR0_EL1.FGT).
5:  mrs     x10, id_aa64mmfr0_el1
    ubfx    x10, x10, #56, #4
    cbz     x10, 6f
    msr     S3_4_C1_C1_4, xzr           // HFGRTR_EL2
    msr     S3_4_C1_C1_5, xzr           // HFGWTR_EL2
    msr     S3_4_C1_C1_6, xzr           // HFGITR_EL2
    msr     S3_4_C3_C1_4, xzr           // HDFGRTR_EL2
    msr     S3_4_C3_C1_5, xzr           // HDFGWTR_EL2

    // Extended hypervisor configuration (ID_AA64MMFR1_EL1.HCX).
6:  mrs     x10, id_aa64mmfr1_el1
    ubfx    x10, x10, #40, #4
    cbz     x10, 7f
    msr     S3_4_C1_C2_2, xzr           // HCRX_EL2

7:  ldr     x10, ={sctlr}
    msr     sctlr_el1, x10
    mov     x10, #{spsr}
    msr     spsr_el2, x10
    msr     elr_el2, x30
    eret
    .ltorg
"#,
    hcr = const HCR_EL2,
    cptr = const CPTR_EL2,
    cnthctl = const CNTHCTL_EL2,
    icc_sre = const ICC_SRE_EL2,
    sctlr = const SCTLR_EL1_OFF,
    spsr = const SPSR_EL2,
);
