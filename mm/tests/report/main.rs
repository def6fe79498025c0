//! Reports in Linux's formats: the text as its tools read it, and the values against a scan of all tables.

mod kit;
mod moving;
mod races;
mod schemes;
mod text;
mod values;
mod words;
