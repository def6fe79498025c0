//! Four vCPUs in one space: one disturbs it, one changes it by calls, and two access it; the disturber goes on as long
//! as they do, and the changes are spread over that time.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arch::{Cpu, Machine};

use super::area::{Area, Kind};
use super::home::{Home, Inside};
use super::memory::Memory;
use super::object::Book;
use super::stage::{CPUS, Stage};
use super::view::View;
use crate::testkit::Random;

/// Where the memory begins.
pub(super) const BASE: u64 = 0x4000_0000;
/// Looks at most until it is time for a change.
const LOOKS: usize = 2000;

/// What is done in the space.
pub(super) trait Contest {
    /// Pages of its memory.
    const PAGES: usize;
    /// Huge pages that are spoilt for others before.
    const SPOILT: usize;
    /// Accesses of each of the two that access.
    const ACCESSES: usize;
    /// Changes, spread over the time of the accesses.
    const CHANGES: usize;
    /// Turns of the disturber at most; it ends with the accesses.
    const TURNS: usize;
    /// What the disturber, and each of the two, has in hand from one turn to the next.
    type Held: Default;

    /// What it maps of an object.
    fn views(_: &Arc<Book>) -> Vec<View> {
        Vec::new()
    }
    /// The page of the next access.
    fn page(random: &mut Random) -> usize;
    /// One turn of the disturber.
    fn disturb(stage: &Stage<'_>, inside: &Inside<'_>, held: &mut Self::Held, random: &mut Random);
    /// One change.
    fn change(stage: &Stage<'_>, inside: &Inside<'_>, random: &mut Random);
    /// What one of the two does between its accesses.
    fn between(_: &Stage<'_>, _: &Inside<'_>, _: &mut Self::Held, _: &mut Random) {}
    /// Gives up what is in hand.
    fn let_go(_: &Stage<'_>, _: &mut Self::Held, _: &mut Random) {}
    /// When all have ended, before the space does.
    fn end(stage: &Stage<'_>);
}

/// Plays it.
pub(super) fn play<C: Contest>(stage: &Stage<'_>, random: &mut Random) {
    stage.spoil(C::SPOILT);
    let book = Arc::new(Book::new(stage.mm));
    let areas = vec![Area::new(Kind::Anon, BASE, C::PAGES)];
    let homes = vec![Home::with_views(stage.mm, areas, C::views(&book))];
    let (home, made) = (&homes[0], AtomicUsize::new(0));
    let nothing = stage.know_nothing(&homes);
    let all = (CPUS - 2) * C::ACCESSES;
    let job = |mut memories: Vec<Vec<Memory>>, mut random: Random| {
        let Some(inside) = home.enter(stage) else { panic!("the only home is closed") };
        let mut held = C::Held::default();
        match Machine::id().index() {
            0 => {
                for _ in (0..C::TURNS).take_while(|_| made.load(Ordering::SeqCst) < all) {
                    C::disturb(stage, &inside, &mut held, &mut random);
                }
            }
            1 => {
                for n in 0..C::CHANGES {
                    wait(&made, n * all / C::CHANGES);
                    C::change(stage, &inside, &mut random);
                }
            }
            _ => {
                for _ in 0..C::ACCESSES {
                    let page = C::page(&mut random);
                    inside.access(stage.mm, &mut memories[0], &mut random, 0, page);
                    C::between(stage, &inside, &mut held, &mut random);
                    made.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        C::let_go(stage, &mut held, &mut random);
        stage.go(inside);
        memories
    };
    let mut memories = stage.on_all_cpus(random, nothing, job);
    C::end(stage);
    stage.close(homes, &mut memories);
    Book::close(book, stage.mm);
}

/// Waits until so many accesses are made, but not for long.
fn wait(made: &AtomicUsize, accesses: usize) {
    (0..LOOKS).take_while(|_| made.load(Ordering::SeqCst) < accesses).for_each(|_| Machine::relax());
}
