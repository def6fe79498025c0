//! `make compare-linux`: Debian's arm64 kernel and Quire on the same machine, with the same static programs, in one run.
//!
//! ```text
//!   LINUX= ── choice ─┐              target/programs ─┐
//!   apt ──── archive ─┴► .deb ─ unpack ► Image, busybox ┴ initramfs ► QEMU ─ boot ► log ─┐
//!   ONLY= ── plan ────┬► script (the init of that boot)                                  ├► figures, agreement
//!                     └► quire (experiment, console) ───────────► QEMU ► log ─────────┘
//! ```
//! Both boot with the options of `[bench]` of `qemu/machine.conf`; each part of the plan has a boot of its own on both.
//!
//! | file | what |
//! |---|---|
//! | [`apt`] | what apt's programs print → packages and versions |
//! | [`archive`] | apt with settings and lists of its own, below `target/linux` |
//! | [`sources`] | the lists that it reads: suites, and the mirror that this system's apt uses |
//! | [`choice`] | a version or a suite → one of the kernels that there are |
//! | [`unpack`] | a package → one file of it |
//! | [`plan`] | what is run on both, and what cannot be |
//! | [`programs`] | the test programs among that, with their arguments |
//! | [`script`] | a part of the plan → the first process of Linux |
//! | [`initramfs`] | that, busybox and the programs → a cpio archive |
//! | [`boot`] | Linux boots, and says how far it is |
//! | [`quire`] | a part of the plan on Quire |
//! | [`statuses`] | what the test programs ended with |
//! | [`figures`] | rows of both → table and JSON |

pub mod apt;
pub mod archive;
pub mod boot;
pub mod choice;
pub mod figures;
pub mod initramfs;
pub mod plan;
pub mod programs;
pub mod quire;
pub mod script;
pub mod sources;
pub mod statuses;
pub mod unpack;
