//! Mode, threshold, and who promotes: given at boot, changed at run time by the files
//! `/sys/kernel/mm/transparent_hugepage/{enabled,promotion_threshold,promote}`.
//!
//! Each is one relaxed atomic. A change holds for faults that begin after it; reservations that exist keep their
//! pages, and are measured by the new threshold.
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use super::Thp;
use crate::config::{MmConfig, Promote, PromotionThreshold, ThpMode};

/// A setting that was refused. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SettingError {
    /// Not one of the words of [`ThpMode`].
    Mode,
    /// Not one of the words of [`Promote`].
    Promote,
    /// Pages out of [`PromotionThreshold::RANGE`].
    Threshold(u64),
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::Mode => one_of(f, ThpMode::WORDS),
            SettingError::Promote => one_of(f, Promote::WORDS),
            SettingError::Threshold(pages) => {
                let range = PromotionThreshold::RANGE;
                write!(f, "{pages}: must be a number from {} to {}", range.start(), range.end())
            }
        }
    }
}

fn one_of(f: &mut fmt::Formatter<'_>, words: &[&str]) -> fmt::Result {
    f.write_str("must be one of")?;
    words.iter().try_for_each(|word| write!(f, " {word}"))
}

/// Mode, threshold, and who promotes.
pub(super) struct Settings {
    /// Index in [`ThpMode::ALL`].
    mode: AtomicU8,
    /// Pages.
    threshold: AtomicU16,
    /// Index in [`Promote::ALL`].
    promote: AtomicU8,
}

impl Settings {
    /// As booted.
    pub(super) const fn new(config: &MmConfig) -> Self {
        Settings {
            mode: AtomicU8::new(config.thp as u8),
            threshold: AtomicU16::new(config.promotion_threshold.pages()),
            promote: AtomicU8::new(config.promote as u8),
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
    /// Who promotes a range that reaches the threshold.
    #[must_use]
    pub fn promote(&self) -> Promote {
        Promote::ALL[usize::from(self.settings.promote.load(Ordering::Relaxed))]
    }
    /// Changes who promotes.
    pub fn set_promote(&self, promote: Promote) {
        self.settings.promote.store(promote as u8, Ordering::Relaxed);
    }
    /// Changes who promotes to what `word` names.
    ///
    /// # Errors
    /// [`SettingError::Promote`].
    pub fn set_promote_word(&self, word: &str) -> Result<(), SettingError> {
        self.set_promote(Promote::parse(word).ok_or(SettingError::Promote)?);
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

    /// Both words are taken, any other is refused with them, and changes nothing.
    #[test]
    fn who_promotes_is_checked() {
        let thp = Thp::new(&MmConfig::default()).unwrap();
        assert_eq!(thp.promote(), Promote::Async);
        for bad in ["", "SYNC", "1", "sync ", "never"] {
            let error = thp.set_promote_word(bad).unwrap_err();
            assert_eq!(
                (error, error.to_string().as_str()),
                (SettingError::Promote, "must be one of async sync")
            );
            assert_eq!(thp.promote(), Promote::Async);
        }
        for &promote in Promote::ALL.iter().rev() {
            assert_eq!(thp.set_promote_word(promote.word()), Ok(()));
            assert_eq!(thp.promote(), promote);
        }
    }
}
