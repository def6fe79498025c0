//! A package → one file of it.
#![forbid(unsafe_code)]

use crate::error::Error;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// The first file of the package `deb` whose path, without `./` before it, `wanted` takes.
///
/// # Errors
/// [`Error::Start`]; [`Error::File`], [`Error::Linux`] where the package cannot be read.
pub fn file(deb: &Path, wanted: impl Fn(&str) -> bool) -> Result<Option<Vec<u8>>, Error> {
    let mut command = Command::new("dpkg-deb");
    command.arg("--fsys-tarfile").arg(deb).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| Error::Start("dpkg-deb".to_owned(), error))?;
    let found = child.stdout.take().map_or(Ok(None), |tar| find(tar, wanted)).map_err(Error::file(deb));
    if !matches!(found, Ok(None)) {
        // It has more to say than anybody wants to hear.
        let _ = child.kill();
    }
    let status = child.wait()?;
    match found {
        Ok(None) if !status.success() => {
            Err(Error::Linux(format!("{}: dpkg-deb finds no package in it", deb.display())))
        }
        found => found,
    }
}

fn find(tar: impl Read, wanted: impl Fn(&str) -> bool) -> std::io::Result<Option<Vec<u8>>> {
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        if entry.header().entry_type().is_file() && wanted(path.trim_start_matches("./")) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Whether a path of a package is the kernel's. Since 7.0 it stands among the modules.
#[must_use]
pub fn is_kernel(path: &str) -> bool {
    path.starts_with("boot/vmlinuz-") || (path.contains("lib/modules/") && path.ends_with("/vmlinuz"))
}

/// Whether bytes are a kernel that QEMU loads: the header of the arm64 boot protocol, nothing compressed.
#[must_use]
pub fn is_image(bytes: &[u8]) -> bool {
    bytes.get(56..60) == Some(b"ARM\x64")
}

/// The SHA-256 of a file in hexadecimal; `None` where it cannot be read.
#[must_use]
pub fn sha256_of(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both places where Debian has put the kernel, and nothing beside them.
    #[test]
    fn where_the_kernel_is() {
        assert!(is_kernel("boot/vmlinuz-6.1.0-56-arm64"));
        assert!(is_kernel("usr/lib/modules/7.2.12+deb14-arm64/vmlinuz"));
        assert!(!is_kernel("boot/System.map-6.1.0-56-arm64") && !is_kernel("boot/config-6.1.0-56-arm64"));
        assert!(!is_kernel("lib/modules/6.1.0/kernel/drivers/vmlinuz.ko"));
    }

    /// A kernel begins with its header; what is compressed does not.
    #[test]
    fn what_a_kernel_is() {
        let mut image = vec![0; 64];
        assert!(!is_image(&image) && !is_image(b"MZ"));
        image[56..60].copy_from_slice(b"ARM\x64");
        assert!(is_image(&image));
    }

    /// The digest is the known one of three letters; what is no package is an error that names the file.
    #[test]
    fn digests_and_what_is_no_package() {
        let path = std::env::temp_dir().join(format!("quire-unpack-{}", std::process::id()));
        std::fs::write(&path, "abc").unwrap();
        let digest = sha256_of(&path);
        let found = file(&path, |_| true);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(digest.unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(sha256_of(&path), None);
        assert!(found.unwrap_err().to_string().contains("quire-unpack-"));
    }
}
