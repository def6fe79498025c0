#!/usr/bin/env bash
# Finds out what is missing and installs it: `qemu/setup.sh NEED...`, where a NEED is one of
#
#     host      Rust for the programs and tests that run on this computer
#     machine   Rust for the kernel
#     fmt       rustfmt
#     clippy    clippy for both
#     c         a C compiler for the user programs
#     qemu      QEMU for the machine
#     gdb       a gdb that knows the machine
#     browser   chromium, to look at the page of plots
#     img       QEMU's program that makes disks: a recording is kept beside one
#
# With nothing missing it says nothing and takes a tenth of a second. On Debian 12 it installs with apt-get, as
# root or through sudo, without a question. Elsewhere it prints what to install, and ends with status 1.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/toolchain.sh"

# ---- what is missing ------------------------------------------------------------------------------------------

tool_works() { (use_toolchain "$1" && "${@:2}") >/dev/null 2>&1; }

have() {
    case $1 in
    host) [ "$(choice host)" != none ] && command -v cc >/dev/null ;;
    machine) [ "$(choice machine)" != none ] ;;
    fmt) tool_works host cargo fmt --version ;;
    clippy) tool_works host cargo clippy --version && tool_works machine cargo clippy --version ;;
    # What the caller names is the caller's to provide: whoever starts it says if it is not there.
    c) [ -n "${USER_CC:-}" ] || command -v aarch64-linux-gnu-gcc >/dev/null ;;
    qemu) [ -n "${QEMU:-}" ] || command -v qemu-system-aarch64 >/dev/null ;;
    gdb) [ -n "${GDB:-}" ] || command -v gdb-multiarch >/dev/null ;;
    browser) [ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null ;;
    img) command -v qemu-img >/dev/null ;;
    *)
        echo "quire: setup.sh knows no need \`$1'" >&2
        exit 2
        ;;
    esac
}

missing() {
    local need
    for need in "$@"; do
        have "$need" || echo "$need"
    done
}

# ---- what to do about it --------------------------------------------------------------------------------------

debian_packages() {
    case $1 in
    host) echo rustc-web cargo-web gcc libc6-dev ca-certificates ;;
    machine) echo rustc-web cargo-web rust-web-src lld ;;
    fmt) echo rustfmt-web ;;
    clippy) echo rust-web-clippy ;;
    c) echo gcc-aarch64-linux-gnu ;;
    qemu) echo qemu-system-arm ;;
    gdb) echo gdb-multiarch ;;
    browser) echo chromium fonts-liberation ;;
    img) echo qemu-utils ;;
    esac
}

advice() {
    case $1 in
    host | machine | fmt | clippy)
        echo "Rust $channel with rustfmt, clippy and the target $target, and a C linker (cc):" \
            "install rustup from https://rustup.rs, then run in this folder" \
            "\`rustup toolchain install $channel -c rustfmt -c clippy -t $target'"
        ;;
    c) echo "a gcc for aarch64 Linux, aarch64-linux-gnu-gcc (packages: Debian, Ubuntu gcc-aarch64-linux-gnu;" \
        "Fedora gcc-aarch64-linux-gnu; Arch aarch64-linux-gnu-gcc); another name is given by USER_CC=" ;;
    qemu) echo "qemu-system-aarch64, version 7.2 or newer (packages: Debian, Ubuntu qemu-system-arm;" \
        "Fedora qemu-system-aarch64; Arch qemu-system-aarch64; Homebrew qemu); another name is given by QEMU=" ;;
    gdb) echo "a gdb that knows aarch64, version 13 or newer (packages: Debian, Ubuntu gdb-multiarch; Fedora gdb;" \
        "Arch aarch64-linux-gnu-gdb; Homebrew gdb); another name than gdb-multiarch is given by GDB=" ;;
    browser) echo "chromium (packages: Debian, Fedora, Arch chromium); another browser of that family," \
        "for example google-chrome, is given by CHROMIUM=" ;;
    img) echo "qemu-img (packages: Debian, Ubuntu qemu-utils; Fedora qemu-img; Arch qemu-img; Homebrew qemu)" ;;
    esac
}

is_debian_12() {
    [ -r /etc/os-release ] && (. /etc/os-release && [ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ])
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# rustup gives whatever of the pinned toolchain is missing, unless it was told not to download by itself.
try_rustup() {
    command -v rustup >/dev/null && [ "${RUSTUP_AUTO_INSTALL:-1}" != 0 ] || return 0
    echo "quire: rustup installs Rust $channel with rustfmt, clippy and $target" >&2
    timeout 900 rustup toolchain install "$channel" --profile minimal \
        --component rustfmt --component clippy --target "$target" >>"$log" 2>&1 </dev/null ||
        echo "quire: rustup could not ($log); Debian's Rust packages take its place" >&2
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -yq \
        install --no-install-recommends "$@" >>"$log" 2>&1 </dev/null
}

install_packages() {
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        printf 'quire: not root, and sudo is not allowed without a password. Run this once:\n  sudo apt-get update && sudo apt-get install -y %s\n' "$*" >&2
        exit 1
    fi
    echo "quire: apt-get installs $*" >&2
    # An old package list may name a compiler that is too old, or files that are gone. Where the update fails
    # (one mirror of several), what is there may still do.
    as_root apt-get -yq update >>"$log" 2>&1 </dev/null || true
    apt_install "$@" || {
        tail -n 20 "$log" >&2
        echo "quire: apt-get could not install $*; the whole output is in $log" >&2
        exit 1
    }
}

say_what_to_install() {
    echo "quire: this is not Debian 12, where what is missing would now be installed. Please install:" >&2
    local need
    for need in "$@"; do advice "$need"; done | sort -u | sed 's/^/  - /' >&2
    exit 1
}

# ---- main -----------------------------------------------------------------------------------------------------

needs=$(missing "$@")
[ -n "$needs" ] || exit 0

mkdir -p "$root/target"
log=$root/target/setup.log
case " ${needs//$'\n'/ } " in
*" host "* | *" machine "* | *" fmt "* | *" clippy "*)
    try_rustup
    needs=$(missing "$@")
    [ -n "$needs" ] || exit 0
    ;;
esac

# shellcheck disable=SC2086 # a list of words
is_debian_12 || say_what_to_install $needs
# shellcheck disable=SC2046
install_packages $(for need in $needs; do debian_packages "$need"; done | tr ' ' '\n' | sort -u)

# shellcheck disable=SC2086
needs=$(missing $needs)
if [ -n "$needs" ]; then
    echo "quire: installed, yet still not usable:" >&2
    for need in $needs; do advice "$need"; done | sort -u | sed 's/^/  - /' >&2
    exit 1
fi
