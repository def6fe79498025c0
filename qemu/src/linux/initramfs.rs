//! The first process, busybox and the programs → a cpio archive in the format `newc`, which Linux unpacks at boot.
#![forbid(unsafe_code)]

use crate::error::Error;
use cpio::newc::{self, Builder, ModeFileType};
use std::io::Write;
use std::path::Path;

/// Where file systems are mounted, and where files are.
const FOLDERS: [&str; 6] = ["bin", "dev", "etc", "proc", "sys", "tmp"];

/// Who there is: programs that shall be refused something are not root's.
const USERS: &str = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";

/// An archive with the script `init`, `busybox` and all programs of the folder `programs` below `bin`. Owners and times
/// are zero, so that equal files give equal bytes.
///
/// # Errors
/// [`Error::File`].
pub fn pack(init: &str, busybox: &[u8], programs: &Path) -> Result<Vec<u8>, Error> {
    let mut archive = Archive { bytes: Vec::new(), inode: 0 };
    for folder in FOLDERS {
        archive.add(folder, ModeFileType::Directory, &[])?;
    }
    // Linux opens it for the first process, before anything is mounted: major 5, minor 1.
    archive.add("dev/console", ModeFileType::Char, &[])?;
    archive.add("etc/passwd", ModeFileType::Regular, USERS.as_bytes())?;
    archive.add("init", ModeFileType::Regular, init.as_bytes())?;
    archive.add("bin/busybox", ModeFileType::Regular, busybox)?;
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(programs).map_err(Error::file(programs))? {
        paths.push(entry.map_err(Error::file(programs))?.path());
    }
    paths.sort();
    for path in paths.iter().filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = std::fs::read(path).map_err(Error::file(path))?;
        archive.add(&format!("bin/{name}"), ModeFileType::Regular, &bytes)?;
    }
    Ok(newc::trailer(archive.bytes)?)
}

struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn add(&mut self, name: &str, kind: ModeFileType, bytes: &[u8]) -> std::io::Result<()> {
        self.inode += 1;
        let mut entry = Builder::new(name).ino(self.inode).mode(0o755).nlink(1);
        if matches!(kind, ModeFileType::Char) {
            entry = entry.rdev_major(5).rdev_minor(1);
        }
        let size = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
        let mut writer = entry.set_mode_file_type(kind).write(std::mem::take(&mut self.bytes), size);
        writer.write_all(bytes)?;
        self.bytes = writer.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn entries(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let (mut entries, mut rest) = (Vec::new(), archive);
        loop {
            let mut reader = newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return entries;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            if name == "dev/console" {
                assert_eq!((reader.entry().rdev_major(), reader.entry().rdev_minor()), (5, 1));
            }
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            entries.push((name, mode, bytes));
            rest = reader.finish().unwrap();
        }
    }

    /// Folders come before what is in them; the script and the programs can be run and have their bytes; the same
    /// files give the same archive.
    #[test]
    fn what_is_in_it() {
        let folder = std::env::temp_dir().join(format!("quire-initramfs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("zeta"), vec![7; 5]).unwrap();
        std::fs::write(folder.join("alpha"), "program").unwrap();
        let packed = pack("#!/bin/busybox sh\n", b"busy", &folder).unwrap();
        let again = pack("#!/bin/busybox sh\n", b"busy", &folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(packed, again);
        assert_eq!(&packed[..6], b"070701");
        let found = entries(&packed);
        let names: Vec<_> = found.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names[..6], FOLDERS);
        assert_eq!(names[6..], ["dev/console", "etc/passwd", "init", "bin/busybox", "bin/alpha", "bin/zeta"]);
        assert_eq!((found[0].1, found[6].1, found[8].1), (0o40755, 0o20755, 0o100_755));
        assert_eq!(
            (found[8].2.as_slice(), found[11].2.as_slice()),
            (&b"#!/bin/busybox sh\n"[..], &[7; 5][..])
        );
    }

    /// Without programs there is nothing to compare.
    #[test]
    fn no_programs() {
        assert!(pack("", b"", Path::new("/nonexistent/programs")).is_err());
    }
}
