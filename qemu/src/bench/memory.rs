//! How much memory of the computer machines may take side by side.

use std::sync::{Condvar, Mutex, PoisonError};

/// Memory of the computer that machines may take, in bytes.
pub(super) struct Memory {
    free: Mutex<u64>,
    given: Condvar,
    all: u64,
}

/// What a machine has taken; given back when it is dropped.
pub(super) struct Share<'m>(&'m Memory, u64);

impl Memory {
    /// What Linux says is available; where nothing is said, there is enough for any number of machines.
    pub(super) fn of_computer() -> Memory {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Memory::new(kib.map_or(u64::MAX, |kib| kib << 10))
    }

    fn new(bytes: u64) -> Memory {
        Memory { free: Mutex::new(bytes), given: Condvar::new(), all: bytes }
    }

    /// Waits until there is so much. A machine that wants more than there ever was has all of it.
    pub(super) fn take(&self, bytes: u64) -> Share<'_> {
        let bytes = bytes.min(self.all);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < bytes {
            free = self.given.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= bytes;
        Share(self, bytes)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += self.1;
        self.0.given.notify_all();
    }
}

/// `512M` in bytes; the options have been checked.
pub(super) fn bytes(mem: &str) -> u64 {
    let (number, unit) = mem.split_at(mem.trim_end_matches(|c: char| !c.is_ascii_digit()).len());
    let shift = match unit {
        "K" => 10,
        "G" => 30,
        _ => 20,
    };
    number.parse::<u64>().unwrap_or(0) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Machines wait for memory; one that wants more than there is has all, alone.
    #[test]
    fn memory_is_shared_out() {
        assert_eq!(["512M", "12G", "64K"].map(bytes), [512 << 20, 12 << 30, 64 << 10]);
        let memory = Memory::new(100);
        let (first, second) = (memory.take(60), memory.take(40));
        assert_eq!(*memory.free.lock().unwrap(), 0);
        drop(first);
        assert_eq!(*memory.free.lock().unwrap(), 60);
        drop(second);
        let all = memory.take(1000);
        assert_eq!(*memory.free.lock().unwrap(), 0);
        drop(all);
        assert_eq!(*memory.free.lock().unwrap(), 100);
    }
}
