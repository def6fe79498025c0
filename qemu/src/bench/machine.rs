//! The boots of what is chosen, and the machine of each: that of the options, changed by what the experiment's file says
//! of it, unless the environment asks for something else: that goes over the file.
//!
//! Boots that differ in nothing but what the environment has asked for are one. Figures of a machine that is not the file's
//! are none of the experiment's own: they stand in a file beside it, and are held against no others.

use super::experiment::Chosen;
use crate::artefacts::root;
use crate::config::Options;
use crate::error::Error;

/// Words of a boot that are about the machine: keys of the options.
pub(super) const KEYS: [&str; 3] = ["cpu", "smp", "mem"];

/// One boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// The machine; its boot arguments are complete.
    pub(super) options: Options,
    /// The choices, as the experiment's file has them.
    pub(super) choices: String,
    /// What the kernel is asked for.
    pub(super) asked: String,
}

/// The word about the machine that this is, key and value.
pub(super) fn about_machine(word: &str) -> Option<(&str, &str)> {
    word.split_once('=').filter(|(key, _)| KEYS.contains(key))
}

/// A boot of an experiment with these choices.
///
/// # Errors
/// [`Error::File`]: what the experiment's file says of the machine is not permitted.
pub(super) fn plan(options: &Options, one: &Chosen, choices: &str, asked: &str) -> Result<Planned, Error> {
    let file = || root().join(format!("experiments/{}.toml", one.name()));
    let in_file = |error: Error| Error::File(file(), std::io::Error::other(error.to_string()));
    let mut machine = options.clone();
    let mut words = Vec::new();
    for word in choices.split_whitespace() {
        match about_machine(word) {
            Some((key, _)) if options.is_asked_for(key) => {}
            Some((key, value)) => machine.set(key, value).map_err(in_file)?,
            None => words.push(word),
        }
    }
    // A choice that is given twice counts as the last: what the environment asks for goes over the experiment's.
    machine.append = format!("{} {} bench={asked}", words.join(" "), options.append);
    Ok(Planned { options: machine, choices: choices.to_owned(), asked: asked.to_owned() })
}

/// All boots of what is chosen, each once.
///
/// # Errors
/// As for [`plan`].
pub(super) fn plan_all(options: &Options, chosen: &Chosen) -> Result<Vec<Planned>, Error> {
    let mut all: Vec<Planned> = Vec::new();
    for (choices, asked) in chosen.boots() {
        let one = plan(options, chosen, &choices, &asked)?;
        if all.iter().all(|known| known.options != one.options) {
            all.push(one);
        }
    }
    Ok(all)
}

/// What the environment asks for that is not what the experiment's file says of its machine, in words.
#[must_use]
pub fn overridden(options: &Options, chosen: &Chosen) -> Option<String> {
    let boots = chosen.boots().into_iter().map(|(choices, _)| choices);
    let all: Vec<_> = boots.chain(chosen.experiment.against().map(str::to_owned)).collect();
    let words = all.iter().flat_map(|choices| choices.split_whitespace());
    let other = words.filter_map(about_machine).find_map(|(key, value)| {
        let ours = options.get(key).filter(|ours| options.is_asked_for(key) && ours != value)?;
        Some(format!("{}={ours} goes over {key}={value}", key.to_uppercase()))
    })?;
    Some(format!("{other} of experiments/{}.toml", chosen.name()))
}

#[cfg(test)]
mod tests {
    use super::super::experiment::{all, choose};
    use super::*;

    fn asked(variables: &[(&str, &str)]) -> Options {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Options::for_bench_with(variable).unwrap()
    }

    fn chosen(words: &str) -> Chosen {
        choose(words, &all().unwrap()).unwrap().remove(0)
    }

    /// Words about the machine change it and are not the kernel's; what the environment says of boot choices comes last.
    #[test]
    fn words_about_the_machine() {
        let options = asked(&[("APPEND", "hvo=pause")]);
        let Planned { options, choices, .. } =
            plan(&options, &chosen("hvo"), "mem=12G hugepages=0 cpu=max smp=4 hvo=alias", "hvo").unwrap();
        assert_eq!((options.mem.as_str(), options.cpu.as_str(), options.smp), ("12G", "max", 4));
        assert_eq!(options.append, "hugepages=0 hvo=alias hvo=pause bench=hvo");
        assert!(choices.starts_with("mem=12G"));
    }

    /// A machine that cannot be is an error of the experiment's file, not another machine.
    #[test]
    fn values_that_are_none() {
        for word in ["smp=two", "smp=0", "smp=9", "smp=", "mem=12", "mem=much"] {
            let refused = plan(&asked(&[]), &chosen("hvo"), word, "hvo").unwrap_err().to_string();
            let (key, value) = word.split_once('=').unwrap();
            let sentence = format!("experiments/hvo.toml: {}={value}: permitted is", key.to_uppercase());
            assert!(refused.contains(&sentence), "{refused}");
        }
    }

    /// What the environment asks for goes over the file, boots that are the same then are one, and it is said; what is
    /// asked for as the file has it changes nothing.
    #[test]
    fn the_environment_wins() {
        let hvo = chosen("hvo");
        let whole = plan_all(&asked(&[]), &hvo).unwrap();
        assert_eq!((whole.len(), overridden(&asked(&[]), &hvo)), (29, None));
        let options = asked(&[("SMP", "2"), ("MEM", "1G")]);
        let ours = plan_all(&options, &hvo).unwrap();
        assert!(ours.iter().all(|one| (one.options.smp, one.options.mem.as_str()) == (2, "1G")));
        assert!(ours.iter().any(|one| one.options.cpu == "max") && ours.len() < whole.len());
        let mut arguments: Vec<_> = ours.iter().map(|one| (&one.options.cpu, &one.options.append)).collect();
        arguments.dedup();
        assert_eq!(arguments.len(), ours.len(), "each boot once");
        assert_eq!(overridden(&options, &hvo).unwrap(), "MEM=1G goes over mem=12G of experiments/hvo.toml");
        let pools = chosen("hvopools");
        assert_eq!(overridden(&asked(&[("MEM", "16G"), ("SMP", "2")]), &pools), None);
        assert_eq!(overridden(&asked(&[("MEM", "16G")]), &chosen("kernel")), None);
        let a_cpu = asked(&[("CPU", "cortex-a72")]);
        let sentence = "CPU=cortex-a72 goes over cpu=max of experiments/hvopools.toml";
        assert_eq!(overridden(&a_cpu, &pools).unwrap(), sentence);
    }
}
