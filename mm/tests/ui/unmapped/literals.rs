//! Neither can be made up from a descriptor.

use core::marker::PhantomData;

use arch::{Desc, Level};
use mm::pgtable::{Displaced, Unmapped};

fn make_up(desc: Desc) {
    let _ = Unmapped { gather: PhantomData };
    let _ = Unmapped::new(desc, Level::L3);
    let _ = Displaced { descs: [desc] };
    let _ = Displaced::new([desc], Level::L3);
}

fn main() {}
