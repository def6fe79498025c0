//! The numeric settings of huge pages: one list, from which their boot words, their files, their checks and what the
//! documentation says of them are taken.
//!
//! A setting is a number of a range, given at boot as `word=`, and read and written at run time in a file of
//! `/sys/kernel/mm/transparent_hugepage`. A value that is not of the range is refused with the range, and changes
//! nothing. A further one is a row here, and a field of [`MmConfig`].
#![forbid(unsafe_code)]

use core::ops::RangeInclusive;

use super::{MmConfig, PromotionThreshold};

#[cfg(test)]
pub(crate) use tests::wrong;

/// Declares the settings.
macro_rules! numbers {
    ($($(#[doc = $doc:literal])* $variant:ident = $word:literal in $file:literal, $low:literal..=$high:expr, or $default:literal;)+) => {
        /// A numeric setting.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Number { $($(#[doc = $doc])* $variant),+ }

        impl Number {
            /// Every setting, in the order of the documentation.
            pub const ALL: &'static [Number] = &[$(Number::$variant),+];

            /// Its word on the command line.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Number::$variant => $word),+ }
            }
            /// The path of its file.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self {
                    $(Number::$variant => concat!("/sys/kernel/mm/transparent_hugepage/", $file)),+
                }
            }
            /// What it means.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Number::$variant => concat!($($doc),*).trim_ascii()),+ }
            }
            /// The permitted values.
            #[must_use]
            pub const fn range(self) -> RangeInclusive<u64> {
                match self { $(Number::$variant => $low..=$high),+ }
            }
            /// The value where none is given.
            #[must_use]
            pub const fn default_value(self) -> u64 {
                match self { $(Number::$variant => $default),+ }
            }
        }
    };
}

/// What Linux takes where it stores an unsigned int.
const MOST: u64 = u32::MAX as u64;

numbers! {
    /// Populated pages at which a reservation is promoted.
    PromotionThreshold = "promotion_threshold" in "promotion_threshold", 1..=512, or 256;
    /// 1: huge pages that hold more zeros than `max_ptes_none` are split where memory is short; 0: they stay.
    ShrinkUnderused = "shrink_underused" in "shrink_underused", 0..=1, or 1;
    /// 1: a read where a write would get a huge page maps a block of zeros; 0: it gets a huge page of its own.
    UseZeroPage = "use_zero_page" in "use_zero_page", 0..=1, or 1;
    /// Most pages of a range without memory of their own, be it nothing or the page of zeros, that khugepaged fills in.
    MaxPtesNone = "max_ptes_none" in "khugepaged/max_ptes_none", 0..=511, or 511;
    /// Most pages of a range that another process may map too, so that khugepaged would make a second copy.
    MaxPtesShared = "max_ptes_shared" in "khugepaged/max_ptes_shared", 0..=512, or 256;
    /// Pages that khugepaged looks at between two sleeps.
    PagesToScan = "pages_to_scan" in "khugepaged/pages_to_scan", 1..=MOST, or 4096;
    /// Milliseconds for which khugepaged sleeps; 0: it does not.
    ScanSleepMillisecs = "scan_sleep_millisecs" in "khugepaged/scan_sleep_millisecs", 0..=MOST, or 10000;
    /// Milliseconds for which khugepaged sleeps after it got no memory for a huge page; 0: it does not.
    AllocSleepMillisecs = "alloc_sleep_millisecs" in "khugepaged/alloc_sleep_millisecs", 0..=MOST, or 60000;
    /// 1: khugepaged compacts memory and has some given back where no block of 2 MiB is free; 0: it goes without.
    Defrag = "defrag" in "khugepaged/defrag", 0..=1, or 1;
}

impl Number {
    /// How many there are.
    pub const COUNT: usize = Number::ALL.len();

    /// The setting of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Number::ALL.iter().copied().find(|number| number.word() == word)
    }

    /// The value that a text gives.
    ///
    /// # Errors
    /// [`OutOfRange`]: the text is no decimal number, or not one of the range.
    pub fn parse(self, text: &str) -> Result<u64, OutOfRange> {
        let value = text.parse().ok().filter(|value| self.range().contains(value));
        value.ok_or(OutOfRange { low: *self.range().start(), high: *self.range().end() })
    }

    /// What khugepaged is given by default.
    pub(super) const fn khugepaged() -> Khugepaged {
        Khugepaged {
            max_ptes_none: Number::MaxPtesNone.default_value(),
            max_ptes_shared: Number::MaxPtesShared.default_value(),
            pages_to_scan: Number::PagesToScan.default_value(),
            scan_sleep_millisecs: Number::ScanSleepMillisecs.default_value(),
            alloc_sleep_millisecs: Number::AllocSleepMillisecs.default_value(),
            defrag: Number::Defrag.default_value(),
        }
    }
}

/// A value that was refused, and the range that it is not of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfRange {
    /// Lowest permitted value.
    pub low: u64,
    /// Highest permitted value.
    pub high: u64,
}

/// Settings of khugepaged, each of the range of its [`Number`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Khugepaged {
    /// [`Number::MaxPtesNone`].
    pub max_ptes_none: u64,
    /// [`Number::MaxPtesShared`].
    pub max_ptes_shared: u64,
    /// [`Number::PagesToScan`].
    pub pages_to_scan: u64,
    /// [`Number::ScanSleepMillisecs`].
    pub scan_sleep_millisecs: u64,
    /// [`Number::AllocSleepMillisecs`].
    pub alloc_sleep_millisecs: u64,
    /// [`Number::Defrag`].
    pub defrag: u64,
}

impl MmConfig {
    /// The value of a numeric setting.
    #[must_use]
    pub fn number(&self, number: Number) -> u64 {
        match number {
            Number::PromotionThreshold => self.promotion_threshold.pages().into(),
            Number::ShrinkUnderused => self.shrink_underused,
            Number::UseZeroPage => self.use_zero_page,
            Number::MaxPtesNone => self.khugepaged.max_ptes_none,
            Number::MaxPtesShared => self.khugepaged.max_ptes_shared,
            Number::PagesToScan => self.khugepaged.pages_to_scan,
            Number::ScanSleepMillisecs => self.khugepaged.scan_sleep_millisecs,
            Number::AllocSleepMillisecs => self.khugepaged.alloc_sleep_millisecs,
            Number::Defrag => self.khugepaged.defrag,
        }
    }

    /// Takes a value, which is of the range.
    pub(super) fn set_number(&mut self, number: Number, value: u64) {
        match number {
            Number::PromotionThreshold => self.promotion_threshold = PromotionThreshold(value as u16),
            Number::ShrinkUnderused => self.shrink_underused = value,
            Number::UseZeroPage => self.use_zero_page = value,
            Number::MaxPtesNone => self.khugepaged.max_ptes_none = value,
            Number::MaxPtesShared => self.khugepaged.max_ptes_shared = value,
            Number::PagesToScan => self.khugepaged.pages_to_scan = value,
            Number::ScanSleepMillisecs => self.khugepaged.scan_sleep_millisecs = value,
            Number::AllocSleepMillisecs => self.khugepaged.alloc_sleep_millisecs = value,
            Number::Defrag => self.khugepaged.defrag = value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, Parsed};

    /// Texts that give no value of the range.
    pub(crate) fn wrong(number: Number) -> Vec<String> {
        let (low, high) = (*number.range().start(), *number.range().end());
        let mut texts: Vec<String> =
            ["", " ", "-", "+", "-1", "1.5", "0x10", "many", "1 2", "18446744073709551616", "9e9"]
                .map(String::from)
                .into();
        texts.extend(low.checked_sub(1).map(|below| below.to_string()));
        texts.extend([(high + 1).to_string(), u64::MAX.to_string(), format!("{high}0")]);
        texts
    }

    /// The defaults are the numbers of the table, and of the range.
    #[test]
    fn defaults() {
        for &number in Number::ALL {
            assert!(number.range().contains(&number.default_value()), "{number:?}");
            assert_eq!(MmConfig::default().number(number), number.default_value(), "{number:?}");
        }
    }

    /// Every boot word takes both ends of its range, is printed back, and changes nothing else.
    #[test]
    fn both_ends_are_taken() {
        for &number in Number::ALL {
            for value in [*number.range().start(), *number.range().end()] {
                let mut config = MmConfig::default();
                assert_eq!(config.parse(number.word(), &value.to_string()), Ok(Parsed::Taken));
                for &other in Number::ALL {
                    let expected = if other == number { value } else { other.default_value() };
                    assert_eq!(config.number(other), expected, "{}={value}", number.word());
                }
                assert!(config.to_string().split(' ').any(|w| w == format!("{}={value}", number.word())));
            }
        }
    }

    /// Every boot word refuses what is too small, too large, empty, garbage or beyond 64 bits, with the range.
    #[test]
    fn all_else_is_refused() {
        for &number in Number::ALL {
            for text in wrong(number) {
                let mut config = MmConfig::default();
                let error = config.parse(number.word(), &text).unwrap_err();
                let (low, high) = (*number.range().start(), *number.range().end());
                let key = number.word();
                assert_eq!(error, ConfigError::Number { key, value: &text, low, high });
                assert_eq!(config.to_string(), MmConfig::default().to_string());
            }
        }
    }
}
