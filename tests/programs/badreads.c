/*
 * badreads: one forbidden access a run. The kernel kills the process and goes on.
 *
 *     badreads <mode>      do it; the status is that of the table below, or 1 if it passes and must not
 *     badreads list        print `<mode> <status>` for every mode
 *
 * The statuses are those under QEMU. Signals: SIGILL 132, SIGTRAP 133, SIGBUS 135, SIGSEGV 139.
 */
#include "start.h"

enum { PASSES = 0, ILL = 132, TRAP = 133, BUS = 135, SEGV = 139 };

/* Addresses of the kernel's half: linear map, vmemmap, image. On Linux they are the kernel's, too. */
#define LINEAR 0xffff000040000000ul
#define VMEMMAP 0xffff800001000000ul
#define IMAGE 0xffffffff80000000ul
#define RET 0xd65f03c0u

static const word constant = 1;

static void call(word va)
{
    __asm__ volatile("blr %0" : : "r"(va) : "x30", "memory");
}

static void read_null(void) { load(0); }
static void read_linear(void) { load(LINEAR); }
static void read_vmemmap(void) { load(VMEMMAP); }
static void read_image(void) { load(IMAGE); }
static void write_linear(void) { store(LINEAR, 1); }
static void write_vmemmap(void) { store(VMEMMAP, 0); }
static void write_image(void) { store(IMAGE, 1); }
static void read_noncanonical(void) { load(0x0001000000000000); }
static void jump_null(void) { call(0); }
static void jump_image(void) { call(IMAGE); }
static void jump_linear(void) { call(LINEAR); }
static void jump_misaligned(void) { call((word)call + 2); }
static void write_text(void) { store((word)call, 0); }
static void write_constant(void) { store((word)&constant, 2); }

static void read_unmapped(void)
{
    word page = must_map(PAGE);
    sys_munmap(page, PAGE);
    load(page);
}

static void read_none(void)
{
    word page = must_map(PAGE);
    store(page, 1);
    sys_mprotect(page, PAGE, PROT_NONE);
    load(page);
}

static void write_readonly(void)
{
    word page = must_map(PAGE);
    store(page, 1);
    sys_mprotect(page, PAGE, PROT_READ);
    store(page, 2);
}

static void execute_data(void)
{
    word page = must_map(PAGE);
    *(volatile uint32_t *)page = RET;
    call(page);
}

static void execute_stack(void)
{
    volatile uint32_t code[4] = {RET};
    call((word)code);
}

static volatile word depth_limit = -1ul;

/* Each frame holds a volatile array, so that neither the frame nor the call can be left out. */
static word recurse(word depth)
{
    volatile word frame[64];
    frame[depth % 64] = depth;
    if (depth == depth_limit)
        return 0;
    return recurse(depth + 1) + frame[depth % 64];
}

static void stack_overflow(void)
{
    recurse(1);
}

/* An access with a misaligned sp faults on hardware (SCTLR_EL1.SA0, SIGBUS); QEMU's TCG does not check it. */
static void misaligned_sp(void)
{
    __asm__ volatile("mov x9, sp\n sub x10, x9, #72\n mov sp, x10\n ldr x11, [sp]\n mov sp, x9"
                     : : : "x9", "x10", "x11", "memory");
}

/* Over a boundary of 16 bytes: within them FEAT_LSE2 permits it. */
static void misaligned_exclusive(void)
{
    word four[4] = {0, 0, 0, 0};
    word boundary = ((word)four + 15) & ~(word)15;
    __asm__ volatile("ldxr x9, [%0]\n clrex" : : "r"(boundary + 12) : "x9", "memory");
}

static void undefined(void) { __asm__ volatile("udf #0"); }
static void read_system_register(void) { __asm__ volatile("mrs x9, sctlr_el1" : : : "x9"); }
static void write_system_register(void) { __asm__ volatile("msr ttbr0_el1, xzr"); }
static void tlb_invalidate(void) { __asm__ volatile("tlbi vmalle1is"); }
static void mask_interrupts(void) { __asm__ volatile("msr daifset, #2"); }
static void exception_return(void) { __asm__ volatile("eret"); }
static void hypervisor_call(void) { __asm__ volatile("hvc #0"); }
static void monitor_call(void) { __asm__ volatile(".inst 0xd4000003"); }
static void breakpoint(void) { __asm__ volatile("brk #0"); }
static void halt(void) { __asm__ volatile("hlt #0"); }

static const struct mode {
    const char *name;
    void (*act)(void);
    int status;
} MODES[] = {
    {"read-null", read_null, SEGV},
    {"read-linear", read_linear, SEGV},
    {"read-vmemmap", read_vmemmap, SEGV},
    {"read-image", read_image, SEGV},
    {"read-noncanonical", read_noncanonical, SEGV},
    {"read-unmapped", read_unmapped, SEGV},
    {"read-none", read_none, SEGV},
    {"write-linear", write_linear, SEGV},
    {"write-vmemmap", write_vmemmap, SEGV},
    {"write-image", write_image, SEGV},
    {"write-text", write_text, SEGV},
    {"write-constant", write_constant, SEGV},
    {"write-readonly", write_readonly, SEGV},
    {"jump-null", jump_null, SEGV},
    {"jump-linear", jump_linear, SEGV},
    {"jump-image", jump_image, SEGV},
    {"jump-misaligned", jump_misaligned, BUS},
    {"execute-data", execute_data, SEGV},
    {"execute-stack", execute_stack, SEGV},
    {"stack-overflow", stack_overflow, SEGV},
    {"misaligned-sp", misaligned_sp, PASSES},
    {"misaligned-exclusive", misaligned_exclusive, BUS},
    {"undefined", undefined, ILL},
    {"read-system-register", read_system_register, ILL},
    {"write-system-register", write_system_register, ILL},
    {"tlb-invalidate", tlb_invalidate, ILL},
    {"mask-interrupts", mask_interrupts, ILL},
    {"exception-return", exception_return, ILL},
    {"hypervisor-call", hypervisor_call, ILL},
    {"monitor-call", monitor_call, ILL},
    {"halt", halt, ILL},
    {"breakpoint", breakpoint, TRAP},
};

int main(int argc, char **argv)
{
    const char *wanted = mode(argc, argv, "list");
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++) {
        if (same(wanted, "list")) {
            say("%s %d", MODES[i].name, MODES[i].status);
        } else if (same(wanted, MODES[i].name)) {
            say("%s", wanted);
            MODES[i].act();
            say("%s%s: the process survived", MODES[i].status == PASSES ? "" : "not ok - ", wanted);
            return MODES[i].status != PASSES;
        }
    }
    if (same(wanted, "list"))
        return 0;
    say("not ok - no mode `%s`", wanted);
    return 99;
}
