//! The plain way: items in, answers out, and what a pool asks for in between.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::play::*;
use poolctl_engine::{Accounting, Answer, Capacity, Config, Effect, Event, Gate, Outcome};
use poolctl_types::Item;

#[test]
fn one_item_takes_one_worker_from_its_start_to_its_end() {
    let mut pool = Pool::new(warm(4));

    assert_eq!(pool.tell(Event::Items(1)), [Effect::Spawn(worker(0, 0))]);
    assert_eq!(pool.tell(Event::EndOfInput), []);
    assert_eq!(pool.tell(Event::Spawned(worker(0, 0))), []);
    assert_eq!(pool.tell(ready(0, 0)), [dispatch(0, 0, 0, 1)]);
    assert_eq!(
        pool.tell(finished(0, 0, 1)),
        [settle(0, 1, Outcome::Ok, 1), Effect::CloseInput(worker(0, 0))]
    );
    assert!(pool.engine.is_finished() && !pool.engine.is_quiet());
    assert_eq!(pool.tell(exited(0, 0)), [reap(0, 0)]);
    assert!(pool.engine.is_quiet());
}

#[test]
fn an_empty_input_starts_nobody() {
    let mut pool = Pool::new(warm(4));

    assert_eq!(pool.tell(Event::EndOfInput), []);

    assert!(pool.engine.is_quiet());
    assert_eq!(pool.engine.next_deadline(), None);
}

#[test]
fn no_more_workers_are_started_than_there_are_items() {
    let mut pool = Pool::new(warm(8));

    let effects = pool.tell(Event::Items(3));

    assert_eq!(effects, [0, 1, 2].map(|slot| Effect::Spawn(worker(slot, 0))));
}

#[test]
fn no_more_workers_are_started_than_there_are_slots() {
    let mut pool = Pool::new(warm(2));

    let effects = pool.tell_all([Event::Items(3), Event::Items(100)]);

    assert_eq!(effects, [0, 1].map(|slot| Effect::Spawn(worker(slot, 0))));
}

#[test]
fn a_worker_that_nobody_needs_any_more_is_ended_before_its_hello() {
    let mut pool = Pool::new(warm(2));
    pool.tell_all([Event::Items(2), Event::EndOfInput, ready(0, 0), finished(0, 0, 1)]);

    let effects = pool.tell(finished(0, 0, 1));

    let ends = [Effect::CloseInput(worker(0, 0)), Effect::Terminate(worker(1, 0))];
    assert_eq!(effects, [vec![settle(1, 1, Outcome::Ok, 1)], ends.to_vec()].concat());
}

#[test]
fn finished_items_are_settled_by_ranges() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(10_000), ready(0, 0)]);
    pool.wait(Duration::from_micros(1));

    let effects = pool.tell(finished(0, 0, 1));

    let next = [1, 5, 9].map(|first| dispatch(0, 0, first, 4));
    assert_eq!(effects, [vec![settle(0, 1, Outcome::Ok, 1)], next.to_vec()].concat());
    pool.wait(Duration::from_micros(6));
    assert_eq!(pool.tell(finished(0, 0, 6))[0], settle(1, 6, Outcome::Ok, 1));
}

#[test]
fn chunks_grow_while_items_are_quick() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(100_000), ready(0, 0)]);
    let mut sizes = Vec::new();

    let mut held = 1;
    for _ in 0..6 {
        pool.wait(Duration::from_nanos(200) * held);
        let effects = pool.tell(finished(0, 0, held));
        held = effects.iter().map(dispatched).sum();
        sizes.push(effects.iter().map(dispatched).max().expect("there are effects"));
    }

    assert_eq!(sizes, [4, 16, 64, 256, 1_024, 4_096]);
}

#[test]
fn slow_items_are_not_hoarded() {
    let mut pool = Pool::new(warm(2));
    pool.tell_all([Event::Items(50), Event::EndOfInput, ready(0, 0), ready(1, 0)]);

    for round in 0..24 {
        pool.wait(SECOND);
        let first = 2 + 2 * round;
        let first_effects = [settle(first - 2, 1, Outcome::Ok, 1), dispatch(0, 0, first, 1)];
        assert_eq!(pool.tell(finished(0, 0, 1)), first_effects);
        let second_effects = [settle(first - 1, 1, Outcome::Ok, 1), dispatch(1, 0, first + 1, 1)];
        assert_eq!(pool.tell(finished(1, 0, 1)), second_effects);
    }
}

#[test]
fn nothing_is_prefetched_while_another_worker_is_on_its_way_and_would_go_empty() {
    let mut pool = Pool::new(warm(2));
    pool.tell_all([Event::Items(2), Event::InputIdle]);
    pool.tell(ready(0, 0));
    pool.wait(Duration::from_micros(300));
    pool.tell(Event::Items(1));

    assert_eq!(pool.tell(finished(0, 0, 1)), [settle(0, 1, Outcome::Ok, 1), dispatch(0, 0, 1, 1)]);
    assert_eq!(pool.tell(ready(1, 0)), [dispatch(1, 0, 2, 1)]);
}

/// How many items worker 0 is given while the input flows and worker 1, which holds one, answers a hundred times.
fn given_to_a_stuck_worker(pool: &mut Pool) -> u32 {
    let mut theirs = 1;
    let mut given = 0;
    for _ in 0..100 {
        pool.wait(Duration::from_micros(1) * theirs);
        let effects = pool.tell_all([finished(1, 0, theirs), Event::Items(100)]);
        theirs = dispatched_to(1, &effects);
        given += dispatched_to(0, &effects);
    }
    given
}

#[test]
fn nothing_is_put_behind_the_first_item_of_a_worker() {
    let mut pool = Pool::new(warm(2));
    pool.tell_all([Event::Items(20_000), ready(0, 0), ready(1, 0)]);

    assert_eq!(given_to_a_stuck_worker(&mut pool), 0);
}

#[test]
fn nothing_is_put_behind_an_item_that_takes_longer_than_a_chunk_should() {
    let mut pool = Pool::new(warm(2));
    pool.tell_all([Event::Items(20_000), ready(0, 0), ready(1, 0)]);
    pool.wait(MILLI);
    pool.tell(finished(0, 0, 1));
    pool.wait(2 * MILLI);

    assert_eq!(given_to_a_stuck_worker(&mut pool), 0);
}

#[test]
fn towards_the_end_chunks_shrink() {
    let mut pool = Pool::new(warm(2));
    pool.tell_all([Event::Items(30_000), Event::EndOfInput, ready(0, 0), ready(1, 0)]);
    let mut held = [1_u32, 1];
    let mut sizes = Vec::new();

    while pool.engine.counts().queued > 0 {
        for slot in [0, 1] {
            let done = held[slot as usize].div_ceil(3);
            pool.wait(Duration::from_nanos(250) * done);
            let effects = pool.tell(finished(slot, 0, done));
            held[slot as usize] += effects.iter().map(dispatched).sum::<u32>();
            held[slot as usize] -= done;
            sizes.extend(effects.iter().map(dispatched).filter(|count| *count > 0));
        }
    }

    assert!(sizes.iter().max() > Some(&1_000), "{sizes:?}");
    let tail: u32 = sizes.iter().rev().take(6).sum();
    assert!(tail <= 12, "the last chunks are small: {sizes:?}");
}

#[test]
fn a_filter_is_topped_up_when_half_its_window_is_free() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(100_000), ready_as(0, 0, ahead(64, Accounting::Unknown))]);
    let mut held = 1;
    for _ in 0..6 {
        pool.wait(Duration::from_nanos(250) * held);
        held = pool.tell(finished(0, 0, held)).iter().map(dispatched).sum();
    }
    assert_eq!(held, 64);

    pool.wait(Duration::from_micros(8));
    let early = pool.tell(finished(0, 0, 31));
    let half = pool.tell(finished(0, 0, 1));

    assert_eq!(early.iter().map(dispatched).sum::<u32>(), 0);
    assert_eq!(half.iter().map(dispatched).collect::<Vec<_>>(), [0, 32]);
}

#[test]
fn a_busy_worker_waits_for_a_full_chunk_until_the_input_pauses() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(1), ready(0, 0)]);
    pool.wait(Duration::from_micros(1));
    pool.tell_all([finished(0, 0, 1), Event::Items(1)]);

    assert_eq!(pool.tell(Event::Items(2)), []);
    assert_eq!(pool.tell(Event::InputIdle), [dispatch(0, 0, 2, 2)]);
}

#[test]
fn a_worker_that_works_on_all_at_once_is_filled_up_and_answers_in_any_order() {
    let mut pool = Pool::new(warm(1));
    pool.tell(Event::Items(5));

    let filled = pool.tell(ready_as(0, 0, ahead(3, Accounting::Mux)));
    let answer = pool.tell(answered(0, 0, 1, Answer::Ok));

    assert_eq!(filled, [0, 1, 2].map(|item| dispatch(0, 0, item, 1)));
    assert_eq!(answer, [settle(1, 1, Outcome::Ok, 1), dispatch(0, 0, 3, 1)]);
}

#[test]
fn nothing_is_dispatched_beyond_the_window_and_retries_are() {
    let mut pool = Pool::new(Config { window: 2, retries: 1, ..warm(3) });
    pool.tell(Event::Items(9));
    pool.tell_all([ready(0, 0), ready(1, 0)]);

    assert_eq!(pool.tell(finished(1, 0, 1)), [settle(1, 1, Outcome::Ok, 1)]);
    assert_eq!(
        pool.tell(answered(0, 0, 0, Answer::Failed)),
        [retry(0, 2, Outcome::Failed), again(0, 0, 0, 2)]
    );
    let effects = pool.tell(answered(0, 0, 0, Answer::Ok));
    let next = [dispatch(0, 0, 2, 1), dispatch(1, 0, 3, 1)];
    assert_eq!(effects, [vec![settle(0, 1, Outcome::Ok, 2)], next.to_vec()].concat());
}

#[test]
fn a_closed_gate_holds_back_new_items_and_lets_retries_pass() {
    let mut pool = Pool::new(Config { retries: 1, ..warm(1) });
    pool.tell_all([Event::Items(2), ready(0, 0), Event::Gate(Gate::Closed)]);

    let failed = pool.tell(answered(0, 0, 0, Answer::Failed));
    let ok = pool.tell(finished(0, 0, 1));
    let open = pool.tell(Event::Gate(Gate::Open));

    assert_eq!(failed, [retry(0, 2, Outcome::Failed), again(0, 0, 0, 2)]);
    assert_eq!(ok, [settle(0, 1, Outcome::Ok, 2)]);
    assert_eq!(open, [dispatch(0, 0, 1, 1)]);
}

#[test]
fn failed_items_are_tried_again_as_often_as_asked_and_no_more() {
    let mut pool = Pool::new(Config { retries: 2, ..warm(1) });
    pool.tell_all([Event::Items(1), ready(0, 0)]);
    let failed = || answered(0, 0, 0, Answer::Failed);

    assert_eq!(pool.tell(failed()), [retry(0, 2, Outcome::Failed), again(0, 0, 0, 2)]);
    assert_eq!(pool.tell(failed()), [retry(0, 3, Outcome::Failed), again(0, 0, 0, 3)]);
    assert_eq!(pool.tell(failed()), [settle(0, 1, Outcome::Failed, 3)]);
    assert_eq!(pool.engine.counts().retried, 2);
}

#[test]
fn an_item_that_failed_for_good_is_not_tried_again() {
    let mut pool = Pool::new(Config { retries: 2, ..warm(1) });
    pool.tell_all([Event::Items(1), ready(0, 0)]);

    let effects = pool.tell(answered(0, 0, 0, Answer::FailedForGood));

    assert_eq!(effects, [settle(0, 1, Outcome::Failed, 1)]);
}

#[test]
fn a_retry_waits_for_its_delay() {
    let mut pool = Pool::new(Config { retries: 1, retry_delay: SECOND, ..warm(1) });
    pool.tell_all([Event::Items(1), ready(0, 0)]);

    assert_eq!(pool.tell(answered(0, 0, 0, Answer::Failed)), [retry(0, 2, Outcome::Failed)]);
    assert_eq!(pool.patience(), Some(SECOND));
    assert_eq!(pool.tick_after(SECOND - MILLI), []);
    assert_eq!(pool.tick_after(MILLI), [again(0, 0, 0, 2)]);
}

#[test]
fn starts_of_items_keep_their_distance() {
    let mut pool = Pool::new(Config { delay: SECOND, ..warm(2) });
    pool.tell(Event::Items(3));

    assert_eq!(pool.tell(ready(0, 0)), [dispatch(0, 0, 0, 1)]);
    assert_eq!(pool.tell(ready(1, 0)), []);
    assert_eq!(pool.tell(finished(0, 0, 1)), [settle(0, 1, Outcome::Ok, 1)]);
    assert_eq!(pool.patience(), Some(SECOND));
    assert_eq!(pool.tick_after(SECOND), [dispatch(0, 0, 1, 1)]);
    assert_eq!(pool.tick_after(SECOND), [dispatch(1, 0, 2, 1)]);
}

#[test]
fn a_deadline_is_kept_although_other_news_comes_after_it() {
    let mut pool = Pool::new(Config { delay: SECOND, ..warm(2) });
    pool.tell_all([Event::Items(3), ready(0, 0), ready(1, 0)]);
    pool.wait(SECOND);

    let old = pool.tell(finished(1, 7, 1));

    assert_eq!(old, []);
    assert_eq!(pool.patience(), Some(Duration::ZERO));
    assert_eq!(pool.tell(Event::Tick), [dispatch(1, 0, 1, 1)]);
}

#[test]
fn news_of_an_earlier_life_is_ignored() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(3), ready(0, 0), exited(0, 0), ready(0, 1)]);

    let late = [exited(0, 0), finished(0, 0, 1), ready(0, 0), answered(0, 0, 0, Answer::Failed)];

    assert_eq!(pool.tell_all(late), []);
    assert_eq!(pool.tell(Event::Fault { worker: worker(0, 0), item: Some(Item(0)) }), []);
    assert_eq!(pool.tell(Event::Retire(worker(9, 0))), []);
}

#[test]
fn an_answer_to_an_item_it_does_not_hold_is_ignored() {
    let mut pool = Pool::new(warm(2));
    pool.tell_all([Event::Items(2), ready(0, 0), ready(1, 0)]);

    assert_eq!(pool.tell(answered(0, 0, 1, Answer::Ok)), []);
    assert_eq!(pool.tell(answered(0, 0, 7, Answer::Ok)), []);
    assert_eq!(pool.tell(finished(0, 0, 5)), [settle(0, 1, Outcome::Ok, 1)]);
    assert_eq!(pool.tell(finished(0, 0, 1)), []);
}

#[test]
fn counts_tell_where_every_item_stands() {
    let mut pool = Pool::new(Config { retries: 1, retry_delay: SECOND, ..warm(2) });
    pool.tell_all([Event::Items(6), ready(0, 0), ready(1, 0), Event::CancelItem(Item(5))]);
    pool.wait(SECOND);
    pool.tell_all([finished(0, 0, 1), answered(1, 0, 1, Answer::Failed)]);

    let counts = pool.engine.counts();

    let numbers = [counts.read, counts.ok, counts.failed, counts.cancelled, counts.retried];
    assert_eq!(numbers, [6, 1, 0, 1, 1]);
    assert_eq!((counts.running, counts.held, counts.queued, counts.workers), (2, 2, 2, 2));
    assert_eq!(counts.settled(), 2);
}

#[test]
fn what_runs_is_known_with_its_start() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(1), ready(0, 0)]);

    let running: Vec<_> = pool.engine.running().collect();

    assert_eq!(running, [(worker(0, 0), Item(0), Some(pool.now), 1)]);
}

/// One worker, with items known to take this long each, that holds nothing.
fn measured(config: Config, capacity: Capacity, span: Duration) -> Pool {
    let mut pool = Pool::new(config);
    pool.tell_all([Event::Items(1), ready_as(0, 0, capacity)]);
    pool.wait(span);
    pool.tell(finished(0, 0, 1));
    pool
}

#[test]
fn time_is_measured_from_one_answer_to_the_next() {
    let mut pool = measured(warm(1), claiming(), Duration::from_micros(10));
    pool.wait(SECOND);
    pool.tell_all([Event::Items(20), Event::InputIdle]);
    assert_eq!(pool.engine.counts().held, 12, "idleness is not held against the items");
    for _ in 0..20 {
        pool.wait(Duration::from_micros(100));
        pool.tell(finished(0, 0, 1));
    }

    let effects = pool.tell(Event::Items(100));

    assert_eq!(dispatched(&effects[0]), 10);
}

#[test]
fn the_last_items_are_left_to_who_comes_first() {
    let held_with = |last| {
        let mut pool = Pool::new(warm(2));
        pool.tell_all([Event::Items(5), ready(0, 0), ready(1, 0), last]);
        pool.wait(MILLI);
        pool.tell_all([finished(0, 0, 1), finished(1, 0, 1)]);
        pool.engine.counts().held
    };

    assert_eq!(held_with(Event::InputIdle), 3, "while more may come, one is prefetched");
    assert_eq!(held_with(Event::EndOfInput), 2);
}

#[test]
fn chunks_are_small_in_a_small_window() {
    let mut pool = Pool::new(Config { window: 16, ..warm(1) });
    pool.tell_all([Event::Items(100), ready(0, 0)]);
    let mut largest = 0;
    for _ in 0..20 {
        largest = largest.max(pool.tell(finished(0, 0, 1)).iter().map(dispatched).max().unwrap_or(0));
    }

    assert_eq!(largest, 4);
}

#[test]
fn a_share_is_kept_for_a_worker_on_its_way() {
    let mut pool = Pool::new(warm(2));
    pool.tell_all([Event::Items(2), ready(0, 0)]);
    pool.wait(Duration::from_micros(300));
    pool.tell(finished(0, 0, 1));

    assert_eq!(pool.tell_all([Event::Items(1), Event::InputIdle]), []);
    assert_eq!(pool.tell(ready(1, 0)), [dispatch(1, 0, 2, 1)]);
}

#[test]
fn workers_that_work_on_all_at_once_share_what_there_is() {
    let mux = ahead(64, Accounting::Mux);
    let mut pool = Pool::new(warm(2));
    pool.tell(Event::Items(10));

    let first: u32 = pool.tell(ready_as(0, 0, mux)).iter().map(dispatched).sum();
    let second: u32 = pool.tell(ready_as(1, 0, mux)).iter().map(dispatched).sum();

    assert_eq!((first, second), (5, 5));
}

#[test]
fn an_input_that_goes_on_is_not_idle_any_more() {
    let mut pool = measured(warm(1), claiming(), Duration::from_micros(1));
    pool.tell_all([Event::Items(4), Event::InputIdle]);
    assert_eq!(pool.engine.counts().held, 4);

    assert_eq!(pool.tell(Event::Items(1)), [], "the next chunk is not full");
    assert_eq!(pool.tell(Event::InputIdle), [dispatch(0, 0, 5, 1)]);
}
