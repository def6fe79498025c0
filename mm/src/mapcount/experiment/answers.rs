//! How often each scheme's answers are the truth.
#![forbid(unsafe_code)]

use super::Row;
use crate::Mm;
use crate::config::Mapcount;
use crate::error::OutOfMemory;
use crate::mapcount::Question;
use crate::mapcount::lab::{Dice, Lab, Scores, Verdict};

/// Things that are done between two looks.
const STRIDE: u64 = 3;

/// Looks at `states` states of a random workload, the same one for each scheme, and says of each question how many
/// answers were exact, over and under, in basis points (hundredths of a per cent). A bound counts by its value: a
/// scheme that says "at most 512" where there are 3 is over. Returns how many answers broke a contract: none.
///
/// # Errors
/// [`OutOfMemory`].
pub fn answers(
    mm: &Mm,
    scheme: Mapcount,
    states: u64,
    seed: u64,
    say: &mut dyn FnMut(&Row),
) -> Result<u64, OutOfMemory> {
    let mut lab = Lab::furnished(mm, scheme)?;
    let (mut dice, mut scores, mut broken) = (Dice::new(seed), Scores::default(), 0);
    let mut done = Ok(());
    for n in 0..states * STRIDE {
        done = lab.step(&mut dice);
        if done.is_err() {
            break;
        }
        if n % STRIDE == STRIDE - 1 {
            let mut other = dice.clone();
            broken += u64::from(lab.judge(&mut other, &mut scores).is_err());
        }
    }
    lab.end();
    done?;
    for question in Question::ALL {
        for (verdict, part) in [(Verdict::Right, "exact"), (Verdict::Over, "over"), (Verdict::Under, "under")]
        {
            let value = scores.share(question, verdict);
            say(&Row { what: question.name(), scheme, part, value, unit: "bp" });
        }
    }
    Ok(broken)
}
