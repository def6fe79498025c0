//! Room 2: buddy. stub (D)
