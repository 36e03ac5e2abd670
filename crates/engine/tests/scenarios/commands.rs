//! One process for each item.

use crate::play::*;
use poolctl_engine::{Answer, Config, Effect, EndCause, Event, GiveUp, Lasting, Outcome, Stop};
use poolctl_types::Item;

fn spawned(slot: u32, generation: u64) -> Event {
    Event::Spawned(worker(slot, generation))
}

fn spawn_failed(generation: u64, lasting: Lasting) -> Event {
    Event::SpawnFailed { worker: worker(0, generation), lasting }
}

fn never_ran(slot: u32, generation: u64) -> Event {
    exited_with(slot, generation, None, EndCause::NeverRan)
}

#[test]
fn a_command_is_run_for_each_item_and_the_next_follows_in_the_same_step() {
    let mut pool = Pool::new(per_item(2));

    assert_eq!(pool.tell(Event::Items(3)), [run(0, 0, 0, 1), run(1, 0, 1, 1)]);
    assert_eq!(pool.tell(spawned(0, 0)), []);
    assert_eq!(pool.tell(answered(0, 0, 0, Answer::Ok)), [settle(0, 1, Outcome::Ok, 1)]);
    assert_eq!(pool.tell(exited(0, 0)), [reap(0, 0), run(0, 1, 2, 1)]);
}

#[test]
fn a_failed_command_is_tried_again() {
    let mut pool = Pool::new(Config { retries: 1, ..per_item(1) });
    pool.tell_all([Event::Items(1), spawned(0, 0)]);

    let effects = pool.tell_all([answered(0, 0, 0, Answer::Failed), exited(0, 0)]);

    assert_eq!(effects, [retry(0, 2, Outcome::Failed), reap(0, 0), run(0, 1, 0, 2)]);
}

#[test]
fn a_command_killed_by_a_signal_has_died() {
    let mut pool = Pool::new(per_item(1));
    pool.tell_all([Event::Items(1), Event::EndOfInput, spawned(0, 0)]);

    assert_eq!(pool.tell(exited(0, 0)), [settle(0, 1, Outcome::WorkerDied, 1), reap(0, 0)]);
    assert!(pool.engine.is_quiet());
}

#[test]
fn a_command_that_never_ran_is_run_again_silently() {
    let mut pool = Pool::new(per_item(2));
    pool.tell(Event::Items(1));

    assert_eq!(pool.tell(never_ran(0, 0)), [reap(0, 0), run(1, 0, 0, 1)]);
}

#[test]
fn a_command_that_cannot_be_started_fails_and_the_next_is_tried() {
    let mut pool = Pool::new(Config { retries: 3, ..per_item(1) });
    pool.tell(Event::Items(2));

    let effects = pool.tell(spawn_failed(0, Lasting::Yes));

    assert_eq!(effects, [settle(0, 1, Outcome::Failed, 1), run(0, 1, 1, 1)]);
}

#[test]
fn a_command_that_cannot_be_started_just_now_is_not_counted_as_tried() {
    let mut pool = Pool::new(per_item(1));
    pool.tell(Event::Items(1));

    assert_eq!(pool.tell(spawn_failed(0, Lasting::No)), []);
    let wait = pool.patience().expect("it waits before it tries again");
    assert_eq!(pool.tick_after(wait), [run(0, 1, 0, 1)]);
}

#[test]
fn many_commands_that_cannot_be_started_at_one_time_count_as_one_try() {
    let mut pool = Pool::new(per_item(50));
    pool.tell(Event::Items(50));

    for slot in 0..50 {
        let event = Event::SpawnFailed { worker: worker(slot, 0), lasting: Lasting::No };
        assert_eq!(pool.tell(event), []);
    }

    let wait = pool.patience().expect("it waits before it tries again");
    assert_eq!(pool.tick_after(wait).len(), 50);
}

#[test]
fn five_failures_in_a_row_end_the_run_when_nothing_runs() {
    let mut pool = Pool::new(per_item(1));
    pool.tell(Event::Items(1));

    let mut effects = Vec::new();
    for generation in 0..5 {
        effects = pool.tell(spawn_failed(generation, Lasting::No));
        pool.tick_after(SECOND);
    }

    assert_eq!(effects, [Effect::GaveUp(GiveUp::TooManyStarts(5)), settle(0, 1, Outcome::Cancelled, 0)]);
}

#[test]
fn failures_to_start_are_waited_out_while_something_runs() {
    let mut pool = Pool::new(per_item(2));
    pool.tell_all([Event::Items(9), spawned(1, 0)]);

    for generation in 0..20 {
        pool.tell(spawn_failed(generation, Lasting::No));
        pool.tick_after(SECOND);
    }

    assert_eq!(pool.engine.counts().stop, None);
    assert_eq!(pool.tell(spawned(0, 20)), []);
}

#[test]
fn a_stop_calls_back_what_has_not_begun() {
    let mut pool = Pool::new(per_item(2));
    pool.tell_all([Event::Items(3), spawned(0, 0)]);

    let stop = pool.tell(Event::Stop(Stop::Drain));
    let dropped = pool.tell(never_ran(1, 0));
    let end = pool.tell_all([answered(0, 0, 0, Answer::Ok), exited(0, 0)]);

    assert_eq!(stop, [settle(2, 1, Outcome::Cancelled, 0), Effect::Terminate(worker(1, 0))]);
    assert_eq!(dropped, [settle(1, 1, Outcome::Cancelled, 0), reap(1, 0)]);
    assert_eq!(end, [settle(0, 1, Outcome::Ok, 1), reap(0, 0)]);
    assert!(pool.engine.is_quiet());
}

#[test]
fn a_cancelled_command_is_terminated_or_called_back() {
    let mut pool = Pool::new(per_item(2));
    pool.tell_all([Event::Items(2), spawned(0, 0)]);

    let effects = pool.tell_all([Event::CancelItem(Item(0)), Event::CancelItem(Item(1))]);
    let ends = pool.tell_all([never_ran(1, 0), exited(0, 0)]);

    assert_eq!(effects, [Effect::Terminate(worker(0, 0)), Effect::Terminate(worker(1, 0))]);
    let outcomes =
        [settle(1, 1, Outcome::Cancelled, 0), reap(1, 0), settle(0, 1, Outcome::Cancelled, 1), reap(0, 0)];
    assert_eq!(ends, outcomes);
}

#[test]
fn a_command_that_answered_and_does_not_end_is_ended() {
    let mut pool = Pool::new(Config { grace: SECOND, ..per_item(1) });
    pool.tell_all([Event::Items(1), spawned(0, 0), answered(0, 0, 0, Answer::Ok)]);

    assert_eq!(pool.tick_after(SECOND), [Effect::Terminate(worker(0, 0))]);
    assert_eq!(pool.tick_after(SECOND), [Effect::Kill(worker(0, 0))]);
    assert_eq!(pool.tell(exited(0, 0)), [reap(0, 0)]);
}
