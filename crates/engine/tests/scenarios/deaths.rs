//! What a death means for the items the worker held, by what is known of them.

use crate::play::*;
use poolctl_engine::{Accounting, Answer, Config, Effect, EndCause, Event, Outcome};
use poolctl_types::Item;

/// A worker that holds items 0, 1 and 2, one of two slots; the other one is busy with nothing to do.
fn holding_three(accounting: Accounting, config: Config) -> Pool {
    let mut pool = Pool::new(Config { slots: 1, ..config });
    pool.tell_all([Event::Items(1), ready_as(0, 0, ahead(9, accounting))]);
    pool.tell_all([finished(0, 0, 1), Event::Items(3), Event::InputIdle]);
    let held = pool.engine.counts().held;
    assert_eq!(held, 3, "the items are quick and travel together");
    pool
}

fn fault(item: Option<u64>) -> Event {
    Event::Fault { worker: worker(0, 0), item: item.map(Item) }
}

#[test]
fn a_worker_that_dies_idle_takes_nothing_with_it_and_is_replaced_when_there_is_work() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(1), ready(0, 0), finished(0, 0, 1)]);

    assert_eq!(pool.tell(exited(0, 0)), [reap(0, 0)]);
    assert_eq!(pool.tell(Event::Items(1)), [Effect::Spawn(worker(0, 1))]);
}

#[test]
fn what_was_not_claimed_goes_elsewhere_silently() {
    let mut pool = holding_three(Accounting::Claim, warm(1));

    assert_eq!(pool.tell(exited(0, 0)), [reap(0, 0), Effect::Spawn(worker(0, 1))]);
    assert_eq!(pool.tell(ready(0, 1)), [dispatch(0, 1, 1, 3)]);
}

#[test]
fn the_claimed_item_alone_is_lost() {
    let mut pool = holding_three(Accounting::Claim, warm(1));

    let effects = pool.tell(exited_with(0, 0, Some(2), EndCause::Ended));

    let lost = [settle(2, 1, Outcome::WorkerDied, 1), reap(0, 0), Effect::Spawn(worker(0, 1))];
    assert_eq!(effects, lost);
    assert_eq!(pool.tell(ready(0, 1)), [dispatch(0, 1, 1, 1), dispatch(0, 1, 3, 1)]);
}

#[test]
fn a_claim_of_an_item_it_does_not_hold_is_not_believed() {
    let mut pool = holding_three(Accounting::Claim, warm(1));

    let effects = pool.tell(exited_with(0, 0, Some(77), EndCause::Ended));

    assert_eq!(effects, [reap(0, 0), Effect::Spawn(worker(0, 1))]);
}

#[test]
fn the_oldest_item_of_an_orderly_worker_is_lost() {
    let mut pool = holding_three(Accounting::InOrder, warm(1));

    let effects = pool.tell(exited(0, 0));

    let lost = [settle(1, 1, Outcome::WorkerDied, 1), reap(0, 0), Effect::Spawn(worker(0, 1))];
    assert_eq!(effects, lost);
    assert_eq!(pool.tell(ready(0, 1)), [dispatch(0, 1, 2, 2)]);
}

#[test]
fn every_item_of_a_worker_that_works_on_all_at_once_is_lost() {
    let mut pool = holding_three(Accounting::Mux, warm(1));

    let effects = pool.tell(exited(0, 0));

    let lost = [1, 2, 3].map(|item| settle(item, 1, Outcome::WorkerDied, 1));
    assert_eq!(effects, [lost.to_vec(), vec![reap(0, 0)]].concat());
}

#[test]
fn items_that_died_together_are_tried_again_alone() {
    let mut pool = holding_three(Accounting::Mux, Config { retries: 1, ..warm(1) });

    let effects = pool.tell(exited(0, 0));
    let first = pool.tell(ready_as(0, 1, ahead(9, Accounting::Mux)));
    let second = pool.tell(answered(0, 1, 1, Answer::Ok));

    let retries = [1, 2, 3].map(|item| retry(item, 2, Outcome::WorkerDied));
    let rest = [reap(0, 0), Effect::Spawn(worker(0, 1))];
    assert_eq!(effects, [retries.to_vec(), rest.to_vec()].concat());
    assert_eq!(first, [again(0, 1, 1, 2)]);
    assert_eq!(second, [settle(1, 1, Outcome::Ok, 2), again(0, 1, 2, 2)]);
}

#[test]
fn where_nothing_is_known_the_items_are_tried_one_by_one_to_find_the_culprit() {
    let unknown = ahead(9, Accounting::Unknown);
    let mut pool = holding_three(Accounting::Unknown, warm(1));

    assert_eq!(pool.tell(exited(0, 0)), [reap(0, 0), Effect::Spawn(worker(0, 1))]);
    assert_eq!(pool.tell(ready_as(0, 1, unknown)), [dispatch(0, 1, 1, 1)]);
    assert_eq!(pool.tell(finished(0, 1, 1)), [settle(1, 1, Outcome::Ok, 1), dispatch(0, 1, 2, 1)]);
    let culprit = [settle(2, 1, Outcome::WorkerDied, 1), reap(0, 1), Effect::Spawn(worker(0, 2))];
    assert_eq!(pool.tell(exited(0, 1)), culprit);
    assert_eq!(pool.tell(ready_as(0, 2, unknown)), [dispatch(0, 2, 3, 1)]);
}

#[test]
fn nothing_is_dispatched_behind_an_item_that_runs_alone() {
    let mut pool = holding_three(Accounting::Unknown, warm(1));
    pool.tell_all([exited(0, 0), Event::Items(9), ready_as(0, 1, ahead(9, Accounting::Unknown))]);

    assert_eq!(pool.tell(Event::InputIdle), []);
    assert_eq!(pool.engine.counts().held, 1);
}

#[test]
fn an_item_that_takes_workers_with_it_is_quarantined() {
    let mut pool = Pool::new(Config { retries: 10, ..warm(1) });
    pool.tell(Event::Items(1));
    let died = |generation| exited_with(0, generation, Some(0), EndCause::Ended);

    let mut effects = Vec::new();
    for generation in 0..3 {
        pool.tell(ready(0, generation));
        effects = pool.tell(died(generation));
    }

    assert_eq!(effects, [settle(0, 1, Outcome::Quarantined, 3), reap(0, 2)]);
}

#[test]
fn an_item_killed_for_memory_is_not_tried_again() {
    let mut pool = Pool::new(Config { retries: 10, ..warm(1) });
    pool.tell_all([Event::Items(1), ready(0, 0)]);

    let effects = pool.tell(exited_with(0, 0, Some(0), EndCause::OutOfMemory));

    assert_eq!(effects, [settle(0, 1, Outcome::WorkerDied, 1), reap(0, 0)]);
}

#[test]
fn a_worker_that_breaks_the_protocol_is_killed_and_the_named_item_fails() {
    let mut pool = holding_three(Accounting::InOrder, warm(1));

    assert_eq!(pool.tell(fault(Some(1))), [Effect::Kill(worker(0, 0))]);
    assert_eq!(pool.tell(finished(0, 0, 3)), [], "nothing more is believed of it");
    let effects = pool.tell(exited(0, 0));

    assert_eq!(effects, [settle(1, 1, Outcome::Failed, 1), reap(0, 0), Effect::Spawn(worker(0, 1))]);
    assert_eq!(pool.tell(ready(0, 1)), [dispatch(0, 1, 2, 2)]);
}

#[test]
fn a_fault_without_a_name_is_held_against_the_started_item() {
    let mut pool = holding_three(Accounting::Claim, warm(1));
    pool.tell(fault(None));

    let effects = pool.tell(exited_with(0, 0, Some(1), EndCause::Ended));

    assert_eq!(effects[0], settle(1, 1, Outcome::Failed, 1));
    assert_eq!(pool.engine.counts().queued, 2);
}

#[test]
fn a_fault_that_names_an_item_it_does_not_hold_is_held_against_the_started_one() {
    let mut pool = holding_three(Accounting::InOrder, warm(1));
    pool.tell(fault(Some(77)));

    assert_eq!(pool.tell(exited(0, 0))[0], settle(1, 1, Outcome::Failed, 1));
}

#[test]
fn a_bystander_that_was_started_is_not_run_twice_behind_the_users_back() {
    let mut pool = holding_three(Accounting::Claim, warm(1));
    pool.tell(fault(Some(3)));

    let effects = pool.tell(exited_with(0, 0, Some(1), EndCause::Ended));

    let both = [settle(1, 1, Outcome::WorkerDied, 1), settle(3, 1, Outcome::Failed, 1)];
    assert_eq!(effects[..2], both);
    assert_eq!(pool.engine.counts().queued, 1);
}

#[test]
fn a_fault_counts_as_a_crash() {
    let mut pool = Pool::new(Config { retries: 10, max_crashes: 1, ..warm(1) });
    pool.tell_all([Event::Items(1), ready(0, 0), fault(Some(0))]);

    let effects = pool.tell(exited(0, 0));

    assert_eq!(effects, [settle(0, 1, Outcome::Quarantined, 1), reap(0, 0)]);
}

#[test]
fn results_that_came_before_the_death_are_kept() {
    let mut pool = holding_three(Accounting::Claim, warm(1));

    let effects = pool.tell_all([finished(0, 0, 2), exited_with(0, 0, Some(3), EndCause::Ended)]);

    assert_eq!(effects, [settle(1, 2, Outcome::Ok, 1), settle(3, 1, Outcome::WorkerDied, 1), reap(0, 0)]);
}

#[test]
fn workers_that_take_work_and_never_begin_it_are_given_up_in_the_end() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(1), Event::EndOfInput]);

    let mut lives = 0;
    let effects = loop {
        pool.tell_all([ready(0, lives), exited(0, lives)]);
        lives += 1;
        if pool.engine.is_finished() || lives > 1_000 {
            break pool.engine.counts();
        }
        let wait = pool.patience();
        pool.tick_after(wait.unwrap_or_default());
    };

    assert_eq!((lives, effects.cancelled), (32, 1));
}

#[test]
fn only_crashes_count_towards_the_quarantine() {
    let mut pool = Pool::new(Config { retries: 10, max_crashes: 2, ..warm(1) });
    pool.tell_all([Event::Items(1), ready(0, 0)]);
    pool.tell_all([answered(0, 0, 0, Answer::Failed), answered(0, 0, 0, Answer::Failed)]);

    let effects = pool.tell(exited_with(0, 0, Some(0), EndCause::Ended));

    assert_eq!(effects[0], retry(0, 4, Outcome::WorkerDied));
}

#[test]
fn a_further_attempt_that_was_not_begun_keeps_its_number() {
    let mut pool = Pool::new(Config { retries: 1, ..warm(1) });
    pool.tell_all([Event::Items(1), ready(0, 0), answered(0, 0, 0, Answer::Failed)]);

    pool.tell(exited(0, 0));

    assert_eq!(pool.tell(ready(0, 1)), [again(0, 1, 0, 2)]);
}

#[test]
fn workers_drain_for_an_item_that_must_run_alone() {
    let unknown = ahead(9, Accounting::Unknown);
    let mut pool = holding_three(Accounting::Unknown, warm(1));
    pool.tell_all([Event::Resize(2), Event::Items(90)]);
    let held: u32 = pool.tell(ready_as(1, 0, unknown)).iter().map(dispatched).sum();
    pool.tell(exited(0, 0));
    assert!(held > 1);
    let topped_up: u32 = pool.tell(finished(1, 0, held - 1)).iter().map(dispatched).sum();
    let effects = pool.tell(finished(1, 0, 1));

    assert_eq!(topped_up, 0);
    assert_eq!(effects[1..], [dispatch(1, 0, 1, 1)]);
}

#[test]
fn lives_that_come_to_nothing_are_followed_ever_more_slowly() {
    let mut pool = Pool::new(warm(1));
    pool.tell(Event::Items(1));

    let waits: Vec<_> = (0..6)
        .map(|generation| {
            pool.tell_all([ready(0, generation), exited(0, generation)]);
            let wait = pool.patience().unwrap_or_default();
            pool.tick_after(wait);
            wait.as_millis()
        })
        .collect();

    assert_eq!(waits, [0, 50, 100, 200, 1_000, 1_000]);
}
