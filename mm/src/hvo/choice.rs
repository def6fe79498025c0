//! Which strategy this boot uses: what was asked for, or the best that the CPU and the other choices allow.
//!
//! | strategy | needs |
//! |---|---|
//! | `alias` | `tails=mask`; a way to split |
//! | `bbml2` | a way to split |
//! | `pause` `stop-machine` `fault` | nothing |
//!
//! | `vmemmap=` | FEAT_BBM | way to split that `hvo_split=auto` takes |
//! |---|---|---|
//! | `pte` | any | none is needed |
//! | `pmd` | 2, 3 | directly for `alias` and `bbml2`; the others as they replace pages |
//! | `pmd` | 0, 1 | `pause` for `alias`: once for each block of vmemmap, and never again; none for `bbml2`; the others as they replace pages |
//!
//! Best first: `alias` disturbs nobody, and has no more to do for a folio than the others; `bbml2` disturbs nobody either, and
//! copies; `pause` holds all CPUs, for as long as a list takes; `stop-machine` does, and waits for a thread of each
//! CPU first; `fault` lets anybody fault who touches what is broken, wherever he is.
#![forbid(unsafe_code)]

use core::fmt;

use arch::features::{BbmLevel, Features};

use crate::config::{HvoSplit, HvoStrategy, MmConfig, TailEncoding, VmemmapMap};

/// What this boot does. Neither is [`HvoStrategy::Auto`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// How entries are replaced.
    pub strategy: HvoStrategy,
    /// How blocks are split; [`HvoSplit::Refuse`] where that is not to be done, or there are none.
    pub split: HvoSplit,
}

/// Why a strategy cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// Tails lead to their head by its address, so the bytes of two folios' tails differ.
    Tails,
    /// Blocks of vmemmap would have to be split directly.
    Split(BbmLevel),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Tails => f.write_str("tails=pointer makes the tails of each folio say something else"),
            Unfit::Split(bbm) => write!(
                f,
                "vmemmap=pmd has to be split, and with FEAT_BBM level {} that cannot be done without a break",
                *bbm as u8
            ),
        }
    }
}

/// The strategies, best first.
pub const BEST_FIRST: [HvoStrategy; 5] = [
    HvoStrategy::Alias,
    HvoStrategy::Bbml2,
    HvoStrategy::Pause,
    HvoStrategy::StopMachine,
    HvoStrategy::Fault,
];

/// What this strategy comes to with these choices on such a CPU.
///
/// # Errors
/// [`Unfit`].
pub fn fit(strategy: HvoStrategy, config: &MmConfig, features: &Features) -> Result<Choice, Unfit> {
    if strategy == HvoStrategy::Alias && config.tails == TailEncoding::Pointer {
        return Err(Unfit::Tails);
    }
    let direct = features.bbm >= BbmLevel::Level2;
    let split = match (config.vmemmap, config.hvo_split) {
        (VmemmapMap::Pte, _) => HvoSplit::Refuse,
        (VmemmapMap::Pmd, HvoSplit::Auto) => match strategy {
            HvoStrategy::Alias if !direct => HvoSplit::Pause,
            HvoStrategy::Alias | HvoStrategy::Bbml2 => HvoSplit::Bbml2,
            HvoStrategy::StopMachine => HvoSplit::StopMachine,
            HvoStrategy::Fault => HvoSplit::Fault,
            HvoStrategy::Pause | HvoStrategy::Auto | HvoStrategy::Off => HvoSplit::Pause,
        },
        (VmemmapMap::Pmd, asked) => asked,
    };
    if split == HvoSplit::Bbml2 && !direct {
        return Err(Unfit::Split(features.bbm));
    }
    Ok(Choice { strategy, split })
}

/// What this boot does.
///
/// # Errors
/// The strategy that was asked for, and why it cannot be had.
pub fn choose(config: &MmConfig, features: &Features) -> Result<Choice, (HvoStrategy, Unfit)> {
    match config.hvo {
        HvoStrategy::Off => Ok(Choice { strategy: HvoStrategy::Off, split: HvoSplit::Refuse }),
        HvoStrategy::Auto => {
            let fits = |&strategy: &HvoStrategy| fit(strategy, config, features);
            let last = HvoStrategy::Fault;
            BEST_FIRST
                .iter()
                .find_map(|strategy| fits(strategy).ok())
                .ok_or((last, Unfit::Split(features.bbm)))
        }
        asked => fit(asked, config, features).map_err(|unfit| (asked, unfit)),
    }
}

/// The strategies that cannot be had, and why.
pub fn refused<'a>(
    config: &'a MmConfig,
    features: &'a Features,
) -> impl Iterator<Item = (HvoStrategy, Unfit)> + 'a {
    BEST_FIRST.iter().filter_map(|&strategy| Some((strategy, fit(strategy, config, features).err()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bbm: BbmLevel) -> Features {
        Features { bbm, ..Features::BASE }
    }

    /// Every pair of ways is taken or refused as the tables above say; a strategy that was asked for is that or an
    /// error, never another one.
    #[test]
    fn the_tables_hold() {
        for &vmemmap in VmemmapMap::ALL {
            for &tails in TailEncoding::ALL {
                for bbm in [BbmLevel::Level0, BbmLevel::Level1, BbmLevel::Level2, BbmLevel::Level3] {
                    let config = MmConfig { vmemmap, tails, ..MmConfig::default() };
                    let direct = bbm >= BbmLevel::Level2;
                    let blocks = vmemmap == VmemmapMap::Pmd;
                    for strategy in BEST_FIRST {
                        let expected = match strategy {
                            HvoStrategy::Alias if tails == TailEncoding::Pointer => Err(Unfit::Tails),
                            HvoStrategy::Bbml2 if blocks && !direct => Err(Unfit::Split(bbm)),
                            _ => Ok(strategy),
                        };
                        let asked = MmConfig { hvo: strategy, ..config };
                        let chosen = choose(&asked, &at(bbm)).map(|choice| choice.strategy);
                        assert_eq!(chosen, expected.map_err(|unfit| (strategy, unfit)));
                    }
                    let split = choose(&config, &at(bbm)).unwrap().split;
                    let ways = match (blocks, direct) {
                        (false, _) => HvoSplit::Refuse,
                        (true, true) => HvoSplit::Bbml2,
                        (true, false) => HvoSplit::Pause,
                    };
                    assert_eq!(split, ways, "{vmemmap} {tails} {bbm:?}");
                }
            }
        }
    }

    /// The default is `alias` with `mask`; with `pointer` the next best that the CPU allows, and each refusal is a
    /// sentence.
    #[test]
    fn the_default_is_the_best() {
        let pointer = MmConfig { tails: TailEncoding::Pointer, ..MmConfig::default() };
        let strategy = |config: &MmConfig, bbm| choose(config, &at(bbm)).unwrap().strategy;
        assert_eq!(strategy(&MmConfig::default(), BbmLevel::Level0), HvoStrategy::Alias);
        assert_eq!(strategy(&pointer, BbmLevel::Level0), HvoStrategy::Pause);
        assert_eq!(strategy(&pointer, BbmLevel::Level2), HvoStrategy::Bbml2);
        let features = at(BbmLevel::Level0);
        let refused: Vec<String> =
            refused(&pointer, &features).map(|(strategy, why)| format!("{strategy}: {why}")).collect();
        assert_eq!(
            refused,
            [
                "alias: tails=pointer makes the tails of each folio say something else",
                "bbml2: vmemmap=pmd has to be split, and with FEAT_BBM level 0 that cannot be done without a break",
            ]
        );
    }
}
