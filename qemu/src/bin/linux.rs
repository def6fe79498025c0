//! `quire-linux`: boots Debian's Linux and Quire on the same machine, with the same programs, and prints both.
#![forbid(unsafe_code, unstable_features)]

use qemu::bench::commits;
use qemu::bench::peers::Peers;
use qemu::bench::rows::{self, End, Output};
use qemu::linux::apt::{Candidate, Package};
use qemu::linux::archive::Archive;
use qemu::linux::choice::{self, Wish};
use qemu::linux::figures::{self, Stored, Table};
use qemu::linux::plan::{self, Part};
use qemu::linux::sources::{self, Mirror};
use qemu::linux::statuses::Statuses;
use qemu::linux::{boot, initramfs, programs, quire, script, unpack};
use qemu::session::tail;
use qemu::{Boot, Error, Options, Outcome, Status, root};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const USAGE: &str = "usage: quire-linux KERNEL

Fetches Debian's arm64 kernel and a static busybox as packages, boots that kernel and the ELF
file KERNEL with the options of [bench] of qemu/machine.conf, each with the programs of
target/programs, and prints what both need. The environment says which Linux, and what is run:

  LINUX=           a version (6.1, 7.2.12), a suite (stable, bookworm-backports), newest
                   (where it is empty), or list, which prints those that there are
  LINUX_ARGS=      boot arguments instead of `mitigations=off init_on_alloc=0 cgroup_disable=memory`
  ONLY=            mmbench, workload, thpfork, programs, one test program's name; parts after a
                   colon: mmbench:fault:cow, workload:dense, thpfork:-64:never
  LINUX_SOURCES=   a file of lines for apt instead of Debian's suites
  DEBIAN_MIRROR=   a mirror of Debian, where this system's apt uses none

The exit status is 0 if every part came to its end on both, and every test program ended as it
does on Linux.";

/// The package that leads to the kernel, and that of the shell.
const KERNEL: &str = "linux-image-arm64";
const BUSYBOX: &str = "busybox-static";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(kernel), None) = (words.next().filter(|word| !word.starts_with('-')), words.next()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(Path::new(&kernel)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quire-linux: {error}");
            ExitCode::from(2)
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default().trim().to_owned()
}

fn run(kernel: &Path) -> Result<ExitCode, Error> {
    let wish = Wish::read(&variable("LINUX")).map_err(Error::Linux)?;
    let parts =
        plan::plan(&variable("ONLY")).map_err(|sentence| Error::Linux(format!("ONLY: {sentence}")))?;
    let arguments = match variable("LINUX_ARGS") {
        none if none.is_empty() => script::LEAN.to_owned(),
        some => some,
    };
    let options = Options::load(Some("bench"))?;
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
    }
    let stopped = || signal.load(Ordering::Relaxed) != 0;
    let folder = root().join("target/linux");
    let archive = read_lists(&folder, &wish, stopped)?;
    let kernels = archive.versions(KERNEL)?;
    if wish == Wish::List {
        if kernels.is_empty() {
            return Err(archive.missing(KERNEL));
        }
        kernels.iter().for_each(|kernel| println!("{}", choice::said(kernel)));
        return Ok(ExitCode::SUCCESS);
    }
    let of_lists = |sentence| Error::Linux(format!("{sentence}{}", archive.because()));
    let chosen = choice::choose(&kernels, &wish).map_err(of_lists)?;
    if !archive.complaints.is_empty() {
        eprintln!("quire-linux: some lists are as they were last time, or not there{}", archive.because());
    }
    let linux = Linux::get(&archive, &folder, chosen, stopped)?;
    let bench = Bench { options, boot: Boot::prepare(kernel)?, linux, arguments, folder };
    bench.compare(&parts, &stopped)
}

/// Reads the package lists that the wish needs.
fn read_lists(folder: &Path, wish: &Wish, stopped: impl FnMut() -> bool) -> Result<Archive, Error> {
    let lines = match variable("LINUX_SOURCES") {
        path if !path.is_empty() => std::fs::read_to_string(&path).map_err(Error::file(&path))?,
        _ => {
            let mirror = match variable("DEBIAN_MIRROR") {
                uri if !uri.is_empty() => Mirror::at(&uri),
                _ => Mirror::of_this_system().map_err(Error::Linux)?,
            };
            sources::lines(wish, &mirror)
        }
    };
    let suites = lines.lines().filter(|line| line.starts_with("deb")).count();
    eprintln!(
        "quire-linux: reading Debian's package lists for arm64, {suites} of them; they stay in target/linux"
    );
    let mut archive = Archive::open(folder, &lines)?;
    archive.update(stopped)?;
    Ok(archive)
}

/// The files of Linux.
struct Linux {
    version: String,
    suite: String,
    image: PathBuf,
    busybox: Vec<u8>,
}

impl Linux {
    /// Downloads what is not there yet, and takes the kernel and busybox out of it.
    fn get(
        archive: &Archive,
        folder: &Path,
        chosen: &Candidate,
        mut stopped: impl FnMut() -> bool,
    ) -> Result<Linux, Error> {
        let kernel = archive.kernel(KERNEL, &chosen.version)?;
        let boxes = archive.versions(BUSYBOX)?;
        let newest = boxes.first().ok_or_else(|| archive.missing(BUSYBOX))?;
        let busybox = archive.package(BUSYBOX, &newest.version)?;
        announce(archive, &kernel, &chosen.suite);
        announce(archive, &busybox, &newest.suite);
        let mut take = |package: &Package, is_wanted: fn(&str) -> bool| {
            let deb = archive.fetch(package, &mut stopped)?;
            let nothing =
                || Error::Linux(format!("the package {} has no such file as it should", package.name));
            unpack::file(&deb, is_wanted)?.ok_or_else(nothing)
        };
        let image = take(&kernel, unpack::is_kernel)?;
        let busybox = take(&busybox, |path| path.ends_with("bin/busybox"))?;
        if !unpack::is_image(&image) {
            let sentence = format!(
                "the kernel of linux-image-arm64 {} is packed in a way that QEMU does not load",
                chosen.version
            );
            return Err(Error::Linux(sentence));
        }
        let path = folder.join("Image");
        std::fs::write(&path, image).map_err(Error::file(&path))?;
        let (version, suite) = (chosen.upstream().to_owned(), chosen.suite.clone());
        Ok(Linux { version, suite, image: path, busybox })
    }
}

fn announce(archive: &Archive, package: &Package, suite: &str) {
    let verb = if archive.has(package) { "has" } else { "downloads" };
    let size = package.size as f64 / 1e6;
    eprintln!("quire-linux: {verb} {} {} ({size:.1} MB, {suite})", package.name, package.version);
}

/// All that the parts are run with.
struct Bench {
    options: Options,
    boot: Boot,
    linux: Linux,
    arguments: String,
    folder: PathBuf,
}

impl Bench {
    fn compare(&self, parts: &[Part], stopped: &(dyn Fn() -> bool + Sync)) -> Result<ExitCode, Error> {
        let out = root().join("target/bench");
        std::fs::create_dir_all(&out).map_err(Error::file(&out))?;
        let write = |name: &str, text: &str| {
            let path = out.join(name);
            std::fs::write(&path, text).map_err(Error::file(&path))
        };
        let machine = self.machine()?;
        let figures_go_to = if variable("ONLY").is_empty() { "linux.json" } else { "linux.part.json" };
        println!("{}\n", self.said());
        let (mut tables, mut good) = (Vec::new(), true);
        for part in parts {
            let [linux, quire] = self.on_both(part, stopped)?;
            write(&format!("linux-{}.log", part.name()), &linux.log)?;
            write(&format!("linux-{}-quire.log", part.name()), &quire.log)?;
            good &= linux.good && quire.good;
            if let Part::Programs(runs) = part {
                let statuses = Statuses::new(runs, &linux.log, &quire.log);
                write("linux-programs.json", &statuses.json())?;
                println!("{statuses}");
                programs::LEFT_OUT.iter().for_each(|(name, why)| println!("  left out: {name}: {why}"));
                println!();
                good &= statuses.disagreements() == 0;
            } else {
                let table = Table::new(part, &self.linux.version, &linux.output, &quire.output);
                println!("{table}");
                if let Some(stored) = self.stored(part, &table)? {
                    println!("{stored}");
                }
                good &= table.complete;
                tables.push(table);
                write(figures_go_to, &figures::json(&machine, &tables))?;
            }
            if stopped() {
                return Ok(ExitCode::FAILURE);
            }
        }
        if variable("ONLY").is_empty() {
            println!("left out, as they take long: ONLY=thpfork has all densities and policies");
        }
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// How the table compares with figures that are stored, where there are any of this Linux.
    fn stored(&self, part: &Part, table: &Table) -> Result<Option<Stored>, Error> {
        let peers = Peers::load()?;
        let column = peers.column(&self.linux.version, &self.arguments);
        let column = column.filter(|_| self.is_of_the_peers(&peers));
        let is_stored = matches!(part, Part::Mmbench(_) | Part::Thpfork { .. });
        Ok(column.filter(|_| is_stored).map(|column| Stored::new(table, &peers, column)))
    }

    /// Whether it is the machine of the figures that are stored.
    fn is_of_the_peers(&self, peers: &Peers) -> bool {
        let options = Options { append: String::new(), ..self.options.clone() };
        peers.other_machine(&options).is_none()
    }

    /// Runs a part on Linux, then on Quire.
    fn on_both(&self, part: &Part, stopped: &(dyn Fn() -> bool + Sync)) -> Result<[Ran; 2], Error> {
        let (linux, quire) = (format!("Linux {}", self.linux.version), "Quire".to_owned());
        let experiment = part.experiment().unwrap_or_default();
        let mut both = [Ran::new(&linux), Ran::new(&quire)];
        for part in part.boots() {
            let doing = Doing::new(&linux, &part);
            let outcome = self.on_linux(&part, stopped)?;
            doing.done();
            let done = outcome.log.contains(script::DONE);
            both[0].add(&part, rows::read(&outcome.log, experiment), &outcome, done);
            let doing = Doing::new(&quire, &part);
            let outcome = self.on_quire(&part, stopped)?;
            doing.done();
            both[1].add(&part, rows::read(&outcome.log, experiment), &outcome, true);
            if stopped() {
                break;
            }
        }
        Ok(both)
    }

    fn on_linux(&self, part: &Part, stopped: impl FnMut() -> bool) -> Result<Outcome, Error> {
        let programs = root().join("target/programs");
        let archive = initramfs::pack(&script::script(part), &self.linux.busybox, &programs)?;
        let path = self.folder.join("initramfs.cpio");
        std::fs::write(&path, archive).map_err(Error::file(&path))?;
        let files = boot::Files { image: &self.linux.image, initramfs: &path };
        boot::run(&self.options, files, &format!("{} {}", script::NECESSARY, self.arguments), stopped)
    }

    fn on_quire(&self, part: &Part, stopped: &(dyn Fn() -> bool + Sync)) -> Result<Outcome, Error> {
        if let Part::Programs(runs) = part {
            return quire::programs(&self.options, &self.boot, runs, stopped);
        }
        let measured = quire::measure(&self.options, &self.boot, part, stopped)?;
        Ok(measured.map_or(Outcome { status: Status::GivenUp, log: String::new() }, |measured| Outcome {
            status: measured.status,
            log: measured.log,
        }))
    }

    /// The machine and both kernels in a few lines.
    fn said(&self) -> String {
        let Options { machine, cpu, cpu_options, smp, mem, args, .. } = &self.options;
        format!(
            "Linux {} ({}): {}\nQuire: {}\nboth: -M {machine} -cpu {cpu},{cpu_options} -smp {smp} -m {mem} {}\n\
             figures are guest instructions, the cheapest of each series, unless a unit is named; ratio: Quire to Linux",
            self.linux.version,
            self.linux.suite,
            self.arguments,
            self.boot.elf.display(),
            args.join(" ")
        )
    }

    /// On what it is measured, for people and for the report.
    fn machine(&self) -> Result<serde_json::Value, Error> {
        Ok(serde_json::json!({
            "linux": self.linux.version,
            "suite": self.linux.suite,
            "args": self.arguments,
            "cpu": self.options.cpu,
            "is_of_the_peers": self.is_of_the_peers(&Peers::load()?),
            "qemu": version_of(&self.options.qemu)?,
            "commits": commits::of_the_tree(),
        }))
    }
}

/// The version of QEMU, without its last number.
fn version_of(qemu: &str) -> Result<String, Error> {
    let said =
        Command::new(qemu).arg("--version").output().map_err(|error| Error::Start(qemu.to_owned(), error))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let number = said.split_whitespace().skip_while(|word| *word != "version").nth(1).unwrap_or("?");
    Ok(number.split('.').take(2).collect::<Vec<_>>().join("."))
}

/// What all boots of a part gave on one of both.
struct Ran {
    who: String,
    output: Output,
    log: String,
    /// Whether every machine came to its end.
    good: bool,
}

impl Ran {
    fn new(who: &str) -> Ran {
        let output = Output { rows: Vec::new(), remarks: Vec::new(), end: End::Complete };
        Ran { who: who.to_owned(), output, log: String::new(), good: true }
    }

    /// Adds what a boot gave; `done` is whether it said that it came to its end.
    fn add(&mut self, part: &Part, output: Output, outcome: &Outcome, done: bool) {
        self.output.append(output);
        self.log += &outcome.log;
        self.good &= explain(&self.who, part, outcome, done);
    }
}

/// What is being done, on standard error.
struct Doing {
    what: String,
    began: Instant,
}

impl Doing {
    fn new(who: &str, part: &Part) -> Doing {
        let what = format!("{who}: {}", part.said());
        eprintln!("quire-linux: {what} ...");
        Doing { what, began: Instant::now() }
    }

    fn done(self) {
        eprintln!("quire-linux: {} took {} s", self.what, self.began.elapsed().as_secs());
    }
}

/// Whether a machine came to its end; says what it said last if not.
fn explain(who: &str, part: &Part, outcome: &Outcome, done: bool) -> bool {
    let why = match outcome.status {
        Status::Exited(0) if done => return true,
        Status::Exited(status) => format!("the machine ended early, with status {status}"),
        Status::TimedOut(limit) => {
            format!("the time limit of {} s has passed (TIMEOUT= sets it)", limit.as_secs())
        }
        Status::GivenUp => "it was ended by a signal".to_owned(),
    };
    eprintln!(
        "quire-linux: {who}: {}: {why}; the last lines were:\n{}\n",
        part.said(),
        tail(&outcome.log, 12)
    );
    false
}
