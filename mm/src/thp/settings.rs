//! What can be set of huge pages: given at boot, changed at run time by the files of
//! `/sys/kernel/mm/transparent_hugepage`.
//!
//! | file | what |
//! |---|---|
//! | `enabled` | a word of [`ThpMode`] |
//! | `promote` | a word of [`Promote`] |
//! | `reserve_reclaim` | a word of [`ReserveReclaim`] |
//! | all with a number | [`Number`] lists them, with range, default and meaning |
//!
//! Each is one relaxed atomic. A change holds for faults, promotions and scans that begin after it; reservations that
//! exist keep their pages, serve the faults of their ranges in every mode, and are measured by the new threshold, at
//! their next fault and, where that may make some of them ripe, at once by kpromoted ([`super::measure`]). What is refused is refused with what is permitted,
//! and changes nothing.
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::Thp;
use crate::config::{MmConfig, Number, OutOfRange, Promote, ReserveReclaim, ThpMode};

/// A setting that was refused. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SettingError {
    /// None of these words.
    Word(&'static [&'static str]),
    /// Not a number of the range.
    Number(OutOfRange),
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::Word(words) => {
                f.write_str("must be one of")?;
                words.iter().try_for_each(|word| write!(f, " {word}"))
            }
            SettingError::Number(OutOfRange { low, high }) => {
                write!(f, "must be a number from {low} to {high}")
            }
        }
    }
}

/// Words and numbers.
pub(super) struct Settings {
    /// Index in [`ThpMode::ALL`].
    mode: AtomicU8,
    /// Index in [`Promote::ALL`].
    promote: AtomicU8,
    /// Index in [`ReserveReclaim::ALL`].
    reserve_reclaim: AtomicU8,
    /// By index in [`Number::ALL`]; each of its range.
    numbers: [AtomicU64; Number::COUNT],
}

impl Settings {
    /// As booted.
    pub(super) fn new(config: &MmConfig) -> Self {
        let number = |n: usize| AtomicU64::new(config.number(Number::ALL[n]));
        Settings {
            mode: AtomicU8::new(config.thp as u8),
            promote: AtomicU8::new(config.promote as u8),
            reserve_reclaim: AtomicU8::new(config.reserve_reclaim as u8),
            numbers: core::array::from_fn(number),
        }
    }
}

impl Thp {
    /// When anonymous memory is backed by huge pages.
    #[must_use]
    pub fn mode(&self) -> ThpMode {
        ThpMode::ALL[usize::from(self.settings.mode.load(Ordering::Relaxed))]
    }
    /// Changes the mode. Who waits for a mode is woken by [`super::measure::changed`].
    pub fn set_mode(&self, mode: ThpMode) {
        self.settings.mode.store(mode as u8, Ordering::Relaxed);
        self.measure_anew();
    }
    /// Changes the mode to the one that `word` names.
    ///
    /// # Errors
    /// [`SettingError::Word`].
    pub fn set_mode_word(&self, word: &str) -> Result<(), SettingError> {
        self.set_mode(ThpMode::parse(word).ok_or(SettingError::Word(ThpMode::WORDS))?);
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
    /// [`SettingError::Word`].
    pub fn set_reserve_reclaim_word(&self, word: &str) -> Result<(), SettingError> {
        let which = ReserveReclaim::parse(word).ok_or(SettingError::Word(ReserveReclaim::WORDS))?;
        self.settings.reserve_reclaim.store(which as u8, Ordering::Relaxed);
        Ok(())
    }
    /// The value of a numeric setting.
    #[must_use]
    pub fn number(&self, number: Number) -> u64 {
        self.settings.numbers[number as usize].load(Ordering::Relaxed)
    }
    /// Changes a numeric setting to the value that the text gives.
    ///
    /// # Errors
    /// [`SettingError::Number`].
    pub fn set_number(&self, number: Number, text: &str) -> Result<(), SettingError> {
        self.set(number, number.parse(text).map_err(SettingError::Number)?)
    }
    /// Changes a numeric setting.
    ///
    /// # Errors
    /// [`SettingError::Number`].
    pub fn set(&self, number: Number, value: u64) -> Result<(), SettingError> {
        let range = number.range();
        if !range.contains(&value) {
            return Err(SettingError::Number(OutOfRange { low: *range.start(), high: *range.end() }));
        }
        self.settings.numbers[number as usize].store(value, Ordering::Relaxed);
        if number == Number::PromotionThreshold {
            self.measure_anew();
        }
        Ok(())
    }
    /// Populated pages at which a range is promoted, 1..=512.
    #[must_use]
    pub fn threshold(&self) -> u16 {
        self.number(Number::PromotionThreshold) as u16
    }
    /// Changes the threshold, in pages.
    ///
    /// # Errors
    /// [`SettingError::Number`].
    pub fn set_threshold(&self, pages: u64) -> Result<(), SettingError> {
        self.set(Number::PromotionThreshold, pages)
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
    /// [`SettingError::Word`].
    pub fn set_promote_word(&self, word: &str) -> Result<(), SettingError> {
        self.set_promote(Promote::parse(word).ok_or(SettingError::Word(Promote::WORDS))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::wrong;

    /// Every numeric setting takes both ends of its range and refuses, with the range, what is too small, too large,
    /// empty, garbage or beyond 64 bits; what is refused changes nothing, and what is taken nothing else.
    #[test]
    fn every_number_is_checked() {
        let thp = Thp::new(&MmConfig::default()).unwrap();
        let values = || Number::ALL.iter().map(|&number| thp.number(number)).collect::<Vec<_>>();
        assert_eq!(values(), [256, 1, 1, 511, 256, 4096, 10000, 60000, 1]);
        for (n, &number) in Number::ALL.iter().enumerate() {
            let (low, high) = (*number.range().start(), *number.range().end());
            for good in [low, high, number.default_value()] {
                let mut expected = values();
                expected[n] = good;
                assert_eq!(thp.set_number(number, &good.to_string()), Ok(()));
                assert_eq!(values(), expected, "{number:?} = {good}");
            }
            for text in wrong(number) {
                let before = values();
                let error = thp.set_number(number, &text).unwrap_err();
                assert_eq!(error.to_string(), format!("must be a number from {low} to {high}"), "`{text}`");
                assert_eq!(values(), before, "{number:?} = `{text}`");
            }
        }
    }

    /// The threshold as a number: both ends are taken, values beyond are refused and change nothing.
    #[test]
    fn threshold_is_checked() {
        let thp = Thp::new(&MmConfig::default()).unwrap();
        for good in [1, 512, 2] {
            assert_eq!(thp.set_threshold(good), Ok(()));
            assert_eq!(u64::from(thp.threshold()), good);
        }
        for bad in [0, 513, 65537, u64::MAX] {
            let error = thp.set_threshold(bad).unwrap_err();
            assert_eq!(error.to_string(), "must be a number from 1 to 512");
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
        for wrong in ["sometimes", "", "Always", "always never", "1"] {
            let error = thp.set_mode_word(wrong).unwrap_err();
            assert_eq!(error.to_string(), "must be one of never always madvise reserve defer");
            assert_eq!(thp.mode(), last);
        }
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
                (SettingError::Word(Promote::WORDS), "must be one of async sync")
            );
            assert_eq!(thp.promote(), Promote::Async);
        }
        for &promote in Promote::ALL.iter().rev() {
            assert_eq!(thp.set_promote_word(promote.word()), Ok(()));
            assert_eq!(thp.promote(), promote);
        }
    }
}
