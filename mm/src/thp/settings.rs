//! Mode and threshold: given at boot, changed at run time by the files
//! `/sys/kernel/mm/transparent_hugepage/{enabled,promotion_threshold}`.
//!
//! Each is one relaxed atomic. A change holds for faults that begin after it; reservations that exist keep their
//! pages, and are measured by the new threshold.
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use super::Thp;
use crate::config::{PromotionThreshold, ThpMode};

/// A setting that was refused. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SettingError {
    /// Not one of the words of [`ThpMode`].
    Mode,
    /// Pages out of [`PromotionThreshold::RANGE`].
    Threshold(u64),
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::Mode => {
                f.write_str("must be one of")?;
                ThpMode::WORDS.iter().try_for_each(|word| write!(f, " {word}"))
            }
            SettingError::Threshold(pages) => {
                let range = PromotionThreshold::RANGE;
                write!(f, "{pages}: must be a number from {} to {}", range.start(), range.end())
            }
        }
    }
}

/// Mode and threshold.
pub(super) struct Settings {
    /// Index in [`ThpMode::ALL`].
    mode: AtomicU8,
    /// Pages.
    threshold: AtomicU16,
}

impl Settings {
    pub(super) const fn new(mode: ThpMode, threshold: PromotionThreshold) -> Self {
        Settings { mode: AtomicU8::new(mode as u8), threshold: AtomicU16::new(threshold.pages()) }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MmConfig;

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
        assert_eq!(error.to_string(), "must be one of never always madvise reserve defer");
        assert_eq!(thp.mode(), last);
    }
}
