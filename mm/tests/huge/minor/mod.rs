//! Minor faults of shared hugetlb memory that somebody else serves: who is told of what, who waits, and who wakes him.

mod grain;
mod refused;
mod served;
mod stage;
mod woken;
