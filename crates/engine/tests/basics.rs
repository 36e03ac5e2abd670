//! The plain way: items in, answers out, and what a pool asks for in between.

mod play;

use play::*;
use poolctl_engine::{Config, Effect, Event, Outcome};

#[test]
fn one_item_takes_one_worker_from_its_start_to_its_end() {
    let mut pool = Pool::new(Config { slots: 4, ..Config::default() });

    assert_eq!(pool.tell(Event::Items(1)), [Effect::Spawn(worker(0, 0))]);
    assert_eq!(pool.tell(Event::EndOfInput), []);
    assert_eq!(pool.tell(Event::Spawned(worker(0, 0))), []);
    assert_eq!(pool.tell(ready(0, 0)), [dispatch(0, 0, 0, 1)]);
    assert_eq!(
        pool.tell(finished(0, 0, 1)),
        [settle(0, 1, Outcome::Ok, 1), Effect::CloseInput(worker(0, 0))]
    );
    assert!(pool.engine.is_finished() && !pool.engine.is_quiet());
    assert_eq!(pool.tell(exited(0, 0)), [Effect::Reap(worker(0, 0))]);
    assert!(pool.engine.is_quiet());
}
