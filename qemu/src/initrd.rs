//! User programs → an uncompressed tar (ustar), the kernel's initrd.

use crate::error::Error;
use std::path::Path;

/// Packs the files of `folder`, in order of their names; owner and time are zero, so that equal programs give
/// equal bytes. A folder that is not there gives an empty archive: a kernel without programs still boots.
///
/// # Errors
/// [`Error::File`].
pub fn pack(folder: &Path) -> Result<Vec<u8>, Error> {
    let mut archive = tar::Builder::new(Vec::new());
    for name in file_names(folder)? {
        let path = folder.join(&name);
        let bytes = std::fs::read(&path).map_err(Error::file(&path))?;
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, &name, bytes.as_slice()).map_err(Error::file(&path))?;
    }
    archive.into_inner().map_err(Error::file(folder))
}

fn file_names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder).map_err(Error::file(folder))? {
            let entry = entry.map_err(Error::file(folder))?;
            if entry.path().is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The archive holds the files under their bare names, sorted, with their bytes; the same folder packs to the
    /// same bytes again.
    #[test]
    fn programs_by_bare_name() {
        let folder = std::env::temp_dir().join(format!("quire-initrd-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("zeta"), b"last").unwrap();
        std::fs::write(folder.join("alpha"), vec![7; 1000]).unwrap();
        let packed = pack(&folder).unwrap();
        assert_eq!(packed, pack(&folder).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();

        assert_eq!(&packed[257..262], b"ustar");
        let mut archive = tar::Archive::new(packed.as_slice());
        let files: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                entry.map(|entry| (entry.path().unwrap().display().to_string(), entry.size())).unwrap()
            })
            .collect();
        assert_eq!(files, [("alpha".to_owned(), 1000), ("zeta".to_owned(), 4)]);
    }

    /// No folder, no programs, no error.
    #[test]
    fn no_programs() {
        let packed = pack(Path::new("/nonexistent/programs")).unwrap();
        assert_eq!(tar::Archive::new(packed.as_slice()).entries().unwrap().count(), 0);
    }
}
