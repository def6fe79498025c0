//! Boot choices of memory management: enums, their words on the command line, and which pairs exclude
//! each other ([`MmConfig::validate`]).
//!
//! | word | values | default |
//! |---|---|---|
//! | `mapcount=` | `rfc-v1` `rfc-v1+counted` `rfc-v2` `thp-like` `rfc-v2+vmacount` `vma-pt` `mm-owner` `total-mapped` | `mm-owner` |
//! | `tails=` | `mask` `pointer` | `mask` |
//! | `vmemmap=` | `pmd` `pte` | `pmd` |
//! | `hvo=` | `off` `auto` `fault` `stop-machine` `bbml2` `pause` `alias` | `auto` |
//! | `hvo_split=` | `auto` `refuse` `fault` `stop-machine` `bbml2` `pause` | `auto` |
//! | `thp=` | `never` `always` `madvise` `reserve` `defer` | `reserve` |
//! | `promotion_threshold=` and the other numbers of huge pages | [`Number`] | |
//! | `reserve_reclaim=` | `all` `lru` | `all` |
//! | `promote=` | `async` `sync` | `async` |
//! | `contpte=` | `off` `on` | `on` |
//! | `hgm=` | `off` `sizes` `pages` | `sizes` |
//! | `hugepagesz=` | `64K` `2M` `32M` `1G`: what the `hugepages=` after it are of | `2M` |
//! | `hugepages=` | number of pages in the hugetlb pool of that size at boot | 8 of 2 MiB |
#![forbid(unsafe_code)]

mod hugepages;
mod number;
mod validate;

use core::fmt;

pub use hugepages::HugePages;
#[cfg(test)]
pub(crate) use number::wrong;
pub use number::{Khugepaged, Number, OutOfRange};
pub use validate::Refusal;

use crate::hugetlb::HugeSize;

/// Declares a boot choice: an enum, its words, and `ALL`.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $key:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// The name of the choice on the command line.
            pub const KEY: &'static str = $key;
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// The words of every value, for error messages.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The value that this word names.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }
            /// The word for this value.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

choice! {
    /// How the mappings of a folio are counted.
    Mapcount, "mapcount" {
        /// Entries of the folio's own size, whether they are leaves or lead to tables; as posted, with its flaws.
        RfcV1 = "rfc-v1",
        /// The same, with a mark that lets whoever zaps leaves take the count back.
        RfcV1Counted = "rfc-v1+counted",
        /// Leaf entries of any size.
        RfcV2 = "rfc-v2",
        /// Entries of the folio's own size, and of each page the smaller ones.
        ThpLike = "thp-like",
        /// Leaf entries, and beside them entries of the folio's own size.
        Vmacount = "rfc-v2+vmacount",
        /// Pairs of a VMA and a page table.
        VmaPt = "vma-pt",
        /// Leaf entries, and two owners with their share of them.
        MmOwner = "mm-owner",
        /// Leaf entries, and how many pages they map in sum.
        TotalMapped = "total-mapped",
    }
}
choice! {
    /// What a tail struct page says of its head.
    TailEncoding, "tails" {
        /// A mask: the tails of all folios of one order are byte-identical.
        Mask = "mask",
        /// The address of the head.
        Pointer = "pointer",
    }
}
choice! {
    /// What maps vmemmap at boot.
    VmemmapMap, "vmemmap" {
        /// 2 MiB blocks: HVO has to split them.
        Pmd = "pmd",
        /// 4 KiB pages.
        Pte = "pte",
    }
}
choice! {
    /// How HVO replaces live translations of vmemmap.
    HvoStrategy, "hvo" {
        /// HVO is not used.
        Off = "off",
        /// The best one that the CPU and the other choices allow ([`crate::hvo::choice`]).
        Auto = "auto",
        /// Break, flush and make; who touches what is broken meanwhile takes a fault, waits, and tries again.
        Fault = "fault",
        /// The scheduler's stopper holds all other CPUs while entries are broken and made.
        StopMachine = "stop-machine",
        /// FEAT_BBM level 2 for the split; then read-only, contents made equal, and another address: no break.
        Bbml2 = "bbml2",
        /// An interrupt holds all other CPUs while entries are broken and made.
        Pause = "pause",
        /// Identical tails: read-only, another address, no break, and nothing to be made equal.
        Alias = "alias",
    }
}
choice! {
    /// How HVO replaces a 2 MiB block that maps vmemmap by a table, before it changes pages of it.
    HvoSplit, "hvo_split" {
        /// As the strategy does by itself; for `alias` directly where FEAT_BBM allows it, and else by `pause`.
        Auto = "auto",
        /// Never: folios whose vmemmap is mapped by a block stay as they are.
        Refuse = "refuse",
        /// Break, flush and make; who touches what is broken meanwhile takes a fault, waits, and tries again.
        Fault = "fault",
        /// The scheduler's stopper holds all other CPUs while the block is broken and the table made.
        StopMachine = "stop-machine",
        /// Directly, by FEAT_BBM level 2.
        Bbml2 = "bbml2",
        /// An interrupt holds all other CPUs while the block is broken and the table made.
        Pause = "pause",
    }
}
choice! {
    /// When anonymous memory is backed by huge pages.
    ThpMode, "thp" {
        /// Never.
        Never = "never",
        /// At the first write of an aligned 2 MiB range that fits its VMA.
        Always = "always",
        /// As `always`, but only in VMAs that asked by MADV_HUGEPAGE.
        Madvise = "madvise",
        /// The first write reserves; the range is promoted in place at `promotion_threshold` pages.
        Reserve = "reserve",
        /// As `madvise` at a fault; khugepaged collapses all other memory later, by copy.
        Defer = "defer",
    }
}

choice! {
    /// Which reservations of huge pages are given up where memory is short ([`crate::thp::reclaim`]).
    ReserveReclaim, "reserve_reclaim" {
        /// All of them.
        All = "all",
        /// Those that were populated least recently, and as many as it takes.
        Lru = "lru",
    }
}

choice! {
    /// Who promotes a range that reaches `promotion_threshold`.
    Promote, "promote" {
        /// The kernel thread `kpromoted`; the fault only tells it.
        Async = "async",
        /// The fault that reaches the threshold, before it returns; the thread only where that must give up.
        Sync = "sync",
    }
}

choice! {
    /// Whether 16 page entries that map 64 KiB of one folio, or of one reservation, may carry the contiguous bit
    /// ([`crate::pgtable::fold`]).
    Contpte, "contpte" {
        /// Never.
        Off = "off",
        /// Where it is to be had for little.
        On = "on",
    }
}

choice! {
    /// What MADV_SPLIT permits in VMAs of shared hugetlb memory ([`crate::hugetlb::hgm`]).
    Hgm, "hgm" {
        /// Nothing: the advice is not known.
        Off = "off",
        /// Entries of any size that is smaller than the page's, side by side.
        Sizes = "sizes",
        /// Entries of 4 KiB, and no others: what is mapped is unmapped by the advice.
        Pages = "pages",
    }
}

/// How many pages of a reservation must be populated before its range is promoted: 1..=512. 1 makes the
/// huge page at the first fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PromotionThreshold(u16);

impl PromotionThreshold {
    /// The permitted range.
    pub const RANGE: core::ops::RangeInclusive<u64> = Number::PromotionThreshold.range();

    /// A threshold in pages.
    ///
    /// # Errors
    /// The value, where it is out of [`Self::RANGE`].
    pub fn new(pages: u64) -> Result<Self, u64> {
        if Self::RANGE.contains(&pages) { Ok(Self(pages as u16)) } else { Err(pages) }
    }
    /// Pages.
    #[must_use]
    pub const fn pages(self) -> u16 {
        self.0
    }
}

/// All boot choices of memory management.
#[derive(Clone, Copy, Debug)]
pub struct MmConfig {
    /// How mappings are counted.
    pub mapcount: Mapcount,
    /// What tails say.
    pub tails: TailEncoding,
    /// What maps vmemmap.
    pub vmemmap: VmemmapMap,
    /// How HVO works.
    pub hvo: HvoStrategy,
    /// How HVO splits blocks of vmemmap.
    pub hvo_split: HvoSplit,
    /// The huge page policy at boot; the console may change it.
    pub thp: ThpMode,
    /// The promotion threshold at boot; the console may change it.
    pub promotion_threshold: PromotionThreshold,
    /// The settings of khugepaged at boot; files may change them.
    pub khugepaged: Khugepaged,
    /// [`Number::ShrinkUnderused`] at boot; a file may change it.
    pub shrink_underused: u64,
    /// [`Number::UseZeroPage`] at boot; a file may change it.
    pub use_zero_page: u64,
    /// Which reservations are given up where memory is short, at boot; a file may change it.
    pub reserve_reclaim: ReserveReclaim,
    /// Who promotes, at boot; the console may change it.
    pub promote: Promote,
    /// Whether groups of page entries are folded.
    pub contpte: Contpte,
    /// What MADV_SPLIT permits.
    pub hgm: Hgm,
    /// Pages in the hugetlb pools at boot.
    pub hugepages: HugePages,
}

impl Default for MmConfig {
    fn default() -> Self {
        MmConfig {
            mapcount: match crate::mapcount::PINNED {
                Some(pinned) => pinned,
                None => Mapcount::MmOwner,
            },
            tails: TailEncoding::Mask,
            vmemmap: VmemmapMap::Pmd,
            hvo: HvoStrategy::Auto,
            hvo_split: HvoSplit::Auto,
            thp: ThpMode::Reserve,
            promotion_threshold: PromotionThreshold(Number::PromotionThreshold.default_value() as u16),
            khugepaged: Number::khugepaged(),
            shrink_underused: Number::ShrinkUnderused.default_value(),
            use_zero_page: Number::UseZeroPage.default_value(),
            reserve_reclaim: ReserveReclaim::All,
            promote: Promote::Async,
            contpte: Contpte::On,
            hgm: Hgm::Sizes,
            hugepages: HugePages::of_default_size(8),
        }
    }
}

/// What became of one `key=value` word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// It was one of ours, and is taken.
    Taken,
    /// It is not a choice of memory management.
    NotOurs,
}

/// A word that is ours but cannot be taken; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError<'a> {
    /// The value is not one of the words of this choice.
    Word {
        /// The choice.
        key: &'static str,
        /// What was given.
        value: &'a str,
        /// What is permitted.
        permitted: &'static [&'static str],
    },
    /// The value is not a number in range.
    Number {
        /// The choice.
        key: &'static str,
        /// What was given.
        value: &'a str,
        /// Lowest permitted value.
        low: u64,
        /// Highest permitted value.
        high: u64,
    },
}

impl fmt::Display for ConfigError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Word { key, value, permitted } => {
                write!(f, "{key}={value}: must be one of")?;
                permitted.iter().try_for_each(|word| write!(f, " {word}"))
            }
            ConfigError::Number { key, value, low, high } => {
                write!(f, "{key}={value}: must be a number from {low} to {high}")
            }
        }
    }
}

/// Most pages of one size that may be asked for at boot: 1 TiB of the smallest.
const MAX_HUGEPAGES: u64 = 1 << 24;

impl MmConfig {
    /// Takes one `key=value` word of the command line.
    ///
    /// # Errors
    /// [`ConfigError`] for a word that is ours with a value that is not permitted; nothing changes.
    pub fn parse<'a>(&mut self, key: &str, value: &'a str) -> Result<Parsed, ConfigError<'a>> {
        macro_rules! take {
            ($field:ident, $choice:ident) => {
                self.$field = $choice::parse(value).ok_or(ConfigError::Word {
                    key: $choice::KEY,
                    value,
                    permitted: $choice::WORDS,
                })?
            };
        }
        match key {
            Mapcount::KEY => take!(mapcount, Mapcount),
            TailEncoding::KEY => take!(tails, TailEncoding),
            VmemmapMap::KEY => take!(vmemmap, VmemmapMap),
            HvoStrategy::KEY => take!(hvo, HvoStrategy),
            HvoSplit::KEY => take!(hvo_split, HvoSplit),
            ThpMode::KEY => take!(thp, ThpMode),
            ReserveReclaim::KEY => take!(reserve_reclaim, ReserveReclaim),
            Promote::KEY => take!(promote, Promote),
            Contpte::KEY => take!(contpte, Contpte),
            Hgm::KEY => take!(hgm, Hgm),
            "hugepagesz" => {
                let (key, permitted) = ("hugepagesz", HugeSize::WORDS);
                let size = HugeSize::parse(value).ok_or(ConfigError::Word { key, value, permitted })?;
                self.hugepages.take_size(size);
            }
            "hugepages" => self.hugepages.take_count(number("hugepages", value, 0..=MAX_HUGEPAGES)?),
            _ => {
                let Some(setting) = Number::of_word(key) else { return Ok(Parsed::NotOurs) };
                let OutOfRange { low, high } = match setting.parse(value) {
                    Ok(number) => {
                        self.set_number(setting, number);
                        return Ok(Parsed::Taken);
                    }
                    Err(range) => range,
                };
                return Err(ConfigError::Number { key: setting.word(), value, low, high });
            }
        }
        Ok(Parsed::Taken)
    }
}

fn number<'a>(
    key: &'static str,
    value: &'a str,
    range: core::ops::RangeInclusive<u64>,
) -> Result<u64, ConfigError<'a>> {
    let (low, high) = (*range.start(), *range.end());
    match value.parse() {
        Ok(n) if range.contains(&n) => Ok(n),
        _ => Err(ConfigError::Number { key, value, low, high }),
    }
}

impl fmt::Display for MmConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mapcount={} tails={} vmemmap={} hvo={} hvo_split={} thp={}",
            self.mapcount, self.tails, self.vmemmap, self.hvo, self.hvo_split, self.thp
        )?;
        Number::ALL.iter().try_for_each(|&n| write!(f, " {}={}", n.word(), self.number(n)))?;
        write!(f, " promote={} reserve_reclaim={}", self.promote, self.reserve_reclaim)?;
        write!(f, " contpte={} hgm={} {}", self.contpte, self.hgm, self.hugepages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every word of every choice is taken, and printed back as it was given.
    #[test]
    fn words_round_trip() {
        let mut config = MmConfig::default();
        for &mode in ThpMode::ALL {
            assert_eq!(config.parse("thp", mode.word()), Ok(Parsed::Taken));
            assert_eq!(config.thp, mode);
        }
        for &map in VmemmapMap::ALL {
            assert_eq!(config.parse("vmemmap", map.word()), Ok(Parsed::Taken));
            assert!(config.to_string().contains(&format!("vmemmap={map}")));
        }
    }

    /// A value that is not permitted is refused with what is, and changes nothing.
    #[test]
    fn wrong_values_change_nothing() {
        let mut config = MmConfig::default();
        for bad in ["0", "513", "-1", "", "x"] {
            let error = config.parse("promotion_threshold", bad).unwrap_err();
            assert!(error.to_string().ends_with("must be a number from 1 to 512"), "{error}");
        }
        let error = config.parse("tails", "both").unwrap_err();
        assert_eq!(error.to_string(), "tails=both: must be one of mask pointer");
        assert_eq!(config.to_string(), MmConfig::default().to_string());
    }

    /// A word of somebody else is left alone.
    #[test]
    fn other_words_are_not_ours() {
        assert_eq!(MmConfig::default().parse("selftest", "hvo"), Ok(Parsed::NotOurs));
    }
}
