//! apt with settings and package lists of its own: for arm64, below one folder, without root.
//!
//! It reads the system's settings first, so that a proxy and its like hold here too, and then its own, which turn away
//! from everything that the system's package management has: its sources, lists, cache, architectures and what it runs
//! after an update. Signatures are checked, whatever the system's settings are.
#![forbid(unsafe_code)]

use super::apt::{self, Candidate, Package};
use super::unpack::sha256_of;
use crate::child::{Child, Group};
use crate::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Most packages in a row, of which each needs the next, until the one with the kernel.
const DEEPEST: usize = 4;

/// The package lists of an architecture, and a place for packages.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    /// What was wrong when the lists were read last.
    pub complaints: Vec<String>,
}

/// What `apt-cache show` complains of where a package is in no list, which is an answer.
const NO_PACKAGE: &str = "No packages found";

impl Archive {
    /// Makes the settings below `folder`, for the lines `sources`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(folder: &Path, sources: &str) -> Result<Archive, Error> {
        for part in ["lists/partial", "archives/partial", "packages"] {
            let part = folder.join(part);
            std::fs::create_dir_all(&part).map_err(Error::file(&part))?;
        }
        let folder = folder.canonicalize().map_err(Error::file(folder))?;
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(Error::file(&path))
        };
        write("apt.conf", &settings(&folder))?;
        write("sources.list", sources)?;
        write("status", "")?;
        Ok(Archive { folder, complaints: Vec::new() })
    }

    /// Fetches what is new in the package lists. Where that fails the lists of the last time stay; what was wrong is
    /// in [`Archive::complaints`].
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::File`], [`Error::Linux`] where it was given up.
    pub fn update(&mut self, give_up: impl FnMut() -> bool) -> Result<(), Error> {
        let (done, output) = self.run(&["update"], give_up)?;
        self.complaints = if done { Vec::new() } else { apt::complaints(&output) };
        Ok(())
    }

    /// The versions of `package` in the lists, the newest first.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn versions(&self, package: &str) -> Result<Vec<Candidate>, Error> {
        Ok(apt::candidates(&self.ask("apt-cache", &["madison", package])?))
    }

    /// What the lists say of one version of a package.
    ///
    /// # Errors
    /// [`Error::Linux`] where they do not have it.
    pub fn package(&self, name: &str, version: &str) -> Result<Package, Error> {
        let shown = self.ask("apt-cache", &["show", &format!("{name}={version}")])?;
        apt::package(&shown).ok_or_else(|| self.missing(&format!("{name} {version}")))
    }

    /// The package that the kernel is in: the package `name` leads to it, in one step or several.
    ///
    /// # Errors
    /// [`Error::Linux`] where one of them is not in the lists.
    pub fn kernel(&self, name: &str, version: &str) -> Result<Package, Error> {
        let mut package = self.package(name, version)?;
        for _ in 0..DEEPEST {
            let next = ["linux-binary-", "linux-image-"]
                .into_iter()
                .find_map(|start| package.twins.iter().find(|twin| twin.starts_with(start)));
            match next {
                Some(next) => package = self.package(next, version)?,
                None => break,
            }
        }
        Ok(package)
    }

    /// That a package is not there, and why that may be.
    #[must_use]
    pub fn missing(&self, package: &str) -> Error {
        Error::Linux(format!("the package {package} is not in the package lists{}", self.because()))
    }

    /// What was wrong when the lists were read, as the end of a sentence.
    #[must_use]
    pub fn because(&self) -> String {
        let lines: Vec<_> = self.complaints.iter().map(|line| format!("\n  {line}")).collect();
        if lines.is_empty() { String::new() } else { format!("; apt-get said:{}", lines.concat()) }
    }

    /// Whether the file of the package is there already, whole.
    #[must_use]
    pub fn has(&self, package: &Package) -> bool {
        sha256_of(&self.file_of(package)).is_some_and(|found| found == package.sha256)
    }

    /// The file of the package, downloaded if it is not there.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::File`]; [`Error::Linux`] where it cannot be had.
    pub fn fetch(&self, package: &Package, give_up: impl FnMut() -> bool) -> Result<PathBuf, Error> {
        let path = self.file_of(package);
        if self.has(package) {
            return Ok(path);
        }
        // One that is there is another one, or a part of it.
        let _ = std::fs::remove_file(&path);
        let (done, output) = self.run(&["download", &package.wanted()], give_up)?;
        if done && self.has(package) {
            return Ok(path);
        }
        let lines: Vec<_> = apt::complaints(&output).iter().map(|line| format!("\n  {line}")).collect();
        let why = if lines.is_empty() {
            "\n  its bytes are not those of the package list".into()
        } else {
            lines.concat()
        };
        Err(Error::Linux(format!(
            "the package {} cannot be downloaded; apt-get said:{why}",
            package.wanted()
        )))
    }

    fn file_of(&self, package: &Package) -> PathBuf {
        self.folder.join("packages").join(package.file_name())
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.join("apt.conf")).args(args);
        command.current_dir(self.folder.join("packages")).env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    fn ask(&self, program: &str, args: &[&str]) -> Result<String, Error> {
        let output = self.command(program, args).output();
        let output = output.map_err(|error| Error::Start(program.to_owned(), error))?;
        answer(program, &output)
    }

    /// Whether `apt-get` ended well, and what it wrote, which stays in `apt.log`.
    fn run(&self, args: &[&str], give_up: impl FnMut() -> bool) -> Result<(bool, String), Error> {
        let path = self.folder.join("apt.log");
        let log = std::fs::File::create(&path).map_err(Error::file(&path))?;
        let mut command = self.command("apt-get", args);
        command.stdout(log.try_clone()?).stderr(log);
        let status = Child::start(command, Group::Own)?.wait(give_up)?;
        let output = std::fs::read(&path).map_err(Error::file(&path))?;
        let output = String::from_utf8_lossy(&output).into_owned();
        let given_up = || Error::Linux("apt-get was ended by a signal".to_owned());
        status.map(|status| (status.success(), output)).ok_or_else(given_up)
    }
}

/// What a program has answered; that there is no such package is an empty answer.
fn answer(program: &str, output: &Output) -> Result<String, Error> {
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() || complaint.contains(NO_PACKAGE) {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Linux(format!("{program}: {}: {}", output.status, complaint.trim())))
}

fn settings(folder: &Path) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let [lists, archives, sources, status] = ["lists", "archives", "sources.list", "status"].map(at);
    format!(
        r#"#clear APT::Update;
#clear APT::Architectures;
#clear DPkg::Post-Invoke;
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Default-Release "";
APT::Get::AllowUnauthenticated "false";
APT::Get::List-Cleanup "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Dir::State "{folder}";
Dir::State::lists "{lists}";
Dir::State::status "{status}";
Dir::State::extended_states "{folder}/extended_states";
Dir::Cache "{folder}";
Dir::Cache::archives "{archives}";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "{sources}";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Log "{folder}";
"#,
        folder = folder.display()
    )
}

#[cfg(test)]
mod tests {
    use super::super::unpack;
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    /// A package that is in no list is an empty answer; an `apt-cache` that was ended, or that has failed, is an error.
    #[test]
    fn failures_are_no_answers() {
        let said = |status, stderr: &str| {
            let (stdout, stderr) = (b"Package: x\n".to_vec(), stderr.as_bytes().to_vec());
            let output = Output { status: ExitStatus::from_raw(status), stdout, stderr };
            answer("apt-cache", &output).map_err(|error| error.to_string())
        };
        assert_eq!(said(0, "").unwrap(), "Package: x\n");
        assert!(said(100 << 8, "E: No packages found\n").is_ok());
        assert!(said(15, "").unwrap_err().contains("signal: 15"));
        assert!(said(100 << 8, "E: Could not open lock file\n").unwrap_err().contains("lock file"));
    }
    use std::fmt::Write as _;

    /// A package: its name, its version, a line that says what it needs, its files.
    type Built<'b> = (&'b str, &'b str, &'b str, &'b [(&'b str, &'b str)]);

    /// A folder that is gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("quire-archive-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }

        /// An archive of the packages `(name, version, depends, files)`, signed by nobody.
        fn repository(&self, packages: &[Built<'_>]) -> PathBuf {
            let repository = self.0.join("repository");
            std::fs::create_dir_all(&repository).unwrap();
            let mut list = String::new();
            for (name, version, depends, files) in packages {
                let tree = self.0.join(format!("{name}-{version}"));
                let control = format!(
                    "Package: {name}\nVersion: {version}\nArchitecture: arm64\nMaintainer: x <x@example.org>\n\
                     Description: x\n{depends}"
                );
                write(&tree.join("DEBIAN/control"), &control);
                files.iter().for_each(|(path, text)| write(&tree.join(path), text));
                let deb = repository.join(format!("{name}_{version}_arm64.deb"));
                let built =
                    Command::new("dpkg-deb").args(["-b", "--root-owner-group"]).arg(&tree).arg(&deb).output();
                assert!(built.as_ref().unwrap().status.success(), "{built:?}");
                let size = std::fs::metadata(&deb).unwrap().len();
                let sum = sha256_of(&deb).unwrap();
                let file = deb.file_name().unwrap().to_str().unwrap();
                write!(list, "{control}Filename: ./{file}\nSize: {size}\nSHA256: {sum}\n\n").unwrap();
            }
            write(&repository.join("Packages"), &list);
            repository
        }

        fn archive(&self, options: &str, repository: &Path) -> Archive {
            let line =
                format!("deb [{options} arch=arm64 target=Packages] file:{} ./\n", repository.display());
            let mut archive = Archive::open(&self.0.join("apt"), &line).unwrap();
            archive.update(|| false).unwrap();
            archive
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    const KERNEL: &str = "usr/lib/modules/7.2.1/vmlinuz";

    /// From the package that leads to a kernel, by the one that leads on, to the one with the kernel in it, which is
    /// downloaded once, and once more where its file is not whole.
    #[test]
    fn a_kernel_is_found_and_fetched() {
        let folder = Folder::new("kernel");
        let repository = folder.repository(&[
            (
                "linux-image-arm64",
                "7.2.1-1",
                "Depends: linux-base, linux-image-7.2.1-arm64 (= 7.2.1-1)\n",
                &[],
            ),
            ("linux-image-7.2.1-arm64", "7.2.1-1", "Depends: linux-binary-7.2.1-arm64 (= 7.2.1-1)\n", &[]),
            ("linux-binary-7.2.1-arm64", "7.2.1-1", "", &[("usr/share/x", "no"), (KERNEL, "a kernel")]),
        ]);
        let archive = folder.archive("trusted=yes", &repository);
        assert_eq!(archive.versions("linux-image-arm64").unwrap().len(), 1, "{:?}", archive.complaints);
        let kernel = archive.kernel("linux-image-arm64", "7.2.1-1").unwrap();
        assert_eq!(kernel.name, "linux-binary-7.2.1-arm64");
        assert!(!archive.has(&kernel));
        let deb = archive.fetch(&kernel, || false).unwrap();
        assert!(archive.has(&kernel));
        assert_eq!(unpack::file(&deb, |path| path == KERNEL).unwrap().unwrap(), b"a kernel");
        assert_eq!(unpack::file(&deb, |path| path == "vmlinuz").unwrap(), None);

        std::fs::remove_file(&deb).unwrap();
        std::fs::write(&deb, "half of it").unwrap();
        assert!(!archive.has(&kernel));
        archive.fetch(&kernel, || false).unwrap();
        assert!(archive.has(&kernel));
    }

    /// A package that a list names and that is not there, or is not what the list says, is named in the error.
    #[test]
    fn a_package_that_cannot_be_had() {
        let folder = Folder::new("gone");
        let repository = folder.repository(&[("busybox-static", "1.35-1", "", &[("bin/busybox", "x")])]);
        let archive = folder.archive("trusted=yes", &repository);
        let package = archive.package("busybox-static", "1.35-1").unwrap();
        let deb = repository.join("busybox-static_1.35-1_arm64.deb");
        let mut bytes = std::fs::read(&deb).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        for present in [true, false] {
            std::fs::remove_file(&deb).unwrap();
            if present {
                std::fs::write(&deb, &bytes).unwrap();
            }
            let error = archive.fetch(&package, || false).unwrap_err().to_string();
            assert!(error.contains("busybox-static=1.35-1 cannot be downloaded"), "{error}");
            assert!(!archive.has(&package));
            std::fs::write(&deb, &bytes).unwrap();
        }
        let error = archive.kernel("linux-image-arm64", "1").unwrap_err().to_string();
        assert!(error.starts_with("the package linux-image-arm64 1 is not in the package lists"), "{error}");
    }

    /// Without a network, or with lists that nobody has signed, there is no package, and the error says both.
    #[test]
    fn no_lists() {
        let folder = Folder::new("unsigned");
        let repository = folder.repository(&[("busybox-static", "1.35-1", "", &[("bin/busybox", "x")])]);
        let archive = folder.archive("", &repository);
        assert!(archive.versions("busybox-static").unwrap().is_empty());
        let error = archive.missing("busybox-static").to_string();
        assert!(error.contains("apt-get said:") && error.contains("Release"), "{error}");

        let archive = folder.archive("", Path::new("/nonexistent/debian"));
        let error = archive.missing("linux-image-arm64").to_string();
        assert!(error.contains("linux-image-arm64") && error.contains("/nonexistent/debian"), "{error}");
    }

    /// Who gives up does not wait for apt.
    #[test]
    fn giving_up() {
        let folder = Folder::new("giving-up");
        let mut archive = Archive::open(&folder.0.join("apt"), "deb file:/nonexistent/x ./\n").unwrap();
        let error = archive.update(|| true).unwrap_err().to_string();
        assert!(error.contains("ended by a signal"), "{error}");
    }
}
