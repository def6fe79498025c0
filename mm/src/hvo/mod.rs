//! Room 10: hvo. stub (G)
/// state
pub struct Hvo;
