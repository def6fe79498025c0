//! What VMAs say of who serves them, against the contexts that there are.
#![forbid(unsafe_code)]

use super::table::SpaceUserfaults;
use crate::check::{Inconsistency, agree};
use crate::space::{AddressSpace, VmaKind};

impl SpaceUserfaults {
    /// Each VMA that is registered is shared hugetlb memory, and its context lives. Whoever asks knows that the VMAs
    /// stay as they are.
    pub(crate) fn check(&self, space: &AddressSpace) -> Result<(), Inconsistency> {
        let mut wrong = [0; 2];
        space.for_each_vma(|vma| {
            let Some(id) = vma.userfault else { return };
            wrong[0] += u64::from(!matches!(vma.kind, VmaKind::HugeShared(..)));
            wrong[1] += u64::from(self.find(id).is_none_or(|context| context.is_ended()));
        });
        agree("registered VMAs of other memory than shared hugetlb", None, 0, wrong[0])?;
        agree("VMAs registered with a context that is gone", None, 0, wrong[1])
    }
}
