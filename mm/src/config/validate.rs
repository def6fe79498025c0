//! Boot choices that exclude each other, each pair with the sentence that says why.
//!
//! | choices | why not |
//! |---|---|
//! | `mapcount=thp-like`, `hvo=` other than `off` | the one writes what the other makes read-only |
//! | `hvo=alias`, `tails=pointer` | the tails of two folios differ |
//! | `hvo=bbml2` or `hvo_split=bbml2`, `vmemmap=pmd`, FEAT_BBM below 2 | a block cannot be split without a break; asked of the CPU at boot ([`crate::hvo::choice`]) |
//! | `mapcount=` other than the one that a pinned kernel was built with | the others are not in it |
#![forbid(unsafe_code)]

use core::fmt;

use super::{HvoStrategy, Mapcount, MmConfig};
use crate::hvo::choice::Unfit;
use crate::mapcount::PINNED;

/// Why a combination of boot choices cannot run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// `thp-like` and HVO.
    TailsWritten,
    /// The strategy of HVO needs what the CPU, or another choice, does not give.
    Hvo(HvoStrategy, Unfit),
    /// The kernel was built for one way of counting, and another was asked for.
    NotBuilt {
        /// The one that it has.
        built: Mapcount,
        /// The one that was asked for.
        asked: Mapcount,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::TailsWritten => write!(
                f,
                "mapcount=thp-like counts in tail struct pages, which HVO maps read-only: it needs hvo=off"
            ),
            Refusal::Hvo(strategy, why) => write!(f, "hvo={strategy}: {why}"),
            Refusal::NotBuilt { built, asked } => {
                write!(f, "mapcount={asked} is not in this kernel: it was built with MAPCOUNT_PIN={built}")
            }
        }
    }
}

impl From<(HvoStrategy, Unfit)> for Refusal {
    fn from((strategy, why): (HvoStrategy, Unfit)) -> Self {
        Refusal::Hvo(strategy, why)
    }
}

impl MmConfig {
    /// Whether the choices go together.
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn validate(&self) -> Result<(), Refusal> {
        if let Some(built) = PINNED
            && built != self.mapcount
        {
            return Err(Refusal::NotBuilt { built, asked: self.mapcount });
        }
        if self.mapcount == Mapcount::ThpLike && self.hvo != HvoStrategy::Off {
            return Err(Refusal::TailsWritten);
        }
        Ok(())
    }
}
