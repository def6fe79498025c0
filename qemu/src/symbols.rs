//! Function and line for each line of a backtrace.
//!
//! The kernel prints return addresses, one frame a line: `  #<n> 0x<address>`. [`Symbols`] stands between QEMU
//! and whoever reads, passes every byte on at once, and puts ` function at file:line` behind such a line before
//! its end. A frame of inlined functions gets a line for each caller. The address of frame 0 is where the machine
//! stands; the others are return addresses, so the call is looked up just before them.

use addr2line::Loader;
use std::path::PathBuf;

/// One byte stream with backtraces in it.
pub struct Symbols {
    elf: PathBuf,
    /// Read at the first backtrace: most runs have none.
    loader: Option<Loader>,
    line: Vec<u8>,
    /// A carriage return that is held back until we know whether the line ends here.
    carriage_return: bool,
}

/// Longer than any line of a backtrace; what is longer is passed on unread.
const LONGEST: usize = 80;

impl Symbols {
    /// Symbols of the ELF file `elf`.
    #[must_use]
    pub fn new(elf: PathBuf) -> Symbols {
        Symbols { elf, loader: None, line: Vec::new(), carriage_return: false }
    }

    /// Passes `bytes` on to `out`, with names added.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if byte == b'\n' {
                let end: &[u8] = if self.carriage_return { b"\r\n" } else { b"\n" };
                self.carriage_return = false;
                if let Some((number, address)) = frame(&self.line) {
                    self.annotate(number, address, end, out);
                }
                out.extend_from_slice(end);
                self.line.clear();
                continue;
            }
            if self.carriage_return {
                out.push(b'\r');
                self.line.clear();
            }
            self.carriage_return = byte == b'\r';
            if !self.carriage_return {
                out.push(byte);
                if self.line.len() <= LONGEST {
                    self.line.push(byte);
                }
            }
        }
    }

    fn annotate(&mut self, number: u32, address: u64, end: &[u8], out: &mut Vec<u8>) {
        if self.loader.is_none() {
            self.loader = Loader::new(&self.elf).ok();
        }
        let Some(loader) = &self.loader else { return };
        let call = if number == 0 { address } else { address.saturating_sub(4) };
        let names = names(loader, call);
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(end);
                out.extend_from_slice(b"      inlined in");
            }
            out.push(b' ');
            out.extend_from_slice(name.as_bytes());
        }
    }
}

/// `function at file:line` for `address`, then for each function it is inlined in. Nothing known, nothing said.
fn names(loader: &Loader, address: u64) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(mut frames) = loader.find_frames(address) else { return names };
    while let Ok(Some(frame)) = frames.next() {
        let Some(raw) = frame.function.as_ref().and_then(|function| function.raw_name().ok()) else {
            continue;
        };
        let mut name = format!("{:#}", rustc_demangle::demangle(&raw));
        if let Some(location) = frame.location
            && let Some(file) = location.file
        {
            name += &format!(" at {}:{}", shorten(file), location.line.unwrap_or(0));
        }
        names.push(name);
    }
    if names.is_empty()
        && let Some(symbol) = loader.find_symbol(address)
    {
        names.push(format!("{:#}", rustc_demangle::demangle(symbol)));
    }
    names
}

/// The path in this tree, in a crate of the registry, or in Rust's library, without what differs between hosts.
pub(crate) fn shorten(file: &str) -> &str {
    let root = crate::artefacts::root().to_string_lossy();
    if let Some(inside) = file.strip_prefix(root.as_ref()) {
        return inside.trim_start_matches('/');
    }
    if let Some((_, in_registry)) = file.split_once("/registry/src/") {
        return in_registry.split_once('/').map_or(in_registry, |(_, path)| path);
    }
    match file.find("/library/") {
        Some(at) => &file[at + 1..],
        None => file,
    }
}

/// The number and the address, if `line` is a line of a backtrace.
fn frame(line: &[u8]) -> Option<(u32, u64)> {
    let line = std::str::from_utf8(line).ok()?;
    let (number, address) = line.trim().strip_prefix('#')?.split_once(' ')?;
    let address = address.trim_start().strip_prefix("0x")?;
    Some((number.parse().ok()?, u64::from_str_radix(address, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(pieces: &[&[u8]]) -> String {
        let mut symbols = Symbols::new("/nonexistent".into());
        let mut out = Vec::new();
        for piece in pieces {
            symbols.feed(piece, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    /// Only whole lines of the agreed form are looked up.
    #[test]
    fn lines_of_a_backtrace() {
        assert_eq!(frame(b"  #3 0xffff800080012345"), Some((3, 0xffff_8000_8001_2345)));
        assert_eq!(frame(b"#12  0x10"), Some((12, 0x10)));
        for other in ["  #3 0xzz", "#x 0x10", "see #3 0x10", "#3 0x10 again", "ok 3 name # 0x10", ""] {
            assert_eq!(frame(other.as_bytes()), None, "{other}");
        }
    }

    /// Every byte arrives, in order, however the stream is cut; a prompt without an end of line arrives too.
    #[test]
    fn all_bytes_pass() {
        let text = b"boot\r\n  #0 0x10\r\nquire> \rquire> x\r\r\n";
        let whole = through(&[text]);
        assert_eq!(whole.as_bytes(), text);
        let bytes: Vec<_> = text.chunks(1).collect();
        assert_eq!(through(&bytes), whole);
    }

    /// A function of this very program is found by its address, and the file is named as in the source tree.
    #[test]
    fn names_from_debug_information() {
        let exe = std::env::current_exe().unwrap();
        let loader = Loader::new(&exe).unwrap();
        let address = address_in_file(&exe, "names_from_debug_information");
        let names = names(&loader, address);
        assert!(names.iter().any(|name| name.contains("names_from_debug_information")), "{names:?}");
        assert!(names.iter().any(|name| name.contains(" at qemu/src/symbols.rs:")), "{names:?}");

        let mut symbols = Symbols::new(exe);
        let mut out = Vec::new();
        symbols.feed(format!("  #0 {address:#x}\r\nnext\n").as_bytes(), &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with(&format!("  #0 {address:#x} ")) && out.ends_with("\r\nnext\n"), "{out}");
    }

    fn address_in_file(elf: &std::path::Path, part: &str) -> u64 {
        use object::{Object, ObjectSymbol, SymbolKind};
        let data = std::fs::read(elf).unwrap();
        let file = object::File::parse(data.as_slice()).unwrap();
        file.symbols()
            .find(|symbol| {
                symbol.kind() == SymbolKind::Text && symbol.name().is_ok_and(|name| name.contains(part))
            })
            .unwrap()
            .address()
    }

    /// Paths are shown from the tree, the crate or Rust's library on.
    #[test]
    fn short_paths() {
        let own = crate::artefacts::root().join("mm/src/lib.rs");
        assert_eq!(shorten(own.to_str().unwrap()), "mm/src/lib.rs");
        assert_eq!(
            shorten("/h/.cargo/registry/src/index.crates.io-1/elf-0.8.0/src/a.rs"),
            "elf-0.8.0/src/a.rs"
        );
        assert_eq!(shorten("/rustc/abc/library/core/src/option.rs"), "library/core/src/option.rs");
        assert_eq!(shorten("/other/a.c"), "/other/a.c");
    }
}
