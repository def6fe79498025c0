//! The programs that Linux was measured with, byte for byte.

use sha2::{Digest, Sha256};

/// Path and SHA-256 of each. A change would compare Quire with a Linux that ran something else.
pub(crate) const AS_MEASURED: [(&str, &str); 2] = [
    ("tests/programs/mmbench.c", "dfa256331f13af653f1d8f8220e7b9198a1556e6c15b75ba18a88221515f29d0"),
    ("tests/programs/thpfork.c", "384f12cf9f5d1ee90c0ecd88c71b16feac2e058dde2efa8ff2cc47c8954cb66a"),
];

/// They are the files that ran on Linux.
#[test]
fn nobody_has_edited_them() {
    for (path, expected) in AS_MEASURED {
        let bytes = std::fs::read(qemu::root().join(path)).unwrap();
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{path} is not the program that was measured on Linux");
    }
}
