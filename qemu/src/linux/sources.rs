//! The package lists that are read: suites of Debian, from the mirror that this system's apt uses.
//!
//! The lines are apt's one-line format. `LINUX_SOURCES=` names a file of such lines to use instead, for example of an
//! archive of old packages; `DEBIAN_MIRROR=` names a mirror where this system has none.
#![forbid(unsafe_code)]

use super::choice::Wish;
use std::process::Command;

/// Where the keys of Debian's archive are, by the package that brings them.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Suites that are searched where no other is named.
const SUITES: [&str; 4] = ["bookworm", "trixie", "testing", "sid"];
/// Those of them that are released: they have updates, and newer kernels built for them.
const RELEASED: [&str; 2] = ["bookworm", "trixie"];
/// Suites that are no releases and never will be: they have neither.
const UNRELEASED: [&str; 5] = ["testing", "unstable", "sid", "experimental", "rc-buggy"];

/// Where packages are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Of the suites.
    pub main: String,
    /// Of those whose names end in `-security`.
    pub security: String,
}

impl Mirror {
    /// A mirror by its URI, `.../debian`; beside it stands `.../debian-security`.
    #[must_use]
    pub fn at(uri: &str) -> Mirror {
        let main = uri.trim_end_matches('/').to_owned();
        let security = format!("{main}-security");
        Mirror { main, security }
    }

    /// Reads lines `URI SUITE COMPONENT`, as apt says them of the lists that this system uses.
    fn read(targets: &str) -> Option<Mirror> {
        let named = |end: &str| {
            let uris = targets.lines().filter_map(|line| line.split_whitespace().next());
            uris.map(|uri| uri.trim_end_matches('/')).find(|uri| uri.ends_with(end)).map(str::to_owned)
        };
        let mut mirror = Mirror::at(&named("/debian")?);
        if let Some(security) = named("/debian-security") {
            mirror.security = security;
        }
        Some(mirror)
    }

    /// The mirror of Debian that this system's apt uses.
    ///
    /// # Errors
    /// A sentence, where it uses none.
    pub fn of_this_system() -> Result<Mirror, String> {
        // Without it only those are said whose lists are there already.
        let all = "--no-release-info";
        let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
        let arguments = ["indextargets", all, "--format", format, "Identifier: Packages"];
        let targets = Command::new("apt-get").args(arguments).output();
        let targets = targets.map_err(|error| format!("apt-get cannot be started: {error}"))?;
        Mirror::read(&String::from_utf8_lossy(&targets.stdout)).ok_or_else(|| {
            "this system's apt uses no mirror of Debian: name one by DEBIAN_MIRROR=URI, which ends in /debian".into()
        })
    }
}

/// The lines for a wish: for a suite it and what belongs to it, else all suites.
#[must_use]
pub fn lines(wish: &Wish, mirror: &Mirror) -> String {
    let suites: Vec<String> = match wish {
        Wish::Suite(suite) => family(suite),
        Wish::Newest | Wish::Version(_) | Wish::List => SUITES
            .iter()
            .flat_map(|suite| family(suite))
            .chain(RELEASED.map(|suite| format!("{suite}-backports")))
            .collect(),
    };
    let line = |suite: &String| {
        let uri = if suite.ends_with("-security") { &mirror.security } else { &mirror.main };
        format!("deb [arch=arm64 target=Packages signed-by={KEYRING}] {uri} {suite} main\n")
    };
    suites.iter().map(line).collect()
}

/// The suite, and the release that it belongs to, where busybox is.
fn family(suite: &str) -> Vec<String> {
    let release = suite.split('-').next().unwrap_or(suite);
    if UNRELEASED.contains(&suite) {
        let busybox = (!["testing", "unstable", "sid"].contains(&suite)).then_some("sid");
        return [suite].into_iter().chain(busybox).map(str::to_owned).collect();
    }
    let mut family = vec![release.to_owned(), format!("{release}-security")];
    if !family.iter().any(|known| known == suite) {
        family.push(suite.to_owned());
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites(wish: &Wish) -> Vec<String> {
        let lines = lines(wish, &Mirror::at("http://a.example/debian/"));
        lines.lines().map(|line| line.split_whitespace().rev().nth(1).unwrap().to_owned()).collect()
    }

    /// A suite brings its release along, where its busybox is, and that its updates; no suite is named twice.
    #[test]
    fn suites_of_a_wish() {
        let of = |suite: &str| suites(&Wish::Suite(suite.into()));
        assert_eq!(of("bookworm"), ["bookworm", "bookworm-security"]);
        assert_eq!(of("bookworm-security"), ["bookworm", "bookworm-security"]);
        assert_eq!(of("stable-backports"), ["stable", "stable-security", "stable-backports"]);
        assert_eq!((of("sid"), of("testing")), (vec!["sid".to_owned()], vec!["testing".to_owned()]));
        assert_eq!(of("experimental"), ["experimental", "sid"]);
        let all = suites(&Wish::Newest);
        assert_eq!(all.len(), 8);
        assert!(all.contains(&"trixie-backports".to_owned()) && !all.contains(&"experimental".to_owned()));
    }

    /// Each line names the architecture and the keys; updates of security are beside the mirror.
    #[test]
    fn lines_of_a_suite() {
        let lines = lines(&Wish::Suite("stable".into()), &Mirror::at("http://a.example/debian"));
        let options = format!("deb [arch=arm64 target=Packages signed-by={KEYRING}] http://a.example/debian");
        assert_eq!(lines, format!("{options} stable main\n{options}-security stable-security main\n"));
    }

    /// The mirror is the first of Debian among all that apt uses, and that of security is its own.
    #[test]
    fn the_mirror_of_this_system() {
        let targets = "https://x.example/tools/ bookworm main\nhttp://m.example/debian/ bookworm main\n\
            http://s.example/debian-security/ bookworm-security main\n";
        let mirror = Mirror::read(targets).unwrap();
        assert_eq!(
            mirror,
            Mirror {
                main: "http://m.example/debian".into(),
                security: "http://s.example/debian-security".into()
            }
        );
        let lone = Mirror::read("http://m.example/debian/ sid main\n").unwrap();
        assert_eq!(lone.security, "http://m.example/debian-security");
        assert_eq!(Mirror::read("http://u.example/ubuntu/ noble main\n"), None);
    }
}
