//! The commits that figures are of. A file of figures is a JSON list, an object a line; its first one names them:
//!
//! ```text
//! [
//! {"commits":["4df79fa of 2026-11-22"]},
//! {"name":"alloc_free_4k","unit":"ns","value":392,"mean":392},
//! ```
//! There are several where figures of parts were measured at several times. Figures of a tree with changes that nobody has
//! committed say so. Where git knows nothing of the tree no commit is named.

use crate::artefacts::root;
use serde::{Deserialize, Serialize};
use std::process::Command;

/// What may differ from the commit and not be said: nothing that is measured is made of it.
const BESIDE: [&str; 4] = [":!docs", ":!tests/figures", ":!report", ":!README.md"];

/// The first object of a list of figures.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Head {
    commits: Vec<String>,
}

/// The commit that the tree is of, and its day; one at most.
#[must_use]
pub fn of_the_tree() -> Vec<String> {
    let Some(commit) = git(&["log", "-1", "--format=%h of %cs"]) else { return Vec::new() };
    let status = ["status", "--porcelain", "--untracked-files=no", "--", "."];
    let changed = git(&[&status[..], &BESIDE].concat()).is_some();
    vec![if changed { format!("{commit}, and changes") } else { commit }]
}

/// What git says of this tree, where that is something.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root()).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// A list of figures of these commits, of which each is an object in a line of its own.
///
/// # Panics
/// Never: strings can be written.
pub fn list<S: AsRef<str>>(commits: &[String], figures: impl Iterator<Item = S>) -> String {
    let head = serde_json::to_string(&Head { commits: commits.to_vec() }).expect("strings can be written");
    figures.fold(format!("[\n{head}"), |list, figure| list + ",\n" + figure.as_ref()) + "\n]\n"
}

/// The commits that this object of a list names; `None`: it is something else.
#[must_use]
pub fn named(object: &serde_json::Value) -> Option<Vec<String>> {
    Head::deserialize(object).ok().map(|head| head.commits)
}

/// The commits of both, each once.
#[must_use]
pub fn union(ours: &[String], others: &[String]) -> Vec<String> {
    let more = others.iter().filter(|other| !ours.contains(other));
    ours.iter().chain(more).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list begins with its commits, which are read back; a figure is none.
    #[test]
    fn lists_name_their_commits() {
        let commits = ["a of x", "b of y, and changes"].map(str::to_owned);
        let text = list(&commits, ["{\"name\":\"n\",\"value\":1}"].into_iter());
        let objects: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(named(&objects[0]).unwrap(), commits);
        assert!(named(&objects[1]).is_none() && objects.len() == 2);
        assert_eq!(list(&[], std::iter::empty::<&str>()), "[\n{\"commits\":[]}\n]\n");
        assert_eq!(union(&commits[..1], &commits), commits);
    }

    /// The commit of this tree is one that git knows, with a day, and no path of the computer is in it.
    #[test]
    fn the_commit_of_the_tree() {
        let known = git(&["rev-parse", "--short", "HEAD"]);
        let named = of_the_tree();
        assert_eq!(named.len(), usize::from(known.is_some()));
        for (commit, known) in named.iter().zip(known) {
            assert!(commit.starts_with(&format!("{known} of 20")) && !commit.contains('/'), "{commit}");
        }
    }
}
