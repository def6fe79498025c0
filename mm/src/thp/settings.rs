//! What can be changed at run time, by the files below `/sys/kernel/mm/transparent_hugepage/`; mode, threshold and which
//! reservations pressure takes are given at boot too.
//!
//! | file | values | default |
//! |---|---|---|
//! | `enabled` | [`ThpMode`] | `thp=` |
//! | `promotion_threshold` | 1..=512 pages | `promotion_threshold=` |
//! | `reserve_reclaim` | [`ReserveReclaim`] | `reserve_reclaim=` |
//! | `shrink_underused` | 0, 1 | 1 |
//! | `khugepaged/max_ptes_none` | 0..=511 pages | 511 |
//!
//! Each is one relaxed atomic. A change holds for faults that begin after it; reservations that exist keep their
//! pages, and are measured by the new threshold.
#![forbid(unsafe_code)]

use core::fmt;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering};

use super::Thp;
use super::popmap::PAGES;
use crate::config::{MmConfig, PromotionThreshold, ReserveReclaim, ThpMode};

/// What [`Thp::max_ptes_none`] may be.
pub const MAX_PTES_NONE: RangeInclusive<u64> = 0..=PAGES as u64 - 1;

/// A setting that was refused. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SettingError {
    /// Not one of the words of [`ThpMode`].
    Mode,
    /// Pages out of [`PromotionThreshold::RANGE`].
    Threshold(u64),
    /// Not one of the words of [`ReserveReclaim`].
    ReserveReclaim,
    /// Pages out of [`MAX_PTES_NONE`].
    MaxPtesNone(u64),
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::Mode => {
                f.write_str("must be one of")?;
                ThpMode::WORDS.iter().try_for_each(|word| write!(f, " {word}"))
            }
            SettingError::ReserveReclaim => {
                f.write_str("must be one of")?;
                ReserveReclaim::WORDS.iter().try_for_each(|word| write!(f, " {word}"))
            }
            SettingError::Threshold(pages) => out_of(f, *pages, &PromotionThreshold::RANGE),
            SettingError::MaxPtesNone(pages) => out_of(f, *pages, &MAX_PTES_NONE),
        }
    }
}

fn out_of(f: &mut fmt::Formatter<'_>, value: u64, range: &RangeInclusive<u64>) -> fmt::Result {
    write!(f, "{value}: must be a number from {} to {}", range.start(), range.end())
}

/// Whether huge pages that hold many zeros are split where memory is short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShrinkUnderused {
    /// They stay.
    Off,
    /// They are, by [`Thp::max_ptes_none`].
    On,
}

/// All settings.
pub(super) struct Settings {
    /// Index in [`ThpMode::ALL`].
    mode: AtomicU8,
    /// Pages.
    threshold: AtomicU16,
    /// Index in [`ReserveReclaim::ALL`].
    reserve_reclaim: AtomicU8,
    shrink_underused: AtomicBool,
    /// Pages.
    max_ptes_none: AtomicU16,
}

impl Settings {
    pub(super) const fn new(config: &MmConfig) -> Self {
        Settings {
            mode: AtomicU8::new(config.thp as u8),
            threshold: AtomicU16::new(config.promotion_threshold.pages()),
            reserve_reclaim: AtomicU8::new(config.reserve_reclaim as u8),
            shrink_underused: AtomicBool::new(true),
            max_ptes_none: AtomicU16::new(*MAX_PTES_NONE.end() as u16),
        }
    }
}

impl Thp {
    /// When anonymous memory is backed by huge pages.
    #[must_use]
    pub fn mode(&self) -> ThpMode {
        ThpMode::ALL[usize::from(self.settings.mode.load(Ordering::Relaxed))]
    }
    /// Changes the mode.
    pub fn set_mode(&self, mode: ThpMode) {
        self.settings.mode.store(mode as u8, Ordering::Relaxed);
    }
    /// Changes the mode to the one that `word` names.
    ///
    /// # Errors
    /// [`SettingError::Mode`].
    pub fn set_mode_word(&self, word: &str) -> Result<(), SettingError> {
        self.set_mode(ThpMode::parse(word).ok_or(SettingError::Mode)?);
        Ok(())
    }
    /// Populated pages at which a range is promoted, 1..=512.
    #[must_use]
    pub fn threshold(&self) -> u16 {
        self.settings.threshold.load(Ordering::Relaxed)
    }
    /// Changes the threshold, in pages.
    ///
    /// # Errors
    /// [`SettingError::Threshold`].
    pub fn set_threshold(&self, pages: u64) -> Result<(), SettingError> {
        let threshold = PromotionThreshold::new(pages).map_err(SettingError::Threshold)?;
        self.settings.threshold.store(threshold.pages(), Ordering::Relaxed);
        Ok(())
    }
    /// Which reservations are given up where memory is short.
    #[must_use]
    pub fn reserve_reclaim(&self) -> ReserveReclaim {
        ReserveReclaim::ALL[usize::from(self.settings.reserve_reclaim.load(Ordering::Relaxed))]
    }
    /// Changes that to what `word` names.
    ///
    /// # Errors
    /// [`SettingError::ReserveReclaim`].
    pub fn set_reserve_reclaim_word(&self, word: &str) -> Result<(), SettingError> {
        let which = ReserveReclaim::parse(word).ok_or(SettingError::ReserveReclaim)?;
        self.settings.reserve_reclaim.store(which as u8, Ordering::Relaxed);
        Ok(())
    }
    /// Whether underused huge pages are split.
    #[must_use]
    pub fn shrink_underused(&self) -> ShrinkUnderused {
        match self.settings.shrink_underused.load(Ordering::Relaxed) {
            false => ShrinkUnderused::Off,
            true => ShrinkUnderused::On,
        }
    }
    /// Changes that.
    pub fn set_shrink_underused(&self, to: ShrinkUnderused) {
        self.settings.shrink_underused.store(to == ShrinkUnderused::On, Ordering::Relaxed);
    }
    /// Pages of zeros that a huge page may hold and stay one where memory is short, 0..=511; 511: any number.
    #[must_use]
    pub fn max_ptes_none(&self) -> u16 {
        self.settings.max_ptes_none.load(Ordering::Relaxed)
    }
    /// Changes that number of pages.
    ///
    /// # Errors
    /// [`SettingError::MaxPtesNone`].
    pub fn set_max_ptes_none(&self, pages: u64) -> Result<(), SettingError> {
        if !MAX_PTES_NONE.contains(&pages) {
            return Err(SettingError::MaxPtesNone(pages));
        }
        self.settings.max_ptes_none.store(pages as u16, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of the range are taken; values beyond are refused with the range and change nothing.
    #[test]
    fn threshold_is_checked() {
        let thp = Thp::new(&MmConfig::default()).unwrap();
        assert_eq!(thp.threshold(), 256);
        for good in [1, 512, 2] {
            assert_eq!(thp.set_threshold(good), Ok(()));
            assert_eq!(u64::from(thp.threshold()), good);
        }
        for bad in [0, 513, 65537, u64::MAX] {
            let error = thp.set_threshold(bad).unwrap_err();
            assert_eq!(error.to_string(), format!("{bad}: must be a number from 1 to 512"));
            assert_eq!(thp.threshold(), 2);
        }
    }

    /// Both words and both ends are taken; others are refused with what is permitted and change nothing.
    #[test]
    fn settings_of_pressure_are_checked() {
        let thp = Thp::new(&MmConfig::default()).unwrap();
        for &which in ReserveReclaim::ALL {
            assert_eq!(thp.set_reserve_reclaim_word(which.word()), Ok(()));
            assert_eq!(thp.reserve_reclaim(), which);
        }
        let error = thp.set_reserve_reclaim_word("some").unwrap_err();
        assert_eq!(error.to_string(), "must be one of all lru");
        assert_eq!(thp.reserve_reclaim(), ReserveReclaim::Lru);
        assert_eq!((thp.shrink_underused(), thp.max_ptes_none()), (ShrinkUnderused::On, 511));
        for good in [0, 511, 409] {
            assert_eq!(thp.set_max_ptes_none(good), Ok(()));
            assert_eq!(u64::from(thp.max_ptes_none()), good);
        }
        let error = thp.set_max_ptes_none(512).unwrap_err();
        assert_eq!(error.to_string(), "512: must be a number from 0 to 511");
        assert_eq!(thp.max_ptes_none(), 409);
    }

    /// Every word names its mode; any other is refused with the words.
    #[test]
    fn mode_is_checked() {
        let thp = Thp::new(&MmConfig::default()).unwrap();
        for &mode in ThpMode::ALL {
            assert_eq!(thp.set_mode_word(mode.word()), Ok(()));
            assert_eq!(thp.mode(), mode);
        }
        let last = thp.mode();
        let error = thp.set_mode_word("sometimes").unwrap_err();
        assert_eq!(error.to_string(), "must be one of never always madvise reserve");
        assert_eq!(thp.mode(), last);
    }
}
