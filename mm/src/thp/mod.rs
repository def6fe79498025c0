//! Room 8: thp. stub (F)
/// state
pub struct Thp;
/// per space
pub struct SpaceReservations;
