//! gdb sessions on recordings, without a person: back from an entry to the store that made it, back through the
//! steps of a remap, and what gdb says of the project's types. The truth is what the machine itself wrote while it
//! was recorded: the tour prints each step of its promotion and of its remaps with the entry before and after.

use crate::{Harness, Verdict, failed};
use libtest_mimic::Trial;
use qemu::debugger::Debugger;
use qemu::{Error, Options, Recording};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    vec![
        harness.trial("reverse::promoted_entry", promoted_entry),
        harness.trial("reverse::remapped_entry/alias", |harness| remapped_entry(harness, "alias", ALIAS)),
        harness.trial("reverse::remapped_entry/pause", |harness| remapped_entry(harness, "pause", PAUSE)),
        harness.trial("reverse::remap_back", remap_back),
        harness.trial("reverse::printers", printers),
        harness.trial("reverse::reservations", reservations),
        harness.trial("reverse::cost", cost),
        harness.trial("reverse::refusals", refusals),
    ]
}

/// The stores to an entry of vmemmap, from the last one back, by the names that the tour has for the steps, and the
/// functions of the strategy that must be among the callers.
const ALIAS: &[(&str, &str)] = &[
    ("restore_relax", "mm::hvo::strategy::alias::restore"),
    ("restore_repoint", "mm::hvo::strategy::alias::restore"),
    ("hvo_repoint", "mm::hvo::strategy::alias::optimise"),
    ("hvo_read_only", "mm::hvo::strategy::alias::optimise"),
];
const PAUSE: &[(&str, &str)] = &[
    ("restore_make", "mm::hvo::strategy::pause::restore"),
    ("restore_break", "mm::hvo::strategy::pause::restore"),
    ("hvo_make", "mm::hvo::strategy::pause::optimise"),
    ("hvo_break", "mm::hvo::strategy::pause::optimise"),
];

/// A recording of the tour, and what gdb said.
struct Session {
    console: String,
    output: String,
}

impl Session {
    /// Records the tour and runs `commands` at its end; a command that fails ends the session, and is an error.
    fn of(
        harness: &Harness,
        name: &str,
        append: &str,
        commands: &[&str],
    ) -> Result<Session, Box<dyn std::error::Error>> {
        let options = Options { append: append.to_owned(), smp: 1, ..harness.options.clone() };
        let folder = folder(name);
        let recording =
            Recording::take(&options, &harness.release, &[], &folder, Box::new(std::io::sink()), || false)?;
        let debugger = Debugger::replay(&recording, &harness.release, Box::new(std::io::sink()))?;
        let mut arguments = vec!["-batch"];
        commands.iter().for_each(|command| arguments.extend(["-ex", command]));
        let transcript = debugger.script(&arguments, crate::LIMIT)?;
        std::fs::remove_dir_all(&folder)?;
        let session = Session { console: recording.outcome.log, output: transcript.output };
        if transcript.status == Some(0) { Ok(session) } else { Err(session.log("gdb failed").into()) }
    }

    fn log(&self, sentence: &str) -> String {
        format!("{sentence}\n--- console ---\n{}\n--- gdb ---\n{}", self.console, self.output)
    }

    fn fail(&self, sentence: impl std::fmt::Display) -> libtest_mimic::Failed {
        failed(sentence, &self.log(""))
    }

    /// The lines that begin with `word`, without it and the blanks around it.
    fn lines(&self, word: &str) -> Vec<&str> {
        self.output.lines().filter_map(|line| line.trim().strip_prefix(word)).map(str::trim).collect()
    }

    /// What the tour said of a step: the entry before, and after.
    fn step(&self, name: &str) -> Option<(u64, u64)> {
        let line = self.console.lines().find(|line| line.trim_start().starts_with(&format!("{name} ")))?;
        let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("0x"));
        let (before, arrow, after) = (words.next()?, words.next()?, words.next()?);
        (arrow == "->").then_some(())?;
        Some((number(before)?, number(after)?))
    }
}

/// A place for a recording of its own.
fn folder(name: &str) -> PathBuf {
    qemu::root().join(format!("target/recordings/{}-{name}", std::process::id()))
}

/// The number at the begin of `text`, which may go on.
fn number(text: &str) -> Option<u64> {
    let digits = text.trim().strip_prefix("0x")?;
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    u64::from_str_radix(&digits[..end], 16).ok()
}

/// One answer of `who-wrote`.
#[derive(Debug)]
struct Written {
    before: u64,
    after: u64,
    asked_by: String,
    callers: Vec<String>,
}

/// The answers of `who-wrote`, in their order.
fn written(output: &str) -> Vec<Written> {
    let mut all = Vec::new();
    for answer in output.split("\nentry [").skip(1) {
        let line = |word: &str| answer.lines().find_map(|line| line.trim().strip_prefix(word));
        let (Some(before), Some(after)) = (line("before").and_then(number), line("after").and_then(number))
        else {
            continue;
        };
        let first = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
        let callers = answer.lines().skip_while(|line| line.trim() != "callers").skip(1);
        let callers = callers.take_while(|line| line.starts_with("    ")).map(first).collect();
        all.push(Written {
            before,
            after,
            asked_by: line("asked by").map(first).unwrap_or_default(),
            callers,
        });
    }
    all
}

/// `who-wrote` of the entry of a promoted range goes to the make of the block, then to the break before it, then to
/// the fault that linked the table; each with the entry before and after as the tour printed them, and the functions
/// that did it.
fn promoted_entry(harness: &Harness) -> Verdict {
    let commands =
        ["remap back promote_make", "remap off", "who-wrote -entry step.slot", "who-wrote", "who-wrote"];
    let session = Session::of(harness, "promoted", "", &commands)?;
    let written = written(&session.output);
    let (Some(make), Some(broken)) = (session.step("promote_make"), session.step("promote_break")) else {
        return Err(session.fail("the tour printed no promotion"));
    };
    let found: Vec<_> = written.iter().map(|store| (store.before, store.after)).collect();
    if found != [make, broken, (0, broken.0)] {
        return Err(session.fail(format!("{found:x?} were found; the tour says {broken:x?}, then {make:x?}")));
    }
    let expected = [
        ("mm::thp::exchange::exchange", "mm::thp::promote::make_block"),
        ("mm::thp::exchange::exchange", "mm::thp::promote::make_block"),
        ("mm::fault::anon::Site::link_tables", "mm::fault::anon::fault"),
    ];
    for (store, (asked_by, caller)) in written.iter().zip(expected) {
        if store.asked_by != asked_by || !store.callers.iter().any(|name| name == caller) {
            return Err(session.fail(format!("{asked_by}, called by {caller}, was expected: {store:#x?}")));
        }
    }
    let makes = ["mm::pgtable::entry::Clean::make", "mm::pgtable::entry::Entry::break_live"];
    if let Some(absent) =
        makes.iter().zip(&written).find(|(name, store)| !store.callers.iter().any(|call| call == *name))
    {
        return Err(session.fail(format!("{} is not among the callers", absent.0)));
    }
    Ok(())
}

/// The address of the second page of vmemmap that the tour optimises and restores: the first of the run that changes.
fn remapped_address(console: &str) -> Option<u64> {
    let table = console.lines().skip_while(|line| !line.trim_start().starts_with("page  vmemmap address"));
    let row = table.map(str::trim).find(|line| line.starts_with("1 "))?;
    number(row.split_whitespace().nth(1)?)
}

/// `who-wrote` of an entry of vmemmap goes back through the stores of restore and optimise, each with the entries
/// that the tour printed, and names the strategy that was booted.
fn remapped_entry(harness: &Harness, strategy: &str, stores: &[(&str, &str)]) -> Verdict {
    // The address is the same at each boot with these choices, but nobody has promised it: gdb learns it from
    // `hvo_begin`.
    let mut commands =
        vec!["remap back hvo_begin", "remap off", "set $page = step.va.0", "replay end", "who-wrote $page"];
    commands.extend(["who-wrote"; 3]);
    let session = Session::of(harness, strategy, &format!("hvo={strategy}"), &commands)?;
    let written = written(&session.output);
    if written.len() != stores.len() {
        return Err(session.fail(format!("{} stores were found", written.len())));
    }
    for (store, (step, caller)) in written.iter().zip(stores) {
        let expected = session.step(step);
        if Some((store.before, store.after)) != expected {
            return Err(session.fail(format!("{step}: {expected:x?} was expected, not {store:x?}")));
        }
        if !store.callers.iter().any(|name| name == caller) {
            return Err(session.fail(format!("{step}: {caller} is not among the callers: {store:#x?}")));
        }
    }
    let address = remapped_address(&session.console).map(|va| format!("{va:#x}"));
    if !address.as_ref().is_some_and(|va| session.output.contains(&format!("from va {va}"))) {
        return Err(session.fail(format!("the tour remaps {address:?}")));
    }
    Ok(())
}

/// `remap back` shows the steps of restore and optimise from the last to the first, each with the entry as it then
/// was, which is what the step after it found.
fn remap_back(harness: &Harness) -> Verdict {
    let mut commands = vec!["remap back restore"];
    commands.extend(["remap back"; 5]);
    commands.push("remap back hvo");
    commands.extend(["remap back"; 5]);
    let session = Session::of(harness, "back", "hvo=alias hugepages=0", &commands)?;
    for bad in ["NOT AS ANNOUNCED", "DIFFERENT"] {
        if session.output.contains(bad) {
            return Err(session.fail(format!("`{bad}`: memory is not as it must be")));
        }
    }
    let is_step = |name: &&str| {
        name.starts_with("restore_") || name.starts_with("hvo_") && !name.starts_with("hvo_split")
    };
    let first_word = |line: &'_ str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let mut forward: Vec<_> =
        session.console.lines().map(first_word).filter(|name| is_step(&name.as_str())).collect();
    forward.reverse();
    let names = session.output.lines().filter_map(|line| Some(line.split_once(": ")?.0));
    let mut seen: Vec<_> = names.filter(is_step).map(str::to_owned).collect();
    // gdb now and then stops twice where it is.
    seen.dedup();
    if seen != forward {
        return Err(session.fail(format!("{seen:?} was seen, {forward:?} was expected")));
    }
    let before = session.lines("before ");
    let now: Vec<_> = session.lines("now ").into_iter().filter_map(number).collect();
    let before: Vec<_> = before.into_iter().filter_map(number).collect();
    let steps = ["restore_relax", "restore_repoint", "hvo_repoint", "hvo_read_only"];
    let told: Vec<_> = steps.iter().filter_map(|step| session.step(step)).collect();
    if before != told.iter().map(|step| step.0).collect::<Vec<_>>() {
        return Err(session.fail(format!("{before:x?} were shown, the tour says {told:x?}")));
    }
    // Begin and end show the entry too.
    if let Some(step) = told.iter().find(|step| !now.contains(&step.1)) {
        return Err(session.fail(format!("no step shows {:#x}, which the tour stored", step.1)));
    }
    Ok(())
}

/// Each printer says of a known value what it must; what cannot be read is said in words.
fn printers(harness: &Harness) -> Verdict {
    const VALUES: [(&str, &str, u64, &str); 14] = [
        ("arch::addr::Pfn", "Q", 0x5ec00, "pfn 0x5ec00, physical 0x5ec00000"),
        ("arch::addr::PhysAddr", "Q", 0x5ec0_0000, "0x5ec00000"),
        ("arch::addr::VirtAddr", "Q", 0xffff_8000_0000_0040, "0xffff800000000040"),
        ("arch::addr::Order", "B", 0, "order 0, 4 KiB"),
        ("arch::addr::Order", "B", 9, "order 9, 2 MiB"),
        ("arch::addr::Order", "B", 18, "order 18, 1 GiB"),
        ("arch::addr::Order", "B", 200, "order 200, which none is"),
        ("arch::addr::Asid", "H", 7, "asid 7"),
        ("arch::addr::Level", "B", 2, "L2 (PMD)"),
        ("arch::pte::Desc", "Q", 0, "0x0000000000000000 invalid"),
        ("arch::pte::Desc", "Q", 0x4123_4003, "0x0000000041234003 table -> 0x41234000"),
        (
            "arch::pte::Desc",
            "Q",
            0x0060_0000_5ec0_0f41,
            "0x006000005ec00f41 block -> 0x5ec00000 rw user normal nG AF",
        ),
        (
            "arch::pte::Desc",
            "Q",
            0x0060_0000_40db_7783,
            "0x0060000040db7783 page -> 0x40db7000 r- kernel normal global AF",
        ),
        ("mm::page::door::PageRef", "Q", 0x1234, "no struct page: 0x1234"),
    ];
    let value = |kind: &str, form: &str, raw: u64| {
        let bytes = format!("__import__('struct').pack('<{form}', {raw:#x})");
        format!("python print('value', gdb.Value({bytes}, gdb.lookup_type('{kind}')).format_string())")
    };
    let mut commands: Vec<_> = VALUES.iter().map(|(kind, form, raw, _)| value(kind, form, *raw)).collect();
    // A frame of no RAM, whose struct page nothing maps.
    commands.push(value("mm::page::door::PageRef", "Q", 0xffff_8010_0000_0000));
    commands.push("remap back promote_make".into());
    commands.extend(
        ["print *step", "up 4", "print head", "print claim.key", "print block", "backtrace"]
            .map(str::to_owned),
    );
    let commands: Vec<_> = commands.iter().map(String::as_str).collect();
    let session = Session::of(harness, "printers", "", &commands)?;
    let values = session.lines("value ");
    let expected = VALUES
        .iter()
        .map(|(.., words)| *words)
        .chain(["pfn 0x40000000, whose struct page has no translation"]);
    for (value, words) in values.iter().zip(expected.clone()) {
        if *value != words {
            return Err(session.fail(format!("`{value}` was printed, `{words}` was expected")));
        }
    }
    let Some((_, block)) = session.step("promote_make").filter(|_| values.len() == expected.count()) else {
        return Err(session.fail(format!("{} values were printed", values.len())));
    };
    let pfn = block >> 12 & 0xf_ffff;
    let told = [
        format!("0x0000000000000000 invalid; now {block:#018x} block -> {:#x}000 rw user normal nG AF", pfn),
        format!("= pfn {pfn:#x}, Anon, order 9, refcount 0, mapcount 1"),
        "= space 1, range 0x".to_owned(),
        "= <optimized out>".to_owned(),
    ];
    match told.iter().find(|words| !session.output.contains(words.as_str())) {
        Some(absent) => Err(session.fail(format!("`{absent}` was not printed"))),
        None => Ok(()),
    }
}

/// `reservations` finds the one reservation of the tour before its promotion, with the range, the block and the 256
/// pages that the tour's program has touched, and none at the end.
fn reservations(harness: &Harness) -> Verdict {
    let commands = [
        "reservations",
        "remap back promote_make",
        "set $va = step.va.0",
        "remap off",
        "replay begin",
        "break mm::thp::promote::promote_range",
        "continue",
        "reservations",
        "reservations $va",
        "reservations $va + 0x200000",
    ];
    let session = Session::of(harness, "reservations", "", &commands)?;
    let Some((_, block)) = session.step("promote_make") else {
        return Err(session.fail("the tour printed no promotion"));
    };
    let found: Vec<_> = session.output.lines().filter(|line| line.contains(" of 512 populated")).collect();
    let block = format!("block pfn {:#x}, 256 of 512 populated: ", block >> 12 & 0xf_ffff);
    if found.len() != 2 || found.iter().any(|line| !line.contains(&block)) {
        return Err(session.fail(format!("`{block}` was expected twice: {found:#?}")));
    }
    let counts: Vec<_> =
        session.output.lines().filter(|line| line.ends_with(" reservations")).map(str::trim).collect();
    match counts.as_slice() {
        ["0 reservations", "1 reservations", "1 reservations", "0 reservations"] => Ok(()),
        _ => Err(session.fail(format!("{counts:?}"))),
    }
}

/// `cost` counts, from the first instruction of a function to its return, what the replay itself counts, the sum of
/// all rooms is that, and the rooms of a promotion are among them.
fn cost(harness: &Harness) -> Verdict {
    let commands = [
        "replay begin",
        "tbreak *mm::thp::promote::promote_range",
        "continue",
        "replay",
        "cost mm::thp::promote::promote_range",
        "replay",
    ];
    let session = Session::of(harness, "cost", "", &commands)?;
    let at: Vec<u64> = session
        .output
        .lines()
        .filter_map(|line| line.strip_prefix("instruction ")?.split_whitespace().next()?.parse().ok())
        .collect();
    let rows: Vec<(u64, &str)> = session
        .output
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.trim_start().split_once("  "))
        .filter_map(|(count, room)| Some((count.parse().ok()?, room)))
        .collect();
    let (Some([.., from, to]), Some(((total, "in all"), rows))) = (Some(at.as_slice()), rows.split_last())
    else {
        return Err(session.fail("no table was printed"));
    };
    let (sum, ran) = (rows.iter().map(|row| row.0).sum::<u64>(), to - from);
    let left_out = session.output.contains(" interrupts came into it");
    if sum != *total || if left_out { ran <= sum } else { ran != sum } {
        return Err(session.fail(format!("{sum} in rooms, {total} in all; the replay went {ran} further")));
    }
    match ["mm::thp", "quire_zero", "mm::pgtable", "mm::page"]
        .iter()
        .find(|room| !rows.iter().any(|row| row.1 == **room))
    {
        Some(room) => Err(session.fail(format!("{room} is not in the table"))),
        None => Ok(()),
    }
}

/// A machine that is not replayed cannot go back, which is said; nor is a recording made of a machine that does not
/// end.
fn refusals(harness: &Harness) -> Verdict {
    let debugger = Debugger::halt(&harness.options, &harness.release, Box::new(std::io::sink()))?;
    for command in ["who-wrote 0xffff000040000000", "remap back", "replay end"] {
        let transcript = debugger.script(&["-batch", "-ex", command, "-ex", "detach"], crate::LIMIT)?;
        if !transcript.output.contains("only a recording can go back") {
            return Err(failed(format!("{command} was not refused"), &transcript.output));
        }
    }
    let limit = Some(Duration::from_secs(3));
    let options = Options { append: "tour=off".into(), smp: 1, limit, ..harness.options.clone() };
    let lines = ["run spin ms=100000".to_owned()];
    let folder = folder("endless");
    let taken =
        Recording::take(&options, &harness.release, &lines, &folder, Box::new(std::io::sink()), || false);
    std::fs::remove_dir_all(&folder)?;
    match taken {
        Err(error @ Error::Recording { .. })
            if error.to_string().contains("did not come to its end within 3 s") =>
        {
            Ok(())
        }
        other => Err(format!("{other:?}").into()),
    }
}
