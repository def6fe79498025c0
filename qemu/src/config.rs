//! The machine options: `qemu/machine.conf`, one section of it, and the environment, in this order.
//!
//! Every value is checked here, so that a typing error is a sentence and not a machine that behaves oddly. What
//! only QEMU can know (the names of its machines and CPUs) is left to QEMU. An empty variable counts as not given.

use crate::artefacts::root;
use crate::error::Error;
use std::collections::BTreeMap;
use std::time::Duration;

/// The exception level at which the kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// EL1: the machine has no EL2.
    El1,
    /// EL2: `virtualization=on`.
    El2,
}

/// The machine to start, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The QEMU to start: a name to look up, or a path.
    pub qemu: String,
    /// The gdb to attach.
    pub gdb: String,
    /// More arguments for gdb, after those that attach it.
    pub gdb_args: Vec<String>,
    /// `-M`, without `virtualization`.
    pub machine: String,
    /// Where the kernel is entered.
    pub entry: Entry,
    /// `-cpu`.
    pub cpu: String,
    /// Properties added to the CPU, comma-separated; may be empty.
    pub cpu_options: String,
    /// `-smp`, 1..=8.
    pub smp: u32,
    /// `-m`, with a unit.
    pub mem: String,
    /// Boot arguments.
    pub append: String,
    /// The arguments that are always given, then those asked for.
    pub args: Vec<String>,
    /// The limit of a run that nobody watches; `None` = no limit.
    pub limit: Option<Duration>,
    /// The keys that the environment gave: they go over what somebody else would set.
    pub asked_for: Vec<&'static str>,
}

/// Keys that the environment may override, by their name in capitals.
const FROM_ENVIRONMENT: [&str; 10] =
    ["qemu", "gdb", "gdb_args", "el2", "cpu", "smp", "mem", "append", "qemu_args", "timeout"];
/// The other keys.
const FROM_FILE_ONLY: [&str; 3] = ["machine", "cpu_options", "args"];

impl Options {
    /// The options of `qemu/machine.conf`, of its section `[section]` if one is named, and of the environment.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Line`], [`Error::Section`], [`Error::Option`].
    pub fn load(section: Option<&str>) -> Result<Options, Error> {
        let path = root().join("qemu/machine.conf");
        let text = std::fs::read_to_string(&path).map_err(Error::file(&path))?;
        Options::parse(&text, section, |name| std::env::var(name).ok())
    }

    /// The options of a test: of the file only, so that a variable that happens to be set changes no result;
    /// except for `QEMU`, `GDB` and `QEMU_ARGS`, which say how to run and not what.
    ///
    /// # Errors
    /// As for [`Options::load`].
    pub fn for_tests() -> Result<Options, Error> {
        let path = root().join("qemu/machine.conf");
        let text = std::fs::read_to_string(&path).map_err(Error::file(&path))?;
        Options::parse(&text, None, |name| match name {
            "QEMU" | "GDB" | "QEMU_ARGS" => std::env::var(name).ok(),
            _ => None,
        })
    }

    /// The options of `make bench`, of the file only.
    ///
    /// # Errors
    /// As for [`Options::load`].
    pub fn for_bench() -> Result<Options, Error> {
        Options::for_bench_with(|_| None)
    }

    /// The same, with an environment.
    pub(crate) fn for_bench_with(environment: impl Fn(&str) -> Option<String>) -> Result<Options, Error> {
        let path = root().join("qemu/machine.conf");
        let text = std::fs::read_to_string(&path).map_err(Error::file(&path))?;
        Options::parse(&text, Some("bench"), environment)
    }

    /// Whether the environment gave this key.
    #[must_use]
    pub fn is_asked_for(&self, key: &str) -> bool {
        self.asked_for.contains(&key)
    }

    /// What the machine has of `cpu`, `smp` and `mem`; `None`: another key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        match key {
            "cpu" => Some(self.cpu.clone()),
            "smp" => Some(self.smp.to_string()),
            "mem" => Some(self.mem.clone()),
            _ => None,
        }
    }

    /// Sets `cpu`, `smp` or `mem`.
    ///
    /// # Errors
    /// [`Error::Option`]: another key, or a value that is not permitted.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let values = Values(BTreeMap::from([(key.to_owned(), value.to_owned())]));
        match key {
            "cpu" => self.cpu = values.word(key)?,
            "smp" => self.smp = values.smp()?,
            "mem" => self.mem = values.mem()?,
            _ => return values.refuse(key, "one of cpu, smp and mem"),
        }
        Ok(())
    }

    fn parse(
        text: &str,
        section: Option<&str>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Options, Error> {
        let mut values = parse_file(text, section)?;
        let mut asked_for = Vec::new();
        for key in FROM_ENVIRONMENT {
            if let Some(value) = environment(&key.to_uppercase()).filter(|value| !value.trim().is_empty()) {
                asked_for.push(key);
                values.insert(key.to_owned(), value.trim().to_owned());
            }
        }
        let values = Values(values);
        let mut args = values.words("args")?;
        args.extend(values.words("qemu_args")?);
        Ok(Options {
            qemu: values.word("qemu")?,
            gdb: values.word("gdb")?,
            gdb_args: values.words("gdb_args")?,
            machine: values.word("machine")?,
            entry: values.entry()?,
            cpu: values.word("cpu")?,
            cpu_options: values.text("cpu_options"),
            smp: values.smp()?,
            mem: values.mem()?,
            append: values.text("append"),
            args,
            limit: values.limit()?,
            asked_for,
        })
    }
}

/// Reads the lines before the first section, and those of `section` over them.
fn parse_file(text: &str, section: Option<&str>) -> Result<BTreeMap<String, String>, Error> {
    let mut values = BTreeMap::new();
    let (mut current, mut found) = (None, section.is_none());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = Some(name);
            found |= current == section;
            continue;
        }
        let known = |key: &&str| FROM_ENVIRONMENT.contains(key) || FROM_FILE_ONLY.contains(key);
        let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            return Err(Error::Line(index + 1, line.to_owned()));
        };
        if !known(&key) {
            return Err(Error::Line(index + 1, line.to_owned()));
        }
        if current.is_none() || current == section {
            values.insert(key.to_owned(), value.to_owned());
        }
    }
    match section {
        Some(name) if !found => Err(Error::Section(name.to_owned())),
        _ => Ok(values),
    }
}

/// The values by key, and how each is checked.
struct Values(BTreeMap<String, String>);

impl Values {
    fn text(&self, key: &str) -> String {
        self.0.get(key).cloned().unwrap_or_default()
    }

    fn refuse<T>(&self, key: &str, permitted: &'static str) -> Result<T, Error> {
        Err(Error::Option { key: key.to_uppercase(), value: self.text(key), permitted })
    }

    fn word(&self, key: &str) -> Result<String, Error> {
        let text = self.text(key);
        if text.is_empty() || text.contains(char::is_whitespace) {
            return self.refuse(key, "one word");
        }
        Ok(text)
    }

    fn words(&self, key: &str) -> Result<Vec<String>, Error> {
        match shlex::split(&self.text(key)) {
            Some(words) => Ok(words),
            None => self.refuse(key, "a list of words, quotation marks closed"),
        }
    }

    fn entry(&self) -> Result<Entry, Error> {
        match self.text("el2").as_str() {
            "1" | "on" | "yes" | "true" => Ok(Entry::El2),
            "" | "0" | "off" | "no" | "false" => Ok(Entry::El1),
            _ => self.refuse("el2", "1 or 0 (on or off)"),
        }
    }

    fn smp(&self) -> Result<u32, Error> {
        match self.text("smp").parse() {
            Ok(cpus @ 1..=8) => Ok(cpus),
            _ => self.refuse("smp", "a number of CPUs from 1 to 8"),
        }
    }

    fn mem(&self) -> Result<String, Error> {
        const PERMITTED: &str = "a number followed by K, M or G, for example 512M";
        let text = self.text("mem");
        let Some(digits) = text.strip_suffix(['K', 'M', 'G']) else { return self.refuse("mem", PERMITTED) };
        match digits.parse::<u64>() {
            Ok(1..) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Ok(text),
            _ => self.refuse("mem", PERMITTED),
        }
    }

    fn limit(&self) -> Result<Option<Duration>, Error> {
        match self.text("timeout").parse() {
            Ok(0) => Ok(None),
            Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
            Err(_) => self.refuse("timeout", "a number of seconds, 0 for no limit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
        # a comment
        qemu = qemu-system-aarch64
        gdb = gdb-multiarch
        machine = virt,gic-version=3
        el2 = off
        cpu = max
        smp = 2
        mem = 512M
        args = -nodefaults -display none
        timeout = 300
        [bench]
        smp = 1
    ";

    fn with(section: Option<&str>, variables: &[(&str, &str)]) -> Result<Options, Error> {
        Options::parse(FILE, section, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn refused(name: &str, value: &str) -> String {
        with(None, &[(name, value)]).expect_err("must be refused").to_string()
    }

    /// The file alone gives the machine; a section overrides only what it names.
    #[test]
    fn file_then_section() {
        let plain = with(None, &[]).unwrap();
        assert_eq!((plain.smp, plain.append.as_str(), plain.entry), (2, "", Entry::El1));
        assert_eq!(plain.args, ["-nodefaults", "-display", "none"]);
        assert_eq!(plain.limit, Some(Duration::from_secs(300)));
        let bench = with(Some("bench"), &[]).unwrap();
        assert_eq!((bench.smp, bench.cpu.as_str()), (1, "max"));
        assert!(matches!(with(Some("absent"), &[]), Err(Error::Section(_))));
    }

    /// A variable goes over the file and over the section; an empty one counts as not given.
    #[test]
    fn environment_last() {
        let options =
            with(Some("bench"), &[("SMP", "4"), ("CPU", ""), ("EL2", "1"), ("TIMEOUT", "7")]).unwrap();
        assert_eq!((options.smp, options.cpu.as_str(), options.entry), (4, "max", Entry::El2));
        assert!(["smp", "el2", "timeout"].iter().all(|key| options.is_asked_for(key)));
        assert!(!options.is_asked_for("cpu"));
        assert_eq!(options.limit, Some(Duration::from_secs(7)));
        assert!(!with(None, &[]).unwrap().is_asked_for("timeout"));
        assert_eq!(with(None, &[("TIMEOUT", "0")]).unwrap().limit, None);
    }

    /// QEMU_ARGS is split as a shell splits, and is added after the fixed arguments.
    #[test]
    fn more_arguments_keep_their_quotes() {
        let options = with(None, &[("QEMU_ARGS", "-d 'a b' -plugin x")]).unwrap();
        assert_eq!(options.args[3..], ["-d", "a b", "-plugin", "x"]);
        assert!(refused("QEMU_ARGS", "'open").contains("quotation marks"));
    }

    /// Values out of range are refused with the range.
    #[test]
    fn wrong_values_are_sentences() {
        assert_eq!(refused("SMP", "0"), "SMP=0: permitted is a number of CPUs from 1 to 8");
        assert!(refused("SMP", "two").contains("1 to 8"));
        assert!(refused("MEM", "512").contains("512M"));
        assert!(refused("MEM", "+1G").contains("512M"));
        assert!(refused("EL2", "maybe").contains("on or off"));
        assert!(refused("TIMEOUT", "-1").contains("seconds"));
        assert!(refused("CPU", "max, cntfrq=1").contains("one word"));
    }

    /// A key that nobody reads is refused with its line, in any section.
    #[test]
    fn unknown_keys_are_refused() {
        let error = Options::parse("\n[x]\ncpus = 2\n", None, |_| None).unwrap_err().to_string();
        assert!(error.contains("machine.conf:3"), "{error}");
    }

    /// The file that is shipped is good, with each of its sections.
    #[test]
    fn the_shipped_file_loads() {
        assert_eq!(Options::for_tests().unwrap().machine, "virt,gic-version=3");
        let bench = Options::for_bench().unwrap();
        assert_eq!((bench.smp, bench.cpu_options.as_str()), (1, "cntfrq=1000000000"));
        assert!(bench.args.iter().any(|arg| arg == "-icount"));
    }
}
