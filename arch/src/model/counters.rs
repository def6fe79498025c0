//! How often the machine was asked for what; a test compares two readings.

use std::sync::atomic::{AtomicU64, Ordering};

use super::bind::current;
use crate::contract::{FlushScope, Tlbi};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A reading of the counters of a machine, all vCPUs together.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// What was counted between `earlier` and this reading.
            #[must_use]
            pub fn since(&self, earlier: &Counters) -> Counters {
                Counters { $($name: self.$name - earlier.$name,)* }
            }
        }

        /// The counters themselves.
        #[derive(Default)]
        pub(super) struct Tally {
            $(pub(super) $name: AtomicU64,)*
        }

        impl Tally {
            fn read(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Descriptors stored, by `write_desc` and successful `cas_desc`.
    desc_stores,
    /// TLBIs by address.
    tlbi_va,
    /// TLBIs by range.
    tlbi_range,
    /// TLBIs by ASID.
    tlbi_asid,
    /// TLBIs of everything.
    tlbi_all,
    /// TLBIs of any kind that were broadcast.
    tlbi_broadcast,
    /// TLBIs of any kind that reached only their own vCPU.
    tlbi_local,
    /// TLBIs issued while an earlier store over a valid descriptor had not been followed by a DSB: they
    /// do not remove what was made from that descriptor.
    tlbi_unordered,
    /// DSBs of any kind.
    dsb,
    /// ISBs.
    isb,
    /// Translations, whatever came of them.
    translations,
    /// Translations for which something else was chosen than what the tables said.
    stale_used,
}

impl Tally {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_tlbi(&self, op: Tlbi, scope: FlushScope) {
        Self::add(match op {
            Tlbi::Va { .. } => &self.tlbi_va,
            Tlbi::Range { .. } => &self.tlbi_range,
            Tlbi::Asid(_) => &self.tlbi_asid,
            Tlbi::All => &self.tlbi_all,
        });
        Self::add(match scope {
            FlushScope::Broadcast => &self.tlbi_broadcast,
            FlushScope::Local => &self.tlbi_local,
        });
    }
}

/// The counters of the current machine.
#[must_use]
pub fn counters() -> Counters {
    current(|state, _| state.tally.read())
}
