//! Time limits, cancelling, patience and pauses.

use std::time::Duration;

use crate::play::*;
use poolctl_engine::{
    Accounting, Answer, Capacity, Claim, Config, Effect, EndCause, Event, Lifecycle, Outcome, Timeout,
};
use poolctl_types::{Item, Moment};

fn limited(seconds: u32) -> Config {
    Config { timeout: Timeout::After(SECOND * seconds), ..warm(1) }
}

fn claimed(generation: u64, item: u64, since: Moment) -> Event {
    Event::Claimed { worker: worker(0, generation), claim: Some(Claim { item: Item(item), since }) }
}

fn can_cancel(accounting: Accounting) -> Capacity {
    Capacity { cancel: true, ..ahead(4, accounting) }
}

#[test]
fn a_worker_that_never_says_hello_is_killed() {
    let mut pool = Pool::new(Config { start_timeout: SECOND, ..warm(1) });
    pool.tell(Event::Items(1));
    assert_eq!(pool.patience(), None, "the clock starts with the process");
    pool.tell(Event::Spawned(worker(0, 0)));
    assert_eq!(pool.patience(), Some(SECOND));

    assert_eq!(pool.tick_after(SECOND), [Effect::Kill(worker(0, 0))]);
    assert_eq!(pool.tell(ready(0, 0)), [], "too late");
    assert_eq!(pool.tell(exited(0, 0)), [reap(0, 0), Effect::Spawn(worker(0, 1))]);
}

#[test]
fn an_item_that_runs_too_long_is_stopped_ever_harder() {
    let mut pool = Pool::new(Config { grace: SECOND, ..limited(5) });
    pool.tell_all([Event::Items(1), ready_as(0, 0, ahead(1, Accounting::InOrder))]);

    assert_eq!(pool.patience(), Some(SECOND * 5));
    assert_eq!(pool.tick_after(SECOND * 5 - MILLI), []);
    assert_eq!(pool.tick_after(MILLI), [Effect::Terminate(worker(0, 0))]);
    assert_eq!(pool.patience(), Some(SECOND));
    assert_eq!(pool.tick_after(SECOND), [Effect::Kill(worker(0, 0))]);
    assert_eq!(pool.patience(), None);
    assert_eq!(pool.tell(exited(0, 0)), [settle(0, 1, Outcome::TimedOut, 1), reap(0, 0)]);
}

#[test]
fn a_timed_out_item_is_tried_again_if_asked() {
    let mut pool = Pool::new(Config { retries: 1, ..limited(5) });
    pool.tell_all([Event::Items(1), ready_as(0, 0, ahead(1, Accounting::InOrder))]);
    pool.tick_after(SECOND * 5);

    let effects = pool.tell(exited(0, 0));

    assert_eq!(effects, [retry(0, 2, Outcome::TimedOut), reap(0, 0), Effect::Spawn(worker(0, 1))]);
}

#[test]
fn a_claim_tells_when_the_limit_passes() {
    let mut pool = Pool::new(limited(5));
    pool.tell_all([Event::Items(1), ready(0, 0)]);

    assert_eq!(pool.tick_after(SECOND * 5), [Effect::Probe(worker(0, 0))]);
    assert_eq!(pool.patience(), None, "it waits for the claim");
    let begun = Moment(pool.now.0 - 2_000_000_000);
    assert_eq!(pool.tell(claimed(0, 0, begun)), []);
    assert_eq!(pool.patience(), Some(SECOND * 3));
    assert_eq!(pool.tick_after(SECOND * 3), [Effect::Probe(worker(0, 0))]);
    assert_eq!(pool.tell(claimed(0, 0, begun)), [Effect::Terminate(worker(0, 0))]);
    let effects = pool.tell(exited_with(0, 0, Some(0), EndCause::Ended));
    assert_eq!(effects, [settle(0, 1, Outcome::TimedOut, 1), reap(0, 0)]);
}

#[test]
fn a_worker_that_begins_nothing_of_what_it_holds_is_replaced_and_nobody_is_blamed() {
    let nothing = Event::Claimed { worker: worker(0, 0), claim: None };
    let mut pool = Pool::new(Config { grace: SECOND, ..limited(5) });
    pool.tell_all([Event::Items(2), Event::EndOfInput, ready(0, 0)]);

    assert_eq!(pool.tick_after(SECOND * 5), [Effect::Probe(worker(0, 0))]);
    assert_eq!(pool.tell(nothing), []);
    assert_eq!(pool.tick_after(SECOND * 5), [Effect::Probe(worker(0, 0))]);
    assert_eq!(pool.tell(nothing), [Effect::Terminate(worker(0, 0))]);
    let effects = pool.tell(exited(0, 0));

    assert_eq!(effects, [reap(0, 0), Effect::Spawn(worker(0, 1))]);
    assert_eq!(pool.engine.counts().queued, 2);
}

#[test]
fn a_worker_between_two_items_is_probed_again_later() {
    let mut pool = Pool::new(limited(5));
    pool.tell_all([Event::Items(1), ready(0, 0)]);
    pool.tick_after(SECOND * 5);

    assert_eq!(pool.tell(Event::Claimed { worker: worker(0, 0), claim: None }), []);

    assert_eq!(pool.patience(), Some(SECOND * 5));
}

#[test]
fn each_item_of_an_orderly_worker_has_its_own_limit() {
    let mut pool = Pool::new(limited(5));
    pool.tell_all([Event::Items(1), ready_as(0, 0, ahead(4, Accounting::InOrder)), finished(0, 0, 1)]);
    pool.tell_all([Event::Items(3), Event::InputIdle]);
    assert_eq!(pool.engine.counts().held, 3);

    pool.wait(SECOND * 4);
    pool.tell(finished(0, 0, 1));

    assert_eq!(pool.patience(), Some(SECOND * 5));
}

#[test]
fn each_item_of_a_worker_that_works_on_all_at_once_runs_from_its_dispatch() {
    let mut pool = Pool::new(limited(5));
    pool.tell_all([Event::Items(1), ready_as(0, 0, can_cancel(Accounting::Mux))]);
    pool.wait(SECOND);
    pool.tell(Event::Items(1));
    pool.tell(Event::InputIdle);
    let cancel = |item| Effect::Cancel { worker: worker(0, 0), item: Item(item) };

    assert_eq!(pool.tick_after(SECOND * 4), [cancel(0)]);
    assert_eq!(pool.tick_after(SECOND), [cancel(1)]);
    assert_eq!(pool.tell(answered(0, 0, 1, Answer::Failed)), [settle(1, 1, Outcome::TimedOut, 1)]);
    assert_eq!(pool.tell(answered(0, 0, 0, Answer::Ok)), [settle(0, 1, Outcome::TimedOut, 1)]);
}

#[test]
fn a_worker_that_understands_cancel_survives_a_limit() {
    let mut pool = Pool::new(Config { grace: SECOND, ..limited(5) });
    pool.tell_all([Event::Items(2), ready_as(0, 0, can_cancel(Accounting::InOrder))]);

    let cancel = pool.tick_after(SECOND * 5);
    let answer = pool.tell(answered(0, 0, 0, Answer::Failed));

    assert_eq!(cancel, [Effect::Cancel { worker: worker(0, 0), item: Item(0) }]);
    assert_eq!(answer, [settle(0, 1, Outcome::TimedOut, 1), dispatch(0, 0, 1, 1)]);
}

#[test]
fn a_worker_that_ignores_cancel_is_ended() {
    let mut pool = Pool::new(Config { grace: SECOND, ..limited(5) });
    pool.tell_all([Event::Items(1), ready_as(0, 0, can_cancel(Accounting::InOrder))]);
    pool.tick_after(SECOND * 5);

    assert_eq!(pool.tick_after(SECOND), [Effect::Terminate(worker(0, 0))]);
    assert_eq!(pool.tick_after(SECOND), [Effect::Kill(worker(0, 0))]);
}

#[test]
fn an_answer_after_term_does_not_save_the_item_but_others_count() {
    let mut pool = Pool::new(limited(5));
    pool.tell_all([Event::Items(1), ready_as(0, 0, ahead(4, Accounting::InOrder)), finished(0, 0, 1)]);
    pool.tell_all([Event::Items(3), Event::InputIdle]);
    assert_eq!(pool.tick_after(SECOND * 5), [Effect::Terminate(worker(0, 0))]);

    let effects = pool.tell(finished(0, 0, 2));

    assert_eq!(effects, [settle(1, 1, Outcome::TimedOut, 1), settle(2, 1, Outcome::Ok, 1)]);
}

#[test]
fn items_that_wait_behind_a_timed_out_one_go_elsewhere() {
    let mut pool = Pool::new(limited(5));
    pool.tell_all([Event::Items(1), ready_as(0, 0, ahead(4, Accounting::InOrder)), finished(0, 0, 1)]);
    pool.tell_all([Event::Items(3), Event::InputIdle]);
    pool.tick_after(SECOND * 5);

    let effects = pool.tell(exited(0, 0));

    assert_eq!(effects, [settle(1, 1, Outcome::TimedOut, 1), reap(0, 0), Effect::Spawn(worker(0, 1))]);
    assert_eq!(pool.engine.counts().queued, 2);
}

#[test]
fn where_nothing_is_known_a_limit_makes_everyone_a_suspect() {
    let unknown = ahead(4, Accounting::Unknown);
    let mut pool = Pool::new(limited(5));
    pool.tell_all([Event::Items(1), ready_as(0, 0, unknown), finished(0, 0, 1)]);
    pool.tell_all([Event::Items(2), Event::InputIdle]);

    assert_eq!(pool.tick_after(SECOND * 5), [Effect::Terminate(worker(0, 0))]);
    assert_eq!(pool.tell(exited(0, 0)), [reap(0, 0), Effect::Spawn(worker(0, 1))]);
    assert_eq!(pool.tell(ready_as(0, 1, unknown)), [dispatch(0, 1, 1, 1)]);
    assert_eq!(pool.tick_after(SECOND * 5), [Effect::Terminate(worker(0, 1))]);
    assert_eq!(pool.tell(exited(0, 1))[0], settle(1, 1, Outcome::TimedOut, 1));
}

#[test]
fn a_share_of_the_median_applies_from_the_tenth_item_on() {
    let mut pool = Pool::new(Config { timeout: Timeout::MedianPercent(300), ..warm(1) });
    pool.tell_all([Event::Items(20), ready_as(0, 0, ahead(1, Accounting::InOrder))]);

    for _ in 0..10 {
        assert_eq!(pool.patience(), None);
        pool.wait(SECOND * 2);
        pool.tell(finished(0, 0, 1));
    }

    assert_eq!(pool.patience(), Some(SECOND * 6));
}

#[test]
fn a_pause_moves_every_deadline() {
    let mut pool = Pool::new(limited(5));
    pool.tell_all([Event::Items(1), ready_as(0, 0, ahead(1, Accounting::InOrder))]);
    pool.wait(SECOND * 2);

    pool.tell(Event::Pause);
    assert_eq!(pool.patience(), None);
    assert_eq!(pool.tick_after(SECOND * 100), []);
    pool.tell(Event::Resume);

    assert_eq!(pool.patience(), Some(SECOND * 3));
    assert_eq!(pool.tick_after(SECOND * 3), [Effect::Terminate(worker(0, 0))]);
}

#[test]
fn a_claim_from_before_a_pause_is_dated_without_it() {
    let mut pool = Pool::new(limited(5));
    pool.tell_all([Event::Items(1), ready(0, 0)]);
    let begun = pool.now;
    pool.tell(Event::Pause);
    pool.wait(SECOND * 100);
    pool.tell(Event::Resume);
    pool.tick_after(SECOND * 5 - MILLI);

    pool.tell(claimed(0, 0, begun));

    assert_eq!(pool.patience(), Some(MILLI));
}

#[test]
fn a_claim_from_after_a_pause_is_dated_by_the_same_clock() {
    let mut pool = Pool::new(limited(5));
    pool.tell_all([Event::Items(1), ready(0, 0), Event::Pause]);
    pool.wait(SECOND * 100);
    pool.tell(Event::Resume);
    pool.wait(SECOND);
    let begun = pool.now;
    pool.tick_after(SECOND * 4);

    pool.tell(claimed(0, 0, begun));

    assert_eq!(pool.patience(), Some(SECOND));
}

#[test]
fn of_many_items_those_that_no_worker_has_are_cancelled_together() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([
        Event::Items(9),
        ready_as(0, 0, ahead(1, Accounting::InOrder)),
        Event::CancelItem(Item(4)),
    ]);

    let effects = pool.tell(Event::CancelQueued(range(0, 7)));

    assert_eq!(effects, [settle(1, 3, Outcome::Cancelled, 0), settle(5, 2, Outcome::Cancelled, 0)]);
    assert_eq!(pool.tell(Event::CancelQueued(range(0, 7))), []);
    assert_eq!(pool.tell(finished(0, 0, 1)), [settle(0, 1, Outcome::Ok, 1), dispatch(0, 0, 7, 1)]);
}

#[test]
fn a_claim_is_not_asked_for_twice_in_a_row() {
    let mut pool = Pool::new(limited(5));
    pool.tell_all([Event::Items(1), ready(0, 0), finished(0, 0, 1)]);
    pool.tell_all([Event::Items(3), Event::InputIdle]);
    pool.tell_all([Event::CancelItem(Item(2)), Event::CancelItem(Item(1))]);

    let effects = pool.tell(claimed(0, 2, pool.now));

    assert_eq!(effects, [Effect::Terminate(worker(0, 0))]);
}

#[test]
fn no_limit_is_watched_while_a_cancel_is_waited_for() {
    let mut pool = Pool::new(Config { grace: SECOND * 60, ..limited(5) });
    pool.tell_all([Event::Items(1), ready_as(0, 0, can_cancel(Accounting::Claim)), finished(0, 0, 1)]);
    pool.tell_all([Event::Items(3), Event::InputIdle]);
    let begun = pool.now;
    pool.tick_after(SECOND * 5);

    let effects = pool.tell(claimed(0, 2, begun));

    assert_eq!(effects, [Effect::Cancel { worker: worker(0, 0), item: Item(2) }]);
    assert_eq!(pool.patience(), Some(SECOND * 60));
}

#[test]
fn an_item_that_waits_is_cancelled_at_once() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(3), ready(0, 0)]);

    assert_eq!(pool.tell(Event::CancelItem(Item(1))), [settle(1, 1, Outcome::Cancelled, 0)]);
    assert_eq!(pool.tell(Event::CancelItem(Item(1))), []);
    pool.wait(SECOND);
    assert_eq!(pool.tell(finished(0, 0, 1)), [settle(0, 1, Outcome::Ok, 1), dispatch(0, 0, 2, 1)]);
    assert_eq!(pool.tell(Event::CancelItem(Item(0))), []);
    assert_eq!(pool.tell(Event::CancelItem(Item(99))), []);
}

#[test]
fn a_cancelled_item_that_runs_is_stopped() {
    let mut pool = Pool::new(Config { retries: 3, ..warm(1) });
    pool.tell_all([Event::Items(1), ready_as(0, 0, ahead(1, Accounting::InOrder))]);

    let told = pool.tell_all([Event::CancelItem(Item(0)), Event::CancelItem(Item(0))]);
    let effects = pool.tell(exited(0, 0));

    assert_eq!(told, [Effect::Terminate(worker(0, 0))]);
    assert_eq!(effects, [settle(0, 1, Outcome::Cancelled, 1), reap(0, 0)]);
}

#[test]
fn a_cancelled_item_behind_another_is_stopped_when_its_turn_comes() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(1), ready_as(0, 0, ahead(4, Accounting::InOrder)), finished(0, 0, 1)]);
    pool.tell_all([Event::Items(3), Event::InputIdle]);

    assert_eq!(pool.tell(Event::CancelItem(Item(2))), []);
    let turn = pool.tell(finished(0, 0, 1));

    assert_eq!(turn, [settle(1, 1, Outcome::Ok, 1), Effect::Terminate(worker(0, 0))]);
    let effects = pool.tell(exited(0, 0));
    assert_eq!(effects[..2], [settle(2, 1, Outcome::Cancelled, 1), reap(0, 0)]);
    assert_eq!(pool.engine.counts().queued, 1);
}

#[test]
fn a_cancelled_item_is_looked_for_in_the_claim_before_anybody_is_ended() {
    let mut pool = Pool::new(warm(1));
    pool.tell_all([Event::Items(1), ready(0, 0), finished(0, 0, 1)]);
    pool.tell_all([Event::Items(3), Event::InputIdle]);

    assert_eq!(pool.tell(Event::CancelItem(Item(1))), [Effect::Probe(worker(0, 0))]);
    assert_eq!(pool.tell(claimed(0, 2, pool.now)), [], "its answer is on the way");
    assert_eq!(pool.tell(finished(0, 0, 1)), [settle(1, 1, Outcome::Cancelled, 1)]);
}

#[test]
fn an_idle_worker_is_let_go_after_a_while_and_replaced_when_needed() {
    let mut pool = Pool::new(Config { idle_timeout: Some(SECOND), ..warm(1) });
    pool.tell_all([Event::Items(1), ready(0, 0), finished(0, 0, 1)]);

    assert_eq!(pool.patience(), Some(SECOND));
    assert_eq!(pool.tick_after(SECOND), [Effect::CloseInput(worker(0, 0))]);
    assert_eq!(pool.tell(Event::Items(1)), []);
    assert_eq!(pool.tell(exited(0, 0)), [reap(0, 0), Effect::Spawn(worker(0, 1))]);
}

#[test]
fn a_worker_that_stays_after_end_of_file_is_ended() {
    let mut pool = Pool::new(Config { grace: SECOND, ..warm(1) });
    pool.tell_all([Event::Items(1), ready(0, 0), Event::EndOfInput, finished(0, 0, 1)]);

    assert_eq!(pool.tick_after(SECOND), [Effect::Terminate(worker(0, 0))]);
    assert_eq!(pool.tick_after(SECOND), [Effect::Kill(worker(0, 0))]);
    assert_eq!(pool.tell(exited(0, 0)), [reap(0, 0)]);
}

#[test]
fn a_command_is_timed_from_the_moment_it_runs() {
    let mut pool = Pool::new(Config { lifecycle: Lifecycle::PerItem, ..limited(5) });
    pool.tell(Event::Items(1));
    pool.wait(SECOND * 60);
    assert_eq!(pool.patience(), None);
    pool.tell(Event::Spawned(worker(0, 0)));

    assert_eq!(pool.tick_after(SECOND * 5), [Effect::Terminate(worker(0, 0))]);
    let effects = pool.tell_all([answered(0, 0, 0, Answer::Failed), exited(0, 0)]);
    assert_eq!(effects, [settle(0, 1, Outcome::TimedOut, 1), reap(0, 0)]);
}

#[test]
fn a_limit_of_zero_does_not_spin() {
    let mut pool = Pool::new(Config { timeout: Timeout::After(Duration::ZERO), ..warm(1) });
    pool.tell_all([Event::Items(1), ready(0, 0)]);

    assert_eq!(pool.tick_after(MILLI), [Effect::Probe(worker(0, 0))]);
    pool.tell(Event::Claimed { worker: worker(0, 0), claim: None });

    assert_eq!(pool.patience(), Some(MILLI));
}
