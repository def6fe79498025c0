//! A part of the plan → the first process of Linux, a script of busybox's shell.
//!
//! Linux is set as Quire is for the same part: huge pages at the first touch and 64 hugetlb pages, or as a policy says.
//! It idles for half a minute first (of virtual time, which passes at once where nobody runs), so that what the kernel
//! does after its boot is done. The marks are those of Quire's experiments; of a test program they are
//!
//! ```text
//! program: begin fork cow
//! ...
//! program: status 0
//! ```
#![forbid(unsafe_code)]

use super::plan::{Part, WORK_POLICIES};
use super::programs::{Run, Start};
use std::fmt::Write as _;

/// Boot arguments that are always given: the console, no lines of the kernel among those of the programs, and nothing
/// that is another thing at each boot, such as where the kernel lies and how far down its stacks begin.
pub const NECESSARY: &str = "console=ttyAMA0 quiet loglevel=1 panic=-1 nokaslr randomize_kstack_offset=off";

/// Boot arguments where none are chosen: without mitigations, zeroing at allocation and memory cgroups, which Quire has
/// not either.
pub const LEAN: &str = "mitigations=off init_on_alloc=0 cgroup_disable=memory";

/// The last line, where all of the script was run.
pub const DONE: &str = "linux: done";

/// Pages of 2 MiB in the hugetlb pool: as Quire's experiments have it, and as the test programs want it.
const POOL: u32 = 64;
/// The same for the test programs, some of which want few.
pub const POOL_OF_PROGRAMS: u32 = 3;

const BEGIN: &str = "#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t tmpfs tmpfs /tmp
thp=/sys/kernel/mm/transparent_hugepage
set -o pipefail
";

/// The script for a part.
#[must_use]
pub fn script(part: &Part) -> String {
    let mut text = BEGIN.to_owned();
    let mut line = |words: &str| {
        text.push_str(words);
        text.push('\n');
    };
    let pool = if matches!(part, Part::Programs(_)) { POOL_OF_PROGRAMS } else { POOL };
    line(&format!("echo {pool} > /proc/sys/vm/nr_hugepages"));
    line(&policy("always"));
    line("$b sleep 30");
    match part {
        Part::Mmbench(groups) => {
            experiment(&mut text, "mmbench", &[format!("/bin/mmbench {}", groups.join(" "))])
        }
        Part::Workload(ways) => {
            let runs = ways.iter().flat_map(|way| {
                WORK_POLICIES.map(|name| format!("{}; /bin/workload {way} as={name}", policy(name)))
            });
            experiment(&mut text, "thp", &runs.collect::<Vec<_>>());
        }
        Part::Thpfork { pages, policies } => {
            let runs =
                pages.iter().flat_map(|pages| policies.iter().map(move |policy| children(policy, pages)));
            experiment(&mut text, "thpfork", &runs.collect::<Vec<_>>());
        }
        Part::Programs(runs) => runs.iter().for_each(|run| program(&mut text, run)),
    }
    let _ = write!(text, "echo '{DONE}'\n$b poweroff -f\n");
    text
}

/// Runs of programs that print the rows of an experiment. One that fails breaks it off.
fn experiment(text: &mut String, name: &str, runs: &[String]) {
    let _ = writeln!(text, "end=end\necho 'bench: begin {name}'");
    for run in runs {
        let _ = writeln!(text, "{{ {run}; }} || end=broken");
    }
    let _ = writeln!(text, "echo \"bench: $end {name}\"");
}

/// The commands that set a policy for huge pages. A limit below 511 has Linux split huge pages that are mostly zeros
/// where memory is short.
fn policy(name: &str) -> String {
    let (enabled, limit) = match name {
        "never" => ("never", 511),
        "underused" => ("always", 255),
        _ => ("always", 511),
    };
    format!("echo {enabled} > $thp/enabled; echo {limit} > $thp/khugepaged/max_ptes_none")
}

/// The fork test under a policy. Huge pages that are split for their zeros came with 6.12.
fn children(name: &str, pages: &str) -> String {
    let next = format!("echo 'bench: next {name}.{pages} failing_child children'");
    let run = format!("{}; {next}; /bin/thpfork 256 {pages}", policy(name));
    if name == "underused" { format!("if [ -e $thp/shrink_underused ]; then {run}; fi") } else { run }
}

fn program(text: &mut String, run: &Run) {
    let words = run.words;
    let command = match run.start {
        Start::Plain => format!("/bin/{words}"),
        Start::First => format!("$b unshare -p -f /bin/{words}"),
        Start::Nobody => format!("$b start-stop-daemon -S -q -c nobody -x /bin/{words} | $b cat"),
    };
    let _ = writeln!(text, "echo 'program: begin {words}'\n{command}\necho \"program: status $?\"");
}

#[cfg(test)]
mod tests {
    use super::super::plan::plan;
    use super::*;

    fn script_of(words: &str) -> String {
        script(&plan(words).unwrap()[0])
    }

    /// What the shell makes of a script, without its files: the commands as they would be run.
    fn parses(script: &str) {
        use std::io::Write;
        let mut shell =
            std::process::Command::new("sh").arg("-n").stdin(std::process::Stdio::piped()).spawn().unwrap();
        shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success(), "{script}");
    }

    /// Each part is a script that a shell reads, sets Linux as Quire is set, idles, and says that it came to its end.
    #[test]
    fn every_part() {
        for word in ["mmbench", "mmbench:fault:cow", "workload", "thpfork", "programs"] {
            let script = script_of(word);
            parses(&script);
            let at = |words: &str| script.find(words).unwrap_or_else(|| panic!("{word}: no {words}"));
            assert!(script.starts_with("#!/bin/busybox sh\n"));
            let pool = if word == "programs" { 3 } else { 64 };
            assert!(at(&format!("echo {pool} > /proc/sys/vm/nr_hugepages")) < at("$b sleep 30"));
            assert!(at("echo always > $thp/enabled") < at("$b sleep 30"));
            assert!(at("$b sleep 30") < at("linux: done"));
            assert!(script.ends_with("$b poweroff -f\n"));
        }
    }

    /// The groups are the program's arguments; the marks are those that an experiment of Quire prints.
    #[test]
    fn rows() {
        let script = script_of("mmbench:fault:cow");
        assert!(script.contains("echo 'bench: begin mmbench'\n{ /bin/mmbench fault cow; } || end=broken\n"));
        assert!(script.contains("echo \"bench: $end mmbench\""));
        let script = script_of("workload:dense");
        assert!(script.contains("echo never > $thp/enabled; echo 511 > $thp/khugepaged/max_ptes_none; /bin/workload dense as=never"));
        assert!(script.contains("/bin/workload dense as=always"));
    }

    /// A figure of the fork test is announced with the policy's name; what 6.1 has not is not asked of it.
    #[test]
    fn the_fork_test() {
        let script = script_of("thpfork:-64:underused:never");
        assert!(
            script.contains("echo 'bench: next never.-64 failing_child children'; /bin/thpfork 256 -64; }")
        );
        let rest = script.split("if [ -e $thp/shrink_underused ]; then ").nth(1).unwrap();
        assert!(rest.starts_with("echo always > $thp/enabled; echo 255 > $thp/khugepaged/max_ptes_none; "));
    }

    /// A test program stands between its marks; some are the first of a pid namespace, or not root's.
    #[test]
    fn test_programs() {
        let script = script_of("fork");
        assert!(
            script.contains("echo 'program: begin fork cow'\n/bin/fork cow\necho \"program: status $?\"\n")
        );
        assert!(script.contains("\n$b unshare -p -f /bin/fork\n"));
        assert!(
            script_of("files").contains("\n$b start-stop-daemon -S -q -c nobody -x /bin/files | $b cat\n")
        );
    }
}
