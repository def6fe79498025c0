//! The table, row by row, and the documents that show it.

mod rows;
mod shown;
