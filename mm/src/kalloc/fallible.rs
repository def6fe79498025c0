//! The allocator that collections of `mm` name.

use core::alloc::Layout;
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator, Global};

use super::inject;

/// The global heap, but a test can make any allocation fail. `allocator_api2`'s `Vec<T, KAlloc>` and
/// `Box<T, KAlloc>` are used by their `try_` functions only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KAlloc;

// SAFETY: `Allocator` asks that
// 1. blocks stay valid until they are deallocated, and for as long as any clone of the allocator lives: they are
//    the blocks of `Global`, which has no state;
// 2. a block of one clone may be freed by another: likewise.
unsafe impl Allocator for KAlloc {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if inject::denied() {
            return Err(AllocError);
        }
        Global.allocate(layout).inspect(|_| inject::block_taken())
    }

    unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        inject::block_given();
        // SAFETY: 1. the block is one of `Global`'s, as all of this allocator's are; 2. the layout fits, as
        // the caller answers for.
        unsafe { Global.deallocate(ptr, layout) }
    }
}
