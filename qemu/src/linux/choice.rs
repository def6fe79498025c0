//! `LINUX=`: which of the kernels that there are.
//!
//! | value | which |
//! |---|---|
//! | empty, `newest` | the newest that is released |
//! | `6.1`, `7.2.12`, `7.2.12-1` | the newest of that version |
//! | `stable`, `bookworm-backports` | the newest of that suite; of a release, its security updates count |
//! | `list` | none: those that there are, are printed |
#![forbid(unsafe_code)]

use super::apt::Candidate;

/// What is wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The newest that is released.
    Newest,
    /// The newest of a version, whole or its beginning.
    Version(String),
    /// The newest of a suite.
    Suite(String),
    /// To see what there is.
    List,
}

impl Wish {
    /// What the value of `LINUX=` means.
    ///
    /// # Errors
    /// A sentence, where it can be neither a version nor a suite.
    pub fn read(value: &str) -> Result<Wish, String> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-.+~".contains(c);
        match value.trim() {
            "" | "newest" => Ok(Wish::Newest),
            "list" => Ok(Wish::List),
            word if !word.chars().all(is_word) => {
                Err(format!("LINUX={word}: permitted is a version (7.2), a suite (stable), newest or list"))
            }
            word if word.starts_with(|c: char| c.is_ascii_digit()) => Ok(Wish::Version(word.to_owned())),
            word => Ok(Wish::Suite(word.to_owned())),
        }
    }

    fn takes(&self, candidate: &Candidate) -> bool {
        match self {
            Wish::Newest | Wish::List => !candidate.is_trial(),
            Wish::Version(version) => {
                let begins = candidate.upstream().strip_prefix(version.as_str());
                candidate.version == *version
                    || begins.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
            Wish::Suite(suite) => {
                let updates = candidate.suite.strip_prefix(suite.as_str());
                updates.is_some_and(|rest| ["", "-security", "-updates"].contains(&rest))
            }
        }
    }
}

/// The first of `kernels`, which stand newest first, that the wish is for.
///
/// # Errors
/// A sentence that names what was wished for and what there is.
pub fn choose<'k>(kernels: &'k [Candidate], wish: &Wish) -> Result<&'k Candidate, String> {
    kernels.iter().find(|candidate| wish.takes(candidate)).ok_or_else(|| {
        let wished = match wish {
            Wish::Newest | Wish::List => "kernel that is released".to_owned(),
            Wish::Version(version) => format!("Linux {version}"),
            Wish::Suite(suite) => format!("kernel of the suite `{suite}`"),
        };
        let there: Vec<_> = kernels.iter().map(said).collect();
        let there = if there.is_empty() { "none at all".to_owned() } else { there.join(", ") };
        format!("the package linux-image-arm64: there is no {wished} in the package lists; there is {there}")
    })
}

/// A kernel in a few words.
#[must_use]
pub fn said(candidate: &Candidate) -> String {
    format!("{} ({})", candidate.version, candidate.suite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels() -> Vec<Candidate> {
        [
            ("7.3.4-1~bpo13+1", "stable-backports"),
            ("7.3~rc7-1~exp1", "experimental"),
            ("7.2.13-1", "unstable"),
            ("7.2.12-1", "testing"),
            ("6.12.117-1", "stable-security"),
            ("6.12.107-1", "stable"),
            ("6.1.192-2", "oldstable-security"),
        ]
        .map(|(version, suite)| Candidate { version: version.into(), suite: suite.into() })
        .into()
    }

    fn chosen(value: &str) -> Result<String, String> {
        choose(&kernels(), &Wish::read(value)?).map(|candidate| candidate.version.clone())
    }

    /// Each way of saying it; a version matches at its dots, a release has its updates.
    #[test]
    fn ways_to_say_it() {
        for (value, version) in [
            ("", "7.3.4-1~bpo13+1"),
            ("newest", "7.3.4-1~bpo13+1"),
            ("7.2", "7.2.13-1"),
            ("7.2.12", "7.2.12-1"),
            ("7.2.12-1", "7.2.12-1"),
            ("6.1", "6.1.192-2"),
            ("stable", "6.12.117-1"),
            ("stable-backports", "7.3.4-1~bpo13+1"),
            ("testing", "7.2.12-1"),
            ("experimental", "7.3~rc7-1~exp1"),
        ] {
            assert_eq!(chosen(value).unwrap(), version, "{value}");
        }
    }

    /// What is not released is not the newest, if it is the only one or the first.
    #[test]
    fn trials_are_not_the_newest() {
        let trial = &kernels()[1..];
        assert_eq!(choose(trial, &Wish::Newest).unwrap().version, "7.2.13-1");
        assert!(choose(&trial[..1], &Wish::Newest).unwrap_err().contains("released"));
    }

    /// What there is not is named, with what there is; `6.1` is not the beginning of `6.12`; a typing error is refused.
    #[test]
    fn what_there_is_not() {
        let sentence = chosen("5.10").unwrap_err();
        assert!(sentence.contains("linux-image-arm64") && sentence.contains("Linux 5.10"), "{sentence}");
        assert!(sentence.contains("6.1.192-2 (oldstable-security)"), "{sentence}");
        assert!(chosen("7").is_ok() && chosen("6.11").is_err() && chosen("7.2.1").is_err());
        assert!(chosen("bullseye").unwrap_err().contains("`bullseye`"));
        assert!(chosen("7.2; rm").unwrap_err().contains("permitted is"));
        assert!(choose(&[], &Wish::Newest).unwrap_err().contains("none at all"));
    }
}
