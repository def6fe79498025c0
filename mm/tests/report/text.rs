//! The text, character by character and row by row.

use arch::VirtAddr;
use arch::model::user_load;
use mm::config::ThpMode;
use mm::report::{State, Subject};
use mm::space::{Advice, MapFlags, MapProt, MmapRequest};
use mm::testkit::{run_as_user, with_space};
use mm::thp::permission::ThpPermission;

use crate::kit::{
    BASE, HUGE, NO_STACK, PAGE, RW, machine, maps, parse, populated, rollup, smaps, smaps_text,
};

/// The rows of a record, in Linux's order (`show_smap`, `__show_smap`).
const RECORD: [&str; 25] = [
    "Size",
    "KernelPageSize",
    "MMUPageSize",
    "Rss",
    "Pss",
    "Pss_Dirty",
    "Shared_Clean",
    "Shared_Dirty",
    "Private_Clean",
    "Private_Dirty",
    "Referenced",
    "Anonymous",
    "KSM",
    "LazyFree",
    "AnonHugePages",
    "ShmemPmdMapped",
    "FilePmdMapped",
    "Shared_Hugetlb",
    "Private_Hugetlb",
    "Swap",
    "SwapPss",
    "Locked",
    "THPeligible",
    "VmFlags",
    "",
];

/// Linux's lines, to the character: addresses of eight digits and more, rights, the name in its column, and a blank at
/// the end of a line without one.
#[test]
fn maps_is_linux_s() {
    with_space(&machine(ThpMode::Never), |mm, _, space| {
        let anonymous = |len, prot| MmapRequest::anonymous(len, prot);
        mm.mmap(space, &anonymous(PAGE, MapProt::READ | MapProt::EXEC).fixed(0x41_0000)).unwrap();
        mm.set_brk_start(space, VirtAddr::new(0x42_0000));
        assert_eq!(mm.brk(space, 0x42_1800).raw(), 0x42_1800);
        mm.mmap(space, &anonymous(PAGE, MapProt::empty()).fixed(BASE)).unwrap();
        let hugetlb = anonymous(HUGE, RW).with(MapFlags::HUGETLB | MapFlags::NORESERVE);
        mm.mmap(space, &hugetlb.fixed(BASE + HUGE)).unwrap();
        let stack = BASE + (1 << 30);
        mm.mmap(space, &anonymous(2 * PAGE, RW).with(MapFlags::GROWSDOWN).fixed(stack)).unwrap();
        let short = " ".repeat(73 - "00420000-00422000 rw-p 00000000 00:00 0".len());
        let long = " ".repeat(73 - "1040000000-1040002000 rw-p 00000000 00:00 0".len());
        let huge = format!("{:<73}", "1000200000-1000400000 rw-p 00000000 00:0e 1");
        let expected = format!(
            "00410000-00411000 r-xp 00000000 00:00 0 \n\
             00420000-00422000 rw-p 00000000 00:00 0{short}[heap]\n\
             1000000000-1000001000 ---p 00000000 00:00 0 \n\
             {huge}/anon_hugepage (deleted)\n\
             1040000000-1040002000 rw-p 00000000 00:00 0{long}[stack]\n"
        );
        assert_eq!(maps(mm, space, VirtAddr::new(stack + PAGE)), expected);
        let lines: Vec<_> = parse(&smaps_text(mm, space, VirtAddr::new(stack + PAGE)));
        let lines: String = lines.iter().map(|record| record.line.clone() + "\n").collect();
        assert_eq!(lines, expected, "smaps begins each record with the line of maps");
    });
}

/// Every row once, in Linux's order, with its unit; the whole record of a mapping without pages.
#[test]
fn smaps_has_linux_s_rows() {
    with_space(&machine(ThpMode::Never), |mm, _, space| {
        mm.mmap(space, &MmapRequest::anonymous(3 * PAGE, RW).fixed(BASE)).unwrap();
        let records = smaps(mm, space);
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].names, RECORD[..24]);
        let expected = "\
1000000000-1000003000 rw-p 00000000 00:00 0 
Size:                 12 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                   0 kB
Pss:                   0 kB
Pss_Dirty:             0 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
Referenced:            0 kB
Anonymous:             0 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
THPeligible:           0
VmFlags: rd wr mr mw me ac 
";
        assert_eq!(smaps_text(mm, space, NO_STACK), expected);
    });
}

/// The rollup has one line, and the sums of the rows that both have.
#[test]
fn rollup_is_the_sum() {
    with_space(&machine(ThpMode::Always), |mm, env, space| {
        populated(mm, space, BASE, 5 * PAGE);
        populated(mm, space, BASE + HUGE, HUGE);
        mm.mmap(space, &MmapRequest::anonymous(PAGE, RW).fixed(BASE + 4 * HUGE)).unwrap();
        run_as_user(mm, env, space, || assert_eq!(user_load(VirtAddr::new(BASE + 4 * HUGE)), Ok(0)));
        let (records, sum) = (smaps(mm, space), rollup(mm, space));
        let line = format!("{:x}-{:x} ---p 00000000 00:00 0", BASE, BASE + 4 * HUGE + PAGE);
        assert_eq!(sum.line, format!("{line:<73}[rollup]"));
        let names: Vec<&str> = sum.names.iter().map(String::as_str).collect();
        let extra = ["Pss_Anon", "Pss_File", "Pss_Shmem"];
        let expected: Vec<&str> = RECORD[3..6].iter().chain(&extra).chain(&RECORD[6..22]).copied().collect();
        assert_eq!(names, expected);
        for name in names.iter().filter(|name| !extra.contains(name)) {
            assert_eq!(sum.get(name), records.iter().map(|record| record.get(name)).sum::<u64>(), "{name}");
        }
        assert_eq!(sum.get("Rss"), 20 + 2048);
        assert_eq!(sum.get("Pss_Anon"), sum.get("Pss"));
    });
}

/// A space without VMAs has empty files.
#[test]
fn nothing_is_nothing() {
    with_space(&machine(ThpMode::Never), |mm, _, space| {
        assert_eq!(maps(mm, space, NO_STACK), "");
        assert_eq!(smaps_text(mm, space, NO_STACK), "");
        let mut text = String::new();
        mm.write_smaps_rollup(space, &mut text).unwrap();
        assert_eq!(text, "");
    });
}

/// Flags and eligibility follow madvise and mmap's flags.
#[test]
fn properties_are_told() {
    with_space(&machine(ThpMode::Madvise), |mm, _, space| {
        let map = |n: u64, flags| {
            let request = MmapRequest::anonymous(2 * HUGE, RW).with(flags).fixed(BASE + 8 * n * HUGE);
            mm.mmap(space, &request).unwrap().raw()
        };
        map(0, MapFlags::empty());
        let asked = map(1, MapFlags::NORESERVE);
        mm.madvise(space, asked, 2 * HUGE, Advice::HugePage).unwrap();
        let refused = map(2, MapFlags::empty());
        mm.madvise(space, refused, 2 * HUGE, Advice::NoHugePage).unwrap();
        map(3, MapFlags::HUGETLB | MapFlags::NORESERVE);
        map(4, MapFlags::GROWSDOWN);
        let small = map(5, MapFlags::empty());
        mm.munmap(space, small + PAGE, 2 * HUGE - PAGE).unwrap();
        mm.madvise(space, small, PAGE, Advice::HugePage).unwrap();
        let told: Vec<_> = smaps(mm, space)
            .into_iter()
            .map(|record| (record.get("THPeligible"), record.get("MMUPageSize"), record.flags.unwrap()))
            .collect();
        let expected = [
            (0, 4, "rd wr mr mw me ac "),
            (1, 4, "rd wr mr mw me nr hg "),
            (0, 4, "rd wr mr mw me ac nh "),
            (0, 2048, "rd wr mr mw me de nr ht "),
            (0, 4, "rd wr mr mw me gd ac "),
            (0, 4, "rd wr mr mw me ac hg "),
        ];
        assert_eq!(told, expected.map(|(eligible, size, flags)| (eligible, size, flags.to_owned())));
    });
}

/// Linux's rows, tabs and units; memory in numbers that agree with smaps.
#[test]
fn status_is_linux_s() {
    with_space(&machine(ThpMode::Never), |mm, _, space| {
        populated(mm, space, BASE, 5 * PAGE);
        let code = MmapRequest::anonymous(2 * PAGE, MapProt::READ | MapProt::EXEC).fixed(0x41_0000);
        mm.mmap(space, &code).unwrap();
        let stack = MmapRequest::anonymous(4 * PAGE, RW).with(MapFlags::GROWSDOWN);
        mm.mmap(space, &stack.fixed(BASE + (1 << 30))).unwrap();
        mm.set_thp_permission(space, ThpPermission::Withheld);
        let subject =
            Subject { name: "report", pid: 17, ppid: 3, state: State::Sleeping, stack: NO_STACK, threads: 1 };
        let mut text = String::new();
        mm.write_status(&subject, Some(space), &mut text).unwrap();
        let expected = "\
Name:\treport
State:\tS (sleeping)
Tgid:\t17
Pid:\t17
PPid:\t3
VmSize:\t      44 kB
VmLck:\t       0 kB
VmRSS:\t      20 kB
RssAnon:\t      20 kB
RssFile:\t       0 kB
RssShmem:\t       0 kB
VmData:\t      20 kB
VmStk:\t      16 kB
VmExe:\t       8 kB
VmLib:\t       0 kB
VmPTE:\t      12 kB
VmSwap:\t       0 kB
HugetlbPages:\t       0 kB
THP_enabled:\t0
Threads:\t1
";
        assert_eq!(text, expected);
        let zombie = Subject { state: State::Zombie, ..subject };
        text.clear();
        mm.write_status(&zombie, None, &mut text).unwrap();
        let expected = "Name:\treport\nState:\tZ (zombie)\nTgid:\t17\nPid:\t17\nPPid:\t3\nThreads:\t1\n";
        assert_eq!(text, expected);
    });
}
