//! What must not be done to a live table, one thing a file, each with the sentence that stops it.
//!
//! The model (`arch::model`) looks at every descriptor store, TLBI, barrier, access and freed frame, and panics where
//! the architecture gives no promise. A test here is a litmus test: it is stopped, by this sentence and no other, under
//! every seed; a race is found within a stated number of seeds. `tests/good` has the legal twins.
#![forbid(unsafe_code, unstable_features)]

use tests::litmus::{check_folder, refused, refused_within};

macro_rules! bad {
    (always { $($always:ident)* } within $seeds:literal seeds { $($race:ident)* }) => {
        $(mod $always;)*
        $(mod $race;)*
        $(#[test] fn $always() { refused($always::SENTENCE, $always::run); })*
        $(#[test] fn $race() { refused_within($seeds, $race::SENTENCE, $race::run); })*
        const LISTED: &[&str] = &[$(stringify!($always),)* $(stringify!($race),)*];
    };
}

bad! {
    always {
        access_flag_lost
        alias_origin_written_before_the_flush
        alias_written_before_the_flush
        asid_flush_for_a_global_page
        asid_flush_for_a_kernel_table
        asid_of_a_freed_root
        asid_reused_with_a_local_flush
        asid_reused_without_flush
        asid_too_wide
        block_made_over_held_pages
        block_split_and_used_before_the_flush
        block_split_at_bbm_0
        block_split_at_bbm_1_without_nt
        block_split_before_nt_was_flushed
        block_split_with_other_rights
        asid_of_the_same_root_left
        break_with_a_local_flush
        break_without_flush
        child_changed_under_a_broken_table
        contiguous_bit_cleared_on_one_member
        contiguous_bit_set_on_one_member
        contiguous_bit_set_with_a_right
        contiguous_group_flushed_by_one_page
        contiguous_group_of_two_types
        contiguous_group_unaligned
        contiguous_group_with_a_hole
        contiguous_member_freed
        contiguous_member_moved
        dirty_state_lost
        dsb_by_another_vcpu
        dsb_ishst_after_the_tlbi
        dsb_nsh_after_a_broadcast
        dsb_nsh_before_a_broadcast
        equal_table_freed_before_the_flush
        flush_before_the_break
        global_page_over_a_live_private_one
        global_page_over_a_stale_private_one
        kernel_page_published_after_dsb_nsh
        kernel_page_published_before_the_dsb
        kernel_page_used_without_dsb
        kernel_page_used_without_isb
        lock_order
        memory_type_changed
        moved_in_a_root_that_was_left
        moved_over_an_unflushed_migration_entry
        moved_to_other_bytes
        moved_while_held_writable
        moved_with_access_flag_clear
        moved_with_dbm
        neighbour_of_a_flushed_page_freed
        no_dsb_after_the_tlbi
        no_dsb_before_the_tlbi
        nt_block_used_by_the_kernel
        page_freed_before_the_flush
        page_freed_while_mapped
        page_inside_a_block_freed
        page_made_a_table_before_the_flush
        page_of_a_left_root_freed
        page_under_an_unlinked_table_freed
        page_under_an_unlinked_table_walked_again
        page_zeroed_before_the_flush
        private_page_made_global
        range_one_page_short
        right_given_and_used_before_the_flush
        right_taken_and_never_flushed
        root_freed_while_installed
        root_installed_before_the_break_is_visible
        shareability_changed
        shared_page_copied_without_break
        shared_page_left_writable
        shared_page_reused
        sleep_under_a_spinlock
        sleeping_lock_order
        table_in_a_contiguous_group
        table_folded_at_bbm_0
        table_folded_with_a_stranger
        table_freed_after_a_flush_of_leaves
        table_freed_before_the_flush
        table_replaced_by_another
        table_replaced_under_hw_updates
        table_written_as_memory
        table_zeroed_before_the_flush
        tlbi_of_leaves_where_a_table_left
        tlbi_of_one_of_two_asids
        tlbi_of_the_wrong_address
        tlbi_of_the_wrong_asid
        tlbi_range_not_aligned
        tlbi_with_the_level_of_the_table
        tlbi_with_the_wrong_level
        unmapped_and_never_flushed
        user_memory_under_a_spinlock
        vmemmap_page_freed_before_the_flush
        vmemmap_page_restored_in_one_store
        vmemmap_page_shared_while_writable
        writable_page_moved
    }
    within 64 seeds {
        store_after_write_protect
        store_to_somebody_elses_page
        copied_before_the_break
        folio_split_after_a_look
        made_by_another_vcpu_too_soon
        shared_page_not_flushed
        shared_page_reused_before_the_flush
        tail_held_by_its_old_head
    }
}

/// The folder holds these files and no others, each short and with its drawing.
#[test]
fn every_file_is_listed() {
    check_folder("bad", LISTED);
}
