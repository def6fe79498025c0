//! Where the build leaves things, and what one boot is made of.

use crate::error::Error;
use crate::{image, initrd};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The top of the source tree that this program was built from.
#[must_use]
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let qemu = Path::new(env!("CARGO_MANIFEST_DIR"));
        qemu.parent().unwrap_or(qemu).to_path_buf()
    });
    &ROOT
}

/// The kernel's ELF file in a profile: `release`, or `checked` with debug assertions.
#[must_use]
pub fn kernel(profile: &str) -> PathBuf {
    root().join("target/aarch64-unknown-none-softfloat").join(profile).join("kernel")
}

/// The three files of one boot. The ELF file and the flat image come from the same link.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The kernel as gdb and [`crate::symbols`] read it.
    pub elf: PathBuf,
    /// The kernel as QEMU loads it.
    pub image: PathBuf,
    /// The user programs.
    pub initrd: PathBuf,
}

impl Boot {
    /// Writes the flat image beside `elf`, and the user programs of `target/programs` into an initrd.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Kernel`] if `elf` is no arm64 kernel.
    pub fn prepare(elf: &Path) -> Result<Boot, Error> {
        let image = elf.with_file_name("Image");
        let initrd = root().join("target/initrd.tar");
        replace(&image, &image::flatten(elf)?)?;
        replace(&initrd, &initrd::pack(&root().join("target/programs"))?)?;
        Ok(Boot { elf: elf.to_path_buf(), image, initrd })
    }
}

/// Replaces a file in one step: another runner may be reading the old one.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let new = path.with_extension(format!("{}.new", std::process::id()));
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(Error::file(path))?;
    std::fs::write(&new, bytes).map_err(Error::file(&new))?;
    std::fs::rename(&new, path).map_err(Error::file(path))
}
