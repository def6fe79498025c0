//! At the limit of what can be counted.

use crate::config::{HvoStrategy, Mapcount};
use crate::hugetlb::HugeSize;
use crate::hugetlb::hgm::ContinueError;
use crate::page::MOST_REFERENCES;
use crate::space::{Advice, Errno, MapFlags, MapProt, MmapRequest};
use crate::testkit::Builder;

/// A page with as many references as can be counted is mapped by no entry more: continuing it is EFAULT, a touch
/// SIGBUS, collapse EAGAIN; no count wraps, and nothing has changed.
#[test]
fn a_full_page_is_mapped_no_more() {
    let size = HugeSize::M2;
    let choices = |config: &mut crate::config::MmConfig| {
        (config.mapcount, config.hvo) = (Mapcount::RfcV2, HvoStrategy::Off);
    };
    Builder::new().ram_mib(32).config(choices).boot(|mm, _| {
        assert_eq!(mm.hugetlb.set_nr(mm, size, 1).persistent, 1);
        let space = mm.new_space().unwrap();
        let rw = MapProt::READ | MapProt::WRITE;
        let flags = MapFlags::SHARED | MapFlags::ANONYMOUS | MapFlags::HUGETLB;
        let start =
            mm.mmap(&space, &MmapRequest { flags, ..MmapRequest::anonymous(size.bytes(), rw) }).unwrap();
        mm.write_user(&space, start, &[1]).unwrap();
        mm.madvise(&space, start.raw(), size.bytes(), Advice::Split).unwrap();
        mm.madvise(&space, start.raw(), size.bytes(), Advice::DontNeed).unwrap();
        mm.continue_huge(&space, start..start.add(4096)).1.unwrap();
        let head =
            crate::pgtable::normal_folio(mm, space.ptl.lock().last(start).desc, arch::Level::L3).unwrap();
        let references = head.refcount();
        head.set_refcount(MOST_REFERENCES);
        let (done, refused) = mm.continue_huge(&space, start.add(4096)..start.add(8192));
        assert_eq!((done, refused), (0, Err(ContinueError::Full(head.pfn()))));
        assert_eq!(refused.unwrap_err().errno(), Errno::Fault);
        let touch = mm.write_user(&space, start.add(8192), &[1]).unwrap_err();
        assert_eq!(touch.signal(), crate::fault::Signal::Bus);
        let collapse = mm.madvise(&space, start.raw(), size.bytes(), Advice::Collapse).unwrap_err();
        assert_eq!(collapse.errno(), Errno::Again);
        assert_eq!((head.refcount(), head.raw_mapcount()), (MOST_REFERENCES, 1));
        head.set_refcount(references);
        mm.check_all().unwrap();
        mm.destroy_space(&space);
        assert_eq!(mm.hugetlb.set_nr(mm, size, 0).persistent, 0);
    });
}
