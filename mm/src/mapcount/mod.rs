//! Room 4: mapcount. stub (E)
