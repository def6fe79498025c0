//! What processes map and what frames are used for, as memory management reports it.
//!
//! A row of maps or smaps is a VMA; its position is the lowest address at which it may begin. The binary files are
//! arrays of 64-bit words, of which only whole ones are read (Linux: `pagemap_read`, `kpagecount_read`).
#![forbid(unsafe_code)]

use core::fmt;

use arch::VirtAddr;
use mm::report::{State, Subject};

use super::process::ProcessFile;
use super::{Content, File, FileError};
use crate::process::{self, FIRST_STACK, Process};
use crate::{sched, the_mm};

pub(super) const FRAMES: &[File] = &[
    File {
        path: "/proc/kpagecount",
        what: "for each frame, by how many entries it is mapped",
        content: Content::Bytes(|mm, from, into| {
            words(from, into, |first, words| mm.read_kpagecount(first, words))
        }),
        write: None,
    },
    File {
        path: "/proc/kpageflags",
        what: "for each frame, what it is used for",
        content: Content::Bytes(|mm, from, into| {
            words(from, into, |first, words| mm.read_kpageflags(first, words))
        }),
        write: None,
    },
];

pub(super) const MAPS: ProcessFile =
    ProcessFile { name: "maps", what: "what is mapped where", content: Content::Rows(maps) };
pub(super) const PAGEMAP: ProcessFile = ProcessFile {
    name: "pagemap",
    what: "for each page, the frame that it is mapped to",
    content: Content::Bytes(pagemap),
};
pub(super) const SMAPS: ProcessFile = ProcessFile {
    name: "smaps",
    what: "of each mapping, how much memory is in it, and whose",
    content: Content::Rows(smaps),
};
pub(super) const SMAPS_ROLLUP: ProcessFile =
    ProcessFile { name: "smaps_rollup", what: "the sums of smaps", content: Content::Rows(smaps_rollup) };
pub(super) const STATUS: ProcessFile =
    ProcessFile { name: "status", what: "the process in numbers", content: Content::Rows(status) };

fn maps(process: &Process, from: u64, out: &mut dyn fmt::Write) -> Result<Option<u64>, fmt::Error> {
    let next = the_mm().write_maps(process.space(), FIRST_STACK, VirtAddr::new(from), out)?;
    Ok(next.map(VirtAddr::raw))
}

fn smaps(process: &Process, from: u64, out: &mut dyn fmt::Write) -> Result<Option<u64>, fmt::Error> {
    let next = the_mm().write_smaps(process.space(), FIRST_STACK, VirtAddr::new(from), out)?;
    Ok(next.map(VirtAddr::raw))
}

fn smaps_rollup(process: &Process, _: u64, out: &mut dyn fmt::Write) -> Result<Option<u64>, fmt::Error> {
    if let Some(space) = process.active_space() {
        the_mm().write_smaps_rollup(space, out)?;
    }
    Ok(None)
}

fn status(process: &Process, _: u64, out: &mut dyn fmt::Write) -> Result<Option<u64>, fmt::Error> {
    let space = process.active_space();
    let subject = Subject {
        name: process.name(),
        pid: process.pid(),
        ppid: process::family::parent_of(process),
        state: state(process),
        stack: FIRST_STACK,
        threads: 1,
    };
    the_mm().write_status(&subject, space, out)?;
    Ok(None)
}

/// What its thread does.
fn state(process: &Process) -> State {
    if process.status().is_some() {
        return State::Zombie;
    }
    let mut state = State::Running;
    sched::for_each_thread(|thread| {
        if thread.pid == Some(process.pid()) {
            state = if thread.state.letter() == 'S' { State::Sleeping } else { State::Running };
        }
    });
    state
}

fn pagemap(process: &Process, from: u64, into: &mut [u8]) -> Result<usize, FileError> {
    // Of a process that has ended there is nothing, not even pages that are not mapped.
    let Some(space) = process.active_space() else { return Ok(0) };
    words(from, into, |first, words| the_mm().read_pagemap(space, first, words))
}

/// Bytes of a word.
const WORD: usize = 8;

/// Reads whole words from byte `from` on: `read` is given the number of the first and fills a slice, and says how many
/// there were; fewer at the end.
fn words(from: u64, into: &mut [u8], read: impl Fn(u64, &mut [u64]) -> usize) -> Result<usize, FileError> {
    if !from.is_multiple_of(WORD as u64) || !into.len().is_multiple_of(WORD) {
        return Err(FileError::Unaligned);
    }
    let (mut first, mut filled, mut words) = (from / WORD as u64, 0, [0; 64]);
    for bytes in into.chunks_mut(WORD * words.len()) {
        let asked = bytes.len() / WORD;
        let got = read(first, &mut words[..asked]);
        for (bytes, word) in bytes.chunks_exact_mut(WORD).zip(&words[..got]) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        (first, filled) = (first + got as u64, filled + WORD * got);
        if got < asked {
            break;
        }
    }
    Ok(filled)
}
