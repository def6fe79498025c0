//! What may be done to a live table, one thing a file: the legal twins of `tests/bad`.
//!
//! A model that refuses too much is as useless as one that lets everything pass. Each test here does what the
//! architecture allows, some of it narrowly, and must pass under every seed.
#![forbid(unsafe_code, unstable_features)]

use tests::litmus::{allowed, check_folder};

macro_rules! good {
    ($($name:ident)*) => {
        $(mod $name;)*
        $(#[test] fn $name() { allowed($name::run); })*
        const LISTED: &[&str] = &[$(stringify!($name),)*];
    };
}

good! {
    access_flag_cleared_without_a_flush
    access_flag_kept_by_cas
    asid_reused_after_a_flush
    asids_keep_roots_apart
    block_split_at_bbm_1_with_nt
    block_split_at_bbm_2
    block_split_at_bbm_3
    block_split_by_break_before_make
    block_split_then_tightened
    bytes_written_before_the_flush
    contiguous_bit_set_at_bbm_1
    contiguous_group_folded
    contiguous_group_made
    contiguous_group_unfolded
    contiguous_group_write_protected
    copied_after_the_break
    dirty_state_kept_by_cas
    each_vcpu_flushes_itself
    folio_split_with_its_count_frozen
    global_page_made_private
    kernel_page_made_and_published
    locks_in_order
    many_stores_under_one_flush
    many_tlbis_under_one_barrier
    memory_mapped_used_and_unmapped
    memory_type_changed_by_break_before_make
    moved_over_a_migration_entry
    page_moved_by_break_before_make
    page_moved_to_equal_bytes
    page_unmapped_flushed_and_freed
    page_with_access_flag_clear_moved
    readers_during_an_alias
    right_given_without_a_flush
    right_taken_away
    root_left_flushed_and_freed
    root_that_only_this_vcpu_has
    shared_page_copied
    shared_page_reused
    software_bits_changed
    table_folded_at_bbm_1_with_nt
    table_folded_at_bbm_2
    table_folded_by_break_before_make
    table_replaced_by_an_equal_one
    table_unlinked_flushed_and_freed
    tail_looked_up_again
    unlinked_table_filled
    vcpu_that_comes_after_the_break
    vmemmap_page_shared_and_restored
    writable_page_aliased
}

/// The folder holds these files and no others, each short and with its drawing.
#[test]
fn every_file_is_listed() {
    check_folder("good", LISTED);
}
