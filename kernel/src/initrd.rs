//! The initrd: an uncompressed tar archive of programs, found through the device tree.
#![forbid(unsafe_code)]

use spin::Once;
use tar_no_std::{CorruptDataError, TarArchiveRef};

static ARCHIVE: Once<&'static [u8]> = Once::new();

/// Takes the archive's bytes. Called once at boot.
///
/// # Errors
/// The bytes are not a tar archive; there are no programs then.
pub fn set(bytes: &'static [u8]) -> Result<(), CorruptDataError> {
    TarArchiveRef::new(bytes)?;
    ARCHIVE.call_once(|| bytes);
    Ok(())
}

fn archive() -> Option<TarArchiveRef<'static>> {
    TarArchiveRef::new(ARCHIVE.get()?).ok()
}

/// The contents of the file with this name.
pub fn find(name: &str) -> Option<&'static [u8]> {
    archive()?.entries().find(|file| file.filename().as_str() == Ok(name)).map(|file| file.data())
}

/// Tells `each` the name and size in bytes of every file.
pub fn for_each(mut each: impl FnMut(&str, usize)) {
    for file in archive().iter().flat_map(TarArchiveRef::entries) {
        if let Ok(name) = file.filename().as_str() {
            each(name, file.size());
        }
    }
}
