//! What apt's programs print → packages and versions.
#![forbid(unsafe_code)]

/// A version of a package that a package list has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// As Debian writes it: `6.12.95-1~bpo12+1`.
    pub version: String,
    /// The suite whose list has it: `stable-security`.
    pub suite: String,
}

impl Candidate {
    /// The version of the program itself, without Debian's revision: `6.12.95`.
    #[must_use]
    pub fn upstream(&self) -> &str {
        let without_epoch = self.version.split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        without_epoch.rsplit_once('-').map_or(without_epoch, |(upstream, _)| upstream)
    }

    /// A kernel that is not released yet.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.upstream().contains("~rc")
    }
}

/// What a package list says of one version of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The machine that it is for, or `all`.
    pub architecture: String,
    /// Bytes of the `.deb`.
    pub size: u64,
    /// Of the `.deb`, in hexadecimal.
    pub sha256: String,
    /// The packages of which it needs exactly its own version.
    pub twins: Vec<String>,
}

impl Package {
    /// As apt takes it.
    #[must_use]
    pub fn wanted(&self) -> String {
        format!("{}={}", self.name, self.version)
    }

    /// What apt calls the file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }
}

/// Reads `apt-cache madison PACKAGE`: the newest first, a line for each list that has it.
#[must_use]
pub fn candidates(madison: &str) -> Vec<Candidate> {
    madison
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('|').map(str::trim);
            let (_, version, source) = (columns.next()?, columns.next()?, columns.next()?);
            // `URI SUITE/COMPONENT ARCHITECTURE Packages`, or `URI ./ Packages`.
            let place = source.split_whitespace().nth(1)?;
            let suite = place.rsplit_once('/').map_or(place, |(suite, _)| suite);
            let found =
                Candidate { version: version.to_owned(), suite: suite.trim_end_matches('/').to_owned() };
            source.ends_with(" Packages").then_some(found)
        })
        .collect()
}

/// Reads `apt-cache show PACKAGE=VERSION`: its first paragraph. `None` where there is none, or it lacks a field.
#[must_use]
pub fn package(shown: &str) -> Option<Package> {
    let first = shown.trim_start().split("\n\n").next()?;
    let field =
        |name: &str| first.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let version = field("Version")?;
    let exactly = format!("(= {version})");
    let needs = field("Depends").unwrap_or_default().split(',').map(str::trim);
    let twins = needs.filter_map(|need| need.strip_suffix(&exactly)).map(|name| name.trim().to_owned());
    Some(Package {
        name: field("Package")?.to_owned(),
        version: version.to_owned(),
        architecture: field("Architecture")?.to_owned(),
        size: field("Size")?.parse().ok()?,
        sha256: field("SHA256")?.to_owned(),
        twins: twins.collect(),
    })
}

/// The lines in which apt says what is wrong.
#[must_use]
pub fn complaints(output: &str) -> Vec<String> {
    let is_complaint = |line: &&str| ["E: ", "W: ", "Err:"].iter().any(|start| line.starts_with(start));
    let mut found: Vec<String> = Vec::new();
    let mut lines = output.lines().map(str::trim_end).peekable();
    while let Some(line) = lines.next() {
        if !is_complaint(&line) {
            continue;
        }
        // What an `Err:` is about stands in the line below it.
        let more = lines.next_if(|next| line.starts_with("Err:") && next.starts_with("  "));
        let whole = more.map_or(line.to_owned(), |more| format!("{line}: {}", more.trim()));
        if !found.contains(&whole) {
            found.push(whole);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADISON: &str =
        " linux-image-arm64 | 7.3.4-1~bpo13+1 | http://a.example/debian stable-backports/main arm64 Packages
 linux-image-arm64 |   7.2.13-1 | http://a.example/debian unstable/main arm64 Packages
 linux-image-arm64 |   7.2.13-1 | http://a.example/debian unstable/main Sources
 linux-image-arm64 | 7.3~rc7-1~exp1 | file:/tmp/x ./ Packages
";

    /// A line of a package list is a candidate, with its suite; other lines are not.
    #[test]
    fn versions_and_their_suites() {
        let found = candidates(MADISON);
        let seen: Vec<_> = found
            .iter()
            .map(|found| (found.version.as_str(), found.upstream(), found.suite.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("7.3.4-1~bpo13+1", "7.3.4", "stable-backports"),
                ("7.2.13-1", "7.2.13", "unstable"),
                ("7.3~rc7-1~exp1", "7.3~rc7", "."),
            ]
        );
        assert_eq!(found.iter().map(Candidate::is_trial).collect::<Vec<_>>(), [false, false, true]);
        assert!(candidates("N: Unable to locate package x\n").is_empty());
        let epoch = Candidate { version: "1:1.38.0-3+b1".into(), suite: "x".into() };
        assert_eq!(epoch.upstream(), "1.38.0");
    }

    const SHOWN: &str = "Package: linux-image-7.2.12+deb14-arm64
Source: linux-signed-arm64 (7.2.12+1)
Version: 7.2.12-1
Architecture: arm64
Depends: dracut | initramfs-tools (>= 0.120+deb8u2), linux-base-7.2.12+deb14-arm64 (= 7.2.12-1), \
linux-binary-7.2.12+deb14-arm64 (= 7.2.12-1), other (= 7.2.12-2)
Size: 1884
SHA256: da6453

Package: linux-image-7.2.12+deb14-arm64
Version: 0
";

    /// Of a package count its first paragraph and what it needs in its own version; one without a size is none.
    #[test]
    fn a_paragraph() {
        let package = package(SHOWN).unwrap();
        assert_eq!((package.name.as_str(), package.size), ("linux-image-7.2.12+deb14-arm64", 1884));
        assert_eq!((package.version.as_str(), package.sha256.as_str()), ("7.2.12-1", "da6453"));
        assert_eq!(package.twins, ["linux-base-7.2.12+deb14-arm64", "linux-binary-7.2.12+deb14-arm64"]);
        assert_eq!(package.wanted(), "linux-image-7.2.12+deb14-arm64=7.2.12-1");
        let busybox = Package { name: "busybox-static".into(), version: "1:1.38.0-3+b1".into(), ..package };
        assert_eq!(busybox.file_name(), "busybox-static_1%3a1.38.0-3+b1_arm64.deb");
        assert_eq!(super::package("Package: x\nVersion: 1\n"), None);
        assert_eq!(super::package(""), None);
    }

    /// What is wrong is kept once each, an `Err:` with its reason; progress is not.
    #[test]
    fn what_apt_complains_of() {
        let output = "Get:1 x\nErr:2 http://a stable Release\n  404  Not Found\nReading package lists...\n\
            E: no Release file.\nE: no Release file.\nN: Updating\n";
        assert_eq!(
            complaints(output),
            ["Err:2 http://a stable Release: 404  Not Found", "E: no Release file."]
        );
    }
}
