//! Items that wait for items which they submitted themselves.

use crate::play::*;
use poolctl_engine::{Accounting, Event, Outcome};

fn waits(slot: u32, returned: u32) -> Event {
    Event::Waits { worker: worker(slot, 0), returned }
}

#[test]
fn a_worker_that_waits_gives_back_what_it_has_not_begun_and_gets_nothing() {
    let mut pool = Pool::new(warm(2));
    pool.tell_all([
        Event::Items(5),
        Event::EndOfInput,
        ready_as(0, 0, ahead(4, Accounting::InOrder)),
        finished(0, 0, 1),
    ]);
    let held = pool.engine.counts().held;
    assert!(held > 1, "{held}");

    let given_back = u32::try_from(held - 1).unwrap();
    assert_eq!(pool.tell(waits(0, given_back)), [], "and it is the only worker there is");
    assert_eq!(pool.engine.counts().held, 1);
    let first = pool.tell(ready_as(1, 0, ahead(9, Accounting::InOrder)));
    let others = pool.tell(finished(1, 0, 1));
    assert_eq!(first.iter().chain(&others).map(dispatched).sum::<u32>(), 3);
}

#[test]
fn a_worker_that_goes_on_or_answers_gets_items_again() {
    for way_on in [Event::GoesOn(worker(0, 0)), finished(0, 0, 1)] {
        let mut pool = Pool::new(warm(1));
        pool.tell_all([Event::Items(40), Event::EndOfInput, ready(0, 0)]);
        pool.tell_all((0..3).map(|_| finished(0, 0, 1)).collect::<Vec<_>>());
        pool.tell(waits(0, 100));
        assert_eq!(pool.engine.counts().held, 1);

        let effects = pool.tell(way_on);

        assert!(effects.iter().any(|effect| dispatched(effect) > 0), "{effects:?}");
    }
}

#[test]
fn what_is_given_back_to_a_pool_that_stops_is_cancelled() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(40), ready(0, 0)]);
    pool.tell_all((0..3).map(|_| finished(0, 0, 1)).collect::<Vec<_>>());
    let held = pool.engine.counts().held;
    pool.tell(Event::Stop(poolctl_engine::Stop::Drain));

    let effects = pool.tell(waits(0, 100));

    let cancelled = effects.iter().filter(|effect| {
        matches!(effect, poolctl_engine::Effect::Settle { outcome: Outcome::Cancelled, .. })
    });
    assert_eq!(cancelled.count() as u64, held - 1);
}
