//! ELF file → flat arm64 `Image`.
//!
//! QEMU follows the arm64 boot protocol (device tree in x0, initrd in `/chosen`) for a flat image only; an ELF
//! file it merely loads. The image is the file's loadable segments, each at its physical address, from the
//! lowest one on; the kernel puts the 64-byte header of the protocol (Linux `Documentation/arch/arm64/booting.rst`)
//! first. What stands behind the last byte in the file (.bss) is not in the image: the header's `image_size`
//! covers it.

use crate::error::Error;
use object::Endianness;
use object::elf::{EM_AARCH64, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use std::path::Path;

/// `"ARM\x64"`, at offset 56 of the header.
const MAGIC: &[u8] = b"ARM\x64";
const MAGIC_AT: usize = 56;
/// More than any kernel: a larger span means segments with mixed-up physical addresses.
const LARGEST: u64 = 256 << 20;

/// The flat image of the kernel `elf`.
///
/// # Errors
/// [`Error::File`]; [`Error::Kernel`] if it is no ELF file for aarch64, has no segment to load, its physical
/// addresses span more than 256 MiB, or the header is not first.
pub fn flatten(elf: &Path) -> Result<Vec<u8>, Error> {
    let data = std::fs::read(elf).map_err(Error::file(elf))?;
    flatten_bytes(&data).map_err(|reason| Error::Kernel(elf.to_path_buf(), reason))
}

fn flatten_bytes(data: &[u8]) -> Result<Vec<u8>, String> {
    let header = FileHeader64::<Endianness>::parse(data).map_err(|error| error.to_string())?;
    let endian = header.endian().map_err(|error| error.to_string())?;
    if header.e_machine(endian) != EM_AARCH64 {
        return Err("this ELF file is not for aarch64".into());
    }
    let mut segments = Vec::new();
    for segment in header.program_headers(endian, data).map_err(|error| error.to_string())? {
        if segment.p_type(endian) == PT_LOAD && segment.p_filesz(endian) > 0 {
            let bytes =
                segment.data(endian, data).map_err(|()| "a segment reaches beyond the file".to_string())?;
            segments.push((segment.p_paddr(endian), bytes));
        }
    }
    place(&segments)
}

/// Lays the segments (physical address, bytes) out from the lowest address on.
fn place(segments: &[(u64, &[u8])]) -> Result<Vec<u8>, String> {
    let base = segments.iter().map(|(at, _)| *at).min().ok_or("no segment to load")?;
    let end = segments.iter().map(|(at, bytes)| at.saturating_add(bytes.len() as u64)).max().unwrap_or(base);
    if end - base > LARGEST {
        return Err(format!(
            "the segments span {base:#x}..{end:#x}: are their physical addresses (AT) right?"
        ));
    }
    let mut image = vec![0; (end - base) as usize];
    for (at, bytes) in segments {
        let start = (at - base) as usize;
        image[start..start + bytes.len()].copy_from_slice(bytes);
    }
    if image.get(MAGIC_AT..MAGIC_AT + MAGIC.len()) != Some(MAGIC) {
        return Err("the lowest segment does not begin with the arm64 image header".into());
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_segment() -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[MAGIC_AT..MAGIC_AT + 4].copy_from_slice(MAGIC);
        bytes
    }

    /// Segments stand at their physical distance, whatever their order; the gap is zero.
    #[test]
    fn segments_keep_their_distance() {
        let image = place(&[(0x20_0100, b"data"), (0x20_0000, &first_segment())]).unwrap();
        assert_eq!(image.len(), 0x104);
        assert_eq!(&image[0x100..], b"data");
        assert!(image[64..0x100].iter().all(|byte| *byte == 0));
    }

    /// What is no kernel is refused before QEMU sees it.
    #[test]
    fn what_is_no_kernel_is_refused() {
        assert!(flatten_bytes(b"#!/bin/sh\n").is_err());
        assert!(place(&[]).is_err());
        assert!(place(&[(0, &[0; 64])]).unwrap_err().contains("header"));
        assert!(place(&[(0, &first_segment()), (1 << 40, b"x")]).unwrap_err().contains("span"));
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let error = flatten_bytes(&own).unwrap_err();
        assert!(error.contains("not for aarch64") || error.contains("header"), "{error}");
    }
}
