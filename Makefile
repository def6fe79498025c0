# Quire: `make help` lists the targets. Each installs what it needs and is not there (qemu/setup.sh).

.DEFAULT_GOAL := help
.NOTPARALLEL:
.SILENT:
.DELETE_ON_ERROR:
SHELL := /bin/bash

TARGET := aarch64-unknown-none-softfloat
PROFILE ?= release
HOST := qemu/toolchain.sh host
MACHINE := qemu/toolchain.sh machine

# A kernel with one way of counting mappings only: a value of mapcount=. Empty: it has all, and the boot choice decides.
ifneq ($(MAPCOUNT_PIN),)
export QUIRE_MAPCOUNT_PIN := $(MAPCOUNT_PIN)
endif

# What may be given to `make run`, `debug` and `bench`; qemu/machine.conf says what it is otherwise.
export CPU SMP MEM EL2 APPEND QEMU QEMU_ARGS TIMEOUT GDB GDB_ARGS COMMANDS
# What `make bench` is told by the environment, and what `make compare-linux` is.
export EXPERIMENT JOBS STRICT FIGURES FOLDER
export LINUX LINUX_ARGS LINUX_SOURCES DEBIAN_MIRROR
compare-linux: export ONLY := $(ONLY)
# What `make trace` is told by the environment.
export COMMAND POINTS FILTER BUFFER NAME

# ---- run ------------------------------------------------------------------------------------------------------

.PHONY: help run bench compare-linux experiments figures report report-check trace debug debug-reverse
help:
	@printf '%s\n' \
	  'make run         build, boot in QEMU: the tour, then the console (Ctrl-A x leaves QEMU)' \
	  '                 without a terminal standard input is typed in, then the power goes off' \
	  'make test        all tests: host crates, the machine matrix in QEMU, gdb sessions' \
	  'make test-host   only the tests of the host crates' \
	  'make soak        random schedules of the model of the machine, SECONDS=600; ONLY=... one scenario,' \
	  '                 MMU_SEED=... one seed' \
	  'make soak-hvo    HVO to and fro on 4 CPUs, under walkers of all struct pages and load, SECONDS=20;' \
	  '                 with the variables of run below' \
	  'make planted     bugs put into mm on purpose, which a soak must find and a seed replay' \
	  'make teeth       break the code on purpose, in every way of tests/teeth: does some test notice?' \
	  '                 ONLY=name,name for some of them, TABLE=1 to write the table of tests/teeth/README.md' \
	  'make debug       boot halted, with gdb attached and the commands of qemu/gdb loaded' \
	  'make debug-reverse  record a boot of one CPU, then gdb on its replay, which can go back (docs/gdb.md);' \
	  '                 COMMANDS="hvo; selftest thp" is typed in, GDB_ARGS="-batch -x FILE" runs a script' \
	  'make bench       measure in guest instructions, beside Linux: the same figures at each run;' \
	  '                 EXPERIMENT=... some experiments of experiments/, or parts (mmbench:group=fault,cow),' \
	  '                 JOBS=... so many boots at a time, STRICT=1 fails at a row that is an error;' \
	  '                 lists what has moved by more than 1 % since the last run and since tests/figures;' \
	  '                 the figures also go to target/bench/; FIGURES=1 takes them into the tree and docs' \
	  'make experiments list the experiments: what each asks' \
	  'make compare-linux  the same programs on Debian'"'"'s Linux and on Quire, on the same machine: fetches the' \
	  '                 kernel and busybox as packages; LINUX=7.2 a version or a suite, LINUX=list what there' \
	  '                 is, LINUX_ARGS=... its boot arguments, ONLY=mmbench:fault a part; docs/linux.md' \
	  'make figures     write the tables of docs from tests/figures, without measuring' \
	  'make report      the figures as one page of plots, target/report/index.html; MEASURE=1 runs make bench first' \
	  'make report-check' \
	  '                 opens that page in chromium, as on a phone and on a desk, in light and dark, and says what is' \
	  '                 wrong; pictures of it go to target/report/; CHROMIUM=... another browser of that family' \
	  'make trace       EXPERIMENT=hvo: an experiment of the console with tracepoints on, as a file in target/trace' \
	  '                 that ui.perfetto.dev opens, held against the counters; or COMMAND="run hello";' \
	  '                 POINTS=... points and rooms (all), FILTER=..., BUFFER=... KiB a CPU (8192), NAME=... of the' \
	  '                 file, and the variables of run below' \
	  'make lint        format check and clippy, warnings denied' \
	  'make doc         docs/ as a book, in target/book, and the documentation of all crates, in target/doc' \
	  '                 and target/$(TARGET)/doc' \
	  'make setup       only install what all of these need' \
	  'make clean       remove target/' \
	  '' \
	  'Variables of run, trace, debug and bench (their defaults and more are in qemu/machine.conf):' \
	  '  CPU=max            the CPU model, for example cortex-a72' \
	  '  SMP=2              the number of CPUs' \
	  '  MEM=512M           the size of RAM' \
	  '  EL2=1              enter the kernel at EL2' \
	  '  APPEND=...         boot arguments, for example APPEND="selftest=hvo tails=pointer"' \
	  '  QEMU=...           another QEMU' \
	  '  QEMU_ARGS=...      more arguments for it, for example a plugin' \
	  '  TIMEOUT=300        end the run after so many seconds' \
	  '  MAPCOUNT_PIN=...   a kernel with this value of mapcount= only, so that no choice is made at run time' \
	  '  PROFILE=checked    the kernel with debug assertions instead of release' \
	  '  GDB=... GDB_ARGS=  another gdb, more arguments for it'

run: need-host+machine+c+qemu kernel programs runner
	target/debug/quire-run $(KERNEL)

bench: need-host+machine+c+qemu kernel programs runner
	$(HOST) cargo build -q -p tests --bin counts </dev/null
	target/debug/quire-bench $(KERNEL)

compare-linux: need-host+machine+c+qemu+debian kernel programs runner
	target/debug/quire-linux $(KERNEL)

experiments: runner
	target/debug/quire-bench --list

figures: runner
	target/debug/quire-bench --figures

# The figures that there are, or MEASURE=1: those of today.
report: need-host $(if $(filter 1,$(MEASURE)),bench)
	$(HOST) cargo build -q -p report </dev/null
	target/debug/quire-report

report-check: need-host+browser
	$(HOST) cargo build -q -p report </dev/null
	target/debug/quire-report --check

trace: need-host+machine+c+qemu kernel programs runner
	target/debug/quire-trace $(KERNEL)

debug: need-host+machine+c+qemu+gdb kernel programs runner
	target/debug/quire-run --gdb $(KERNEL)

debug-reverse: need-host+machine+c+qemu+img+gdb kernel programs runner
	target/debug/quire-run --record --with record $(KERNEL)

# ---- build ----------------------------------------------------------------------------------------------------

KERNEL = target/$(TARGET)/$(PROFILE)/kernel

.PHONY: kernel kernel-checked runner programs
kernel: need-machine
	[ -e $(KERNEL) ] || echo 'building the kernel ($(PROFILE)); the first time takes some minutes' >&2
	$(MACHINE) cargo build $(if $(wildcard $(KERNEL)),-q) -p kernel --target $(TARGET) --profile $(PROFILE) </dev/null

kernel-checked: need-machine
	$(MACHINE) cargo build -q -p kernel --target $(TARGET) --profile checked </dev/null

runner: need-host need-qemu
	$(HOST) cargo build -q -p qemu </dev/null

# User programs: one C file each, no library, no vector registers, linked where the compiler likes it.
export USER_CC
USER_CFLAGS := -O2 -static -nostdlib -ffreestanding -fno-builtin -fno-stack-protector -fno-pie -no-pie \
	-mgeneral-regs-only -mno-outline-atomics -fno-tree-loop-distribute-patterns
USER_STRICT := -Wall -Wextra -Werror -Wl,-z,max-page-size=4096 -Wl,--build-id=none
# These two are what Linux was measured with: built as their heads say, whatever a compiler may warn of.
AS_ON_LINUX := target/programs/mmbench target/programs/thpfork
$(AS_ON_LINUX): USER_STRICT :=
PROGRAMS := $(patsubst tests/programs/%.c,target/programs/%,$(wildcard tests/programs/*.c))
STALE := $(filter-out $(PROGRAMS),$(wildcard target/programs/*))

programs: need-c $(PROGRAMS)
	rm -f $(STALE)

target/programs/%: tests/programs/%.c $(wildcard tests/programs/*.h) Makefile | need-c
	mkdir -p $(@D)
	$(or $(USER_CC),aarch64-linux-gnu-gcc) $(USER_CFLAGS) $(USER_STRICT) -o $@ $<

# ---- prove ----------------------------------------------------------------------------------------------------

HOST_CRATES := -p arch -p mm -p rows -p qemu -p report -p tests

.PHONY: test test-host teeth soak soak-hvo planted lint doc
test: PROFILE := release
test: need-host+machine+c+qemu+img+gdb+browser kernel kernel-checked programs runner
	tests/run all

test-host: need-host
	tests/run host

teeth: need-host
	$(HOST) cargo build -q -p tests --bin teeth </dev/null
	target/debug/teeth $(if $(ONLY),--only $(ONLY)) $(if $(TABLE),--table)

# What the host's programs are told by the environment: SECONDS is a variable of bash's own.
soak: export SOAK_SECONDS = $(SECONDS)
soak: need-host
	$(HOST) cargo build -q -p tests --bin soak --profile soak </dev/null
	target/soak/soak

# The machine may be far slower than its clock; a minute more than was asked for, and twice as long, is given.
soak-hvo: need-host+machine+c+qemu kernel programs runner
	printf 'hvo soak %s\n' $(or $(SECONDS),20) | SMP=$(or $(SMP),4) TIMEOUT=$(or $(TIMEOUT),$$((60 + 2 * $(or $(SECONDS),20)))) \
		APPEND="tour=off $(APPEND)" target/debug/quire-run $(KERNEL)

planted: need-host
	$(HOST) cargo build -q -p tests --bin planted --profile soak </dev/null
	target/soak/planted

lint: need-host+machine+fmt+clippy
	$(HOST) cargo fmt --all --check
	$(HOST) cargo clippy -q $(HOST_CRATES) --all-targets -- -D warnings
	$(MACHINE) cargo clippy -q -p arch -p mm -p rows -p kernel --target $(TARGET) -- -D warnings

# The program that makes a book of docs/: built once, kept below target/. Another is given by MDBOOK=.
MDBOOK ?= target/tools/bin/mdbook
target/tools/bin/mdbook: | need-host
	echo 'building mdbook, which makes a book of docs/; this once it takes a minute or two' >&2
	$(HOST) cargo install -q mdbook --version 0.5.4 --locked --no-default-features --features search \
		--root target/tools --target-dir target/tools/build </dev/null
	rm -rf target/tools/build

doc: need-host+machine $(MDBOOK)
	$(MDBOOK) build docs
	RUSTDOCFLAGS=-Dwarnings $(HOST) cargo doc -q --no-deps $(HOST_CRATES)
	RUSTDOCFLAGS=-Dwarnings $(MACHINE) cargo doc -q --no-deps -p arch -p mm -p rows -p kernel --target $(TARGET)

# ---- the rest -------------------------------------------------------------------------------------------------

.PHONY: setup clean
setup:
	qemu/setup.sh host machine fmt clippy c qemu img gdb browser debian

# need-host+qemu: what of these is missing is installed, or named, all at once.
need-%:
	qemu/setup.sh $(subst +, ,$*) </dev/null

clean:
	rm -rf target
