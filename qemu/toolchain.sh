#!/usr/bin/env bash
# Runs a command with the Rust toolchain for the host, or with the one that can build for the machine:
#
#     qemu/toolchain.sh host cargo build            # programs and tests of the host
#     qemu/toolchain.sh machine cargo build -p kernel --target aarch64-unknown-none-softfloat
#     qemu/toolchain.sh which                       # says what is chosen
#
# There are two toolchains, and the choice is made anew at each call (one `rustc --print`, 20 ms):
#
#   pinned   the one of rust-toolchain.toml; it can build for the machine if libcore of that target is there.
#   debian   /usr/bin/cargo of cargo-web, which builds core and alloc itself from the sources in rust-web-src.
#
# The pinned one is named by RUSTUP_TOOLCHAIN, so that rustup does not look whether every target in
# rust-toolchain.toml is installed: a host without the machine's target must still build the host crates.
# What the debian one needs is set for the machine only; nothing of it may reach a host build.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=aarch64-unknown-none-softfloat
channel=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$root/rust-toolchain.toml")

# cargo and rustc count their own jobs; make's job server is not open to them.
unset MAKEFLAGS MFLAGS

# at_least VERSION: does the version on standard input ("rustc 1.95.0 (...)") reach VERSION?
at_least() {
    local have
    have=$(sed -n 's/^[a-z]* \([0-9][0-9.]*\).*/\1/p')
    [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$1" "$have" | sort -V | head -n 1)" = "$1" ]
}

pinned() { RUSTUP_TOOLCHAIN=$channel RUSTUP_AUTO_INSTALL=0 "$@" 2>/dev/null; }

pinned_builds_host() {
    command -v cargo >/dev/null && pinned cargo --version >/dev/null && pinned rustc --version | at_least "$channel"
}

pinned_builds_machine() {
    local libdir
    libdir=$(pinned rustc --print target-libdir --target "$target") && compgen -G "$libdir/libcore-*.rlib" >/dev/null
}

debian_builds_host() {
    [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && /usr/bin/rustc --version | at_least "$channel"
}

debian_builds_machine() {
    debian_builds_host && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/core" ] &&
        command -v ld.lld >/dev/null
}

# choice host|machine: prints pinned, debian or none.
choice() {
    if "pinned_builds_$1"; then
        echo pinned
    elif "debian_builds_$1"; then
        echo debian
    else
        echo none
    fi
}

# use_toolchain host|machine: sets the environment for what follows.
use_toolchain() {
    unset RUSTC_BOOTSTRAP CARGO_UNSTABLE_BUILD_STD CARGO_TARGET_AARCH64_UNKNOWN_NONE_SOFTFLOAT_LINKER
    export RUSTUP_AUTO_INSTALL=0 CARGO_TARGET_DIR="$root/target"
    case $1:$(choice "$1") in
    *:none)
        echo "quire: no Rust toolchain for the $1; qemu/setup.sh $1 says what is missing" >&2
        return 1
        ;;
    *:pinned) export RUSTUP_TOOLCHAIN="$channel" ;;
    host:debian) export RUSTUP_TOOLCHAIN=/usr ;;
    machine:debian)
        export RUSTUP_TOOLCHAIN=/usr RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=core,alloc
        export CARGO_TARGET_AARCH64_UNKNOWN_NONE_SOFTFLOAT_LINKER=ld.lld
        export CARGO_FUTURE_INCOMPAT_REPORT_FREQUENCY=never
        ;;
    esac
}

# Sourced by qemu/setup.sh for the questions above; run by itself it answers or executes.
if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -euo pipefail
    case ${1:-} in
    which) echo "host: $(choice host), machine: $(choice machine)" ;;
    host | machine)
        use_toolchain "$1"
        exec "${@:2}"
        ;;
    *)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
fi
