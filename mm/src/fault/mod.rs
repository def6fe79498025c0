//! Room 7: faults. stub (E)
