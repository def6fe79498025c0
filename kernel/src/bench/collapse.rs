//! A page of 1 GiB by 4 KiB: its collapse, and how often it can be mapped so, in the way of counting that was booted.
#![forbid(unsafe_code)]

use mm::Mm;
use mm::hugetlb::hgm::experiment::{Broken, collapse, consumers, overflow};
use mm::mapcount::experiment::Row;

use super::End;
use crate::println;

/// A part of the suite.
type Part = fn(&Mm, &mut dyn FnMut(&Row)) -> Result<(), Broken>;

const PARTS: [(&str, Part); 3] = [("collapse", collapse), ("consumers", consumers), ("overflow", overflow)];

/// Runs the parts that the words name, both where there is none.
pub(super) fn run(mm: &'static Mm, words: &[&str]) -> End {
    let chosen = PARTS.into_iter().filter(|(name, _)| words.is_empty() || words.contains(name));
    for (name, part) in chosen {
        let row = &mut |row: &Row| println!("{row}");
        match part(mm, row) {
            Ok(()) => {}
            Err(Broken::Pool) => {
                println!("error: {name}: there is no page of 1 GiB, and none can be made (MEM=4G has one)");
                return End::Broken;
            }
            Err(Broken::Call(errno)) => {
                println!("error: {name}: a call failed with {errno:?}");
                return End::Broken;
            }
        }
    }
    End::Complete
}
