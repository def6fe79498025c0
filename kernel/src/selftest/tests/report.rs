//! The files of a process that lives, and of one that has ended; the files of all frames.

use allocator_api2::vec::Vec;
use mm::Mm;
use mm::kalloc::KAlloc;

use super::kit::{Sleeper, expect};
use crate::files::{self, Content, FileError, Position};
use crate::process::Process;
use crate::selftest::{Failure, Verdict, check, check_eq, selftest};

selftest!("report::files_of_a_process", files_of_a_process);
selftest!("report::words_are_whole", words_are_whole);
selftest!("report::a_program_finds_what_it_mapped", a_program_finds_what_it_mapped);

const TEXTS: [&str; 4] = ["maps", "smaps", "smaps_rollup", "status"];

/// The bytes of a text.
#[derive(PartialEq, Eq, Debug)]
struct Text(Vec<u8, KAlloc>);

impl Text {
    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or("not UTF-8")
    }
}

/// All of a text file of a process, read in pieces of at most 512 bytes.
fn text(process: &Process, name: &str, piece: usize) -> Option<Text> {
    let file = files::OF_PROCESS.iter().find(|file| file.name == name)?;
    let (mut all, mut at, mut buffer) = (Vec::new_in(KAlloc), Position::START, [0; 512]);
    loop {
        let filled = file.content.read(process, &mut at, &mut buffer[..piece]).ok()?;
        if filled == 0 {
            return Some(Text(all));
        }
        all.try_reserve(filled).ok()?;
        all.extend_from_slice(&buffer[..filled]);
    }
}

fn count(text: &str, needle: &str) -> usize {
    text.lines().filter(|line| line.starts_with(needle)).count()
}

/// The number in the row with this name.
fn row(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A process that sleeps has text, data and a stack, which all files agree on; once it has ended its files are empty,
/// but for its status.
fn files_of_a_process(_: &'static Mm) -> Verdict {
    let sleeper = Sleeper::start()?;
    let process = sleeper.process().clone();
    let verdict = files_agree(&process);
    drop(sleeper);
    verdict?;
    for name in TEXTS.into_iter().filter(|&name| name != "status") {
        let text = text(&process, name, 512);
        check_eq!(text.as_ref().map(Text::as_str), Some(""), "a file of memory that is gone");
    }
    let status = text(&process, "status", 512);
    let status = status.as_ref().map_or("", Text::as_str);
    check!(row(status, "Pid") == Some(process.pid().into()), "status without Pid: {status}");
    check!(row(status, "VmRSS").is_none(), "status with memory that is gone: {status}");
    Ok(())
}

fn files_agree(process: &Process) -> Verdict {
    let texts = TEXTS.map(|name| text(process, name, 512));
    let [maps, smaps, rollup, status] = texts.each_ref().map(|text| text.as_ref().map_or("", Text::as_str));
    let records = maps.lines().count();
    check!(maps.ends_with("[stack]\n") && maps.contains(" r-xp 00000000 00:00 0 \n"), "maps: {maps}");
    check_eq!(smaps.lines().count(), records * 25, "lines of smaps");
    for name in ["Size:", "Rss:", "Pss:", "Private_Dirty:", "Referenced:", "THPeligible:", "VmFlags:"] {
        check_eq!(count(smaps, name), records, "rows of one name in smaps");
    }
    let rss = row(rollup, "Rss");
    check!(rss.is_some_and(|kib| kib >= 12), "smaps_rollup: {rollup}");
    check_eq!(row(status, "VmRSS"), rss, "VmRSS and the Rss of smaps_rollup");
    check_eq!(row(rollup, "Pss"), rss, "the Pss of a process that shares nothing");
    check_eq!(process.space().vma_count(), records, "lines of maps");
    for piece in [1, 7, 100] {
        check!(text(process, "smaps", piece) == texts[1], "smaps in pieces of {piece}");
    }
    Ok(())
}

/// What a program reads of itself and of a page that a child shares is what it mapped, touched and wrote.
fn a_program_finds_what_it_mapped(_: &'static Mm) -> Verdict {
    expect("report", &["report"], 0)
}

/// Whole words only; none beyond the end.
fn words_are_whole(mm: &'static Mm) -> Verdict {
    let flags = files::all().find(|file| file.path == "/proc/kpageflags");
    let Some(Content::Bytes(read)) = flags.map(|file| &file.content) else {
        return Err(Failure::new(file!(), line!(), format_args!("no /proc/kpageflags")).into());
    };
    let (mut words, end) = ([0; 24], 8 * mm.end_of_ram());
    for (from, len) in [(4, 8), (8, 7), (0, 12), (1, 0)] {
        check_eq!(read(mm, from, &mut words[..len]), Err(FileError::Unaligned), "a piece of a word");
    }
    check_eq!(read(mm, end - 8, &mut words), Ok(8), "the last word");
    check_eq!(read(mm, end, &mut words), Ok(0), "beyond the end");
    check_eq!(read(mm, 0, &mut words[..0]), Ok(0), "nothing");
    check_eq!(read(mm, 8 * mm.zero_page.pfn().raw(), &mut words[..8]), Ok(8), "one word");
    check_eq!(words[..8], (1u64 << 24 | 1 << 32).to_ne_bytes(), "the flags of the page of zeros");
    Ok(())
}
