//! Replacing workers while the work goes on: used up, asked to be replaced, too many.

use crate::play::*;
use poolctl_engine::{Accounting, Config, Effect, Event, Outcome};

#[test]
fn a_worker_gets_no_more_than_its_share_of_items() {
    let mut pool = Pool::new(Config { max_tasks: Some(2), ..warm(1) });
    pool.tell_all([Event::Items(9), ready_as(0, 0, ahead(1, Accounting::InOrder))]);

    assert_eq!(pool.tell(finished(0, 0, 1)), [settle(0, 1, Outcome::Ok, 1), dispatch(0, 0, 1, 1)]);
    let last = pool.tell(finished(0, 0, 1));
    let next = pool.tell(exited(0, 0));

    assert_eq!(last, [settle(1, 1, Outcome::Ok, 1), Effect::CloseInput(worker(0, 0))]);
    assert_eq!(next, [reap(0, 0), Effect::Spawn(worker(0, 1))]);
}

#[test]
fn quick_items_do_not_exceed_the_share_either() {
    let mut pool = Pool::new(Config { max_tasks: Some(3), ..warm(1) });
    pool.tell_all([Event::Items(900), ready(0, 0)]);

    let effects = pool.tell(finished(0, 0, 1));

    assert_eq!(effects, [settle(0, 1, Outcome::Ok, 1), dispatch(0, 0, 1, 2)]);
}

#[test]
fn a_worker_that_asks_for_it_is_drained_and_replaced() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(2), ready_as(0, 0, ahead(1, Accounting::InOrder))]);

    assert_eq!(pool.tell(Event::Retire(worker(0, 0))), []);
    let last = pool.tell(finished(0, 0, 1));
    let next = pool.tell(exited(0, 0));

    assert_eq!(last, [settle(0, 1, Outcome::Ok, 1), Effect::CloseInput(worker(0, 0))]);
    assert_eq!(next, [reap(0, 0), Effect::Spawn(worker(0, 1))]);
}

#[test]
fn a_worker_that_dies_while_draining_is_held_to_account() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(1), ready_as(0, 0, ahead(1, Accounting::InOrder))]);
    pool.tell(Event::Retire(worker(0, 0)));

    let effects = pool.tell(exited(0, 0));

    assert_eq!(effects, [settle(0, 1, Outcome::WorkerDied, 1), reap(0, 0)]);
}

#[test]
fn surplus_workers_drain_when_there_are_fewer_slots() {
    let mut pool = Pool::new(warm(3));
    pool.tell(Event::Items(2));
    pool.tell_all([ready(0, 0), ready(1, 0)]);
    pool.wait(SECOND);
    pool.tell(finished(1, 0, 1));
    pool.tell(Event::Items(9));

    let fewer = pool.tell(Event::Resize(1));
    let drained = pool.tell(finished(1, 0, 1));
    let gone = pool.tell(exited(1, 0));

    assert_eq!(fewer, [Effect::Terminate(worker(2, 0))]);
    assert_eq!(drained, [settle(2, 1, Outcome::Ok, 1), Effect::CloseInput(worker(1, 0))]);
    assert_eq!(gone, [reap(1, 0)]);
}

#[test]
fn a_slot_that_comes_back_goes_on_counting_its_lives() {
    let mut pool = Pool::new(warm(2));
    pool.tell_all([Event::Items(9), ready(0, 0), Event::Resize(1), exited(1, 0)]);

    let effects = pool.tell(Event::Resize(2));

    assert_eq!(effects, [Effect::Spawn(worker(1, 1))]);
}

#[test]
fn more_slots_are_used_at_once() {
    let mut pool = Pool::new(warm(1));
    pool.tell(Event::Items(9));

    assert_eq!(pool.tell(Event::Resize(3)), [1, 2].map(|slot| Effect::Spawn(worker(slot, 0))));
    assert_eq!(pool.tell(Event::Resize(0)), [1, 2].map(|slot| Effect::Terminate(worker(slot, 0))));
}
