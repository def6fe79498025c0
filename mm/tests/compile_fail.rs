//! What the compiler refuses: each program in `ui` but `legal.rs` must not compile, for the reason that its
//! `.stderr` has. Beside each group `legal.rs` does the same things in the right order, and must compile and run: so
//! what is refused is refused for what its first comment says.
//!
//! | group | what it pins |
//! |---|---|
//! | `entry` | a broken entry has no way but flush, make; nothing of a tree outlives its lock, or is had twice |
//! | `gather` | a gather exists in its closure only, by reference |
//! | `unmapped` | what was unmapped goes to the gather that owes its flush, and nowhere else |
//! | `owner` | who does not own a reference frees nothing |
//!
//! After a change of wording, `TRYBUILD=overwrite` writes the `.stderr` anew; read them before they are kept.
#![forbid(unsafe_code)]

/// All programs, in one build.
#[test]
fn forbidden_programs_do_not_compile() {
    let programs = trybuild::TestCases::new();
    programs.pass("tests/ui/*/legal.rs");
    for group in ["entry", "gather", "unmapped", "owner"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui").join(group);
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let programs_of = files.filter(|path| path.extension().is_some_and(|end| end == "rs"));
        for path in programs_of.filter(|path| !path.ends_with("legal.rs")) {
            let name = path.file_name().unwrap();
            programs.compile_fail(std::path::Path::new("tests/ui").join(group).join(name));
        }
    }
}
