//! How a pool ends: asked to, halted by failures, or because no worker starts.

use std::time::Duration;

use crate::play::*;
use poolctl_engine::{
    Accounting, Answer, Config, Effect, EndCause, Event, GiveUp, Halt, HaltAt, HaltHow, Lasting, Outcome,
    Stop,
};

fn halting(how: HaltHow, at: HaltAt) -> Config {
    Config { halt: Some(Halt { how, at }), ..warm(2) }
}

fn spawn_failed(slot: u32, generation: u64, lasting: Lasting) -> Event {
    Event::SpawnFailed { worker: worker(slot, generation), lasting }
}

/// Two workers that hold items 0 and 1; 2 to 4 wait.
fn busy(config: Config) -> Pool {
    let mut pool = Pool::new(config);
    pool.tell(Event::Items(5));
    let capacity = ahead(1, Accounting::InOrder);
    pool.tell_all([ready_as(0, 0, capacity), ready_as(1, 0, capacity)]);
    pool
}

#[test]
fn draining_cancels_what_waits_and_lets_finish_what_runs() {
    let mut pool = busy(warm(2));

    assert_eq!(pool.tell(Event::Stop(Stop::Drain)), [settle(2, 3, Outcome::Cancelled, 0)]);
    let end = pool.tell(finished(0, 0, 1));

    assert_eq!(end, [settle(0, 1, Outcome::Ok, 1), Effect::CloseInput(worker(0, 0))]);
    assert_eq!(pool.tell(Event::Items(4)), [settle(5, 4, Outcome::Cancelled, 0)]);
}

#[test]
fn a_pool_that_drains_tries_nothing_again() {
    let mut pool = busy(Config { retries: 5, ..warm(2) });
    pool.tell(Event::Stop(Stop::Drain));

    let failed = pool.tell(answered(0, 0, 0, Answer::Failed));
    let died = pool.tell(exited(1, 0));

    assert_eq!(failed, [settle(0, 1, Outcome::Failed, 1), Effect::CloseInput(worker(0, 0))]);
    assert_eq!(died, [settle(1, 1, Outcome::WorkerDied, 1), reap(1, 0)]);
    assert!(pool.engine.is_finished());
}

#[test]
fn a_harder_stop_terminates_and_after_the_grace_kills() {
    let mut pool = busy(Config { grace: SECOND, ..warm(2) });
    pool.tell(Event::Stop(Stop::Drain));

    let ends = [Effect::Terminate(worker(0, 0)), Effect::Terminate(worker(1, 0))];
    assert_eq!(pool.tell(Event::Stop(Stop::Term)), ends);
    assert_eq!(pool.tell(Event::Stop(Stop::Drain)), [], "a softer stop changes nothing");
    assert_eq!(pool.engine.counts().stop, Some(Stop::Term));
    assert_eq!(pool.tell(exited(0, 0)), [settle(0, 1, Outcome::Cancelled, 1), reap(0, 0)]);
    assert_eq!(pool.tick_after(SECOND), [Effect::Kill(worker(1, 0))]);
    assert_eq!(pool.tell(exited(1, 0)), [settle(1, 1, Outcome::Cancelled, 1), reap(1, 0)]);
    assert!(pool.engine.is_quiet());
}

#[test]
fn the_hardest_stop_kills_at_once() {
    let mut pool = busy(warm(2));

    let effects = pool.tell(Event::Stop(Stop::Kill));

    let kills = [Effect::Kill(worker(0, 0)), Effect::Kill(worker(1, 0))];
    assert_eq!(effects, [vec![settle(2, 3, Outcome::Cancelled, 0)], kills.to_vec()].concat());
}

#[test]
fn what_finishes_after_term_counts_and_what_fails_is_cancelled() {
    let mut pool = busy(warm(2));
    pool.tell(Event::Stop(Stop::Term));

    let effects = pool.tell_all([finished(0, 0, 1), answered(1, 0, 1, Answer::Failed)]);

    assert_eq!(effects, [settle(0, 1, Outcome::Ok, 1), settle(1, 1, Outcome::Cancelled, 1)]);
}

#[test]
fn a_worker_that_starts_is_not_waited_for_when_the_pool_stops() {
    let mut pool = Pool::new(warm(1));
    pool.tell(Event::Items(1));

    let effects = pool.tell(Event::Stop(Stop::Drain));

    assert_eq!(effects, [settle(0, 1, Outcome::Cancelled, 0), Effect::Terminate(worker(0, 0))]);
    assert_eq!(pool.tell(exited(0, 0)), [reap(0, 0)]);
}

#[test]
fn enough_failures_halt_the_run_at_once() {
    let mut pool = busy(halting(HaltHow::Now, HaltAt::Failures(1)));

    let effects = pool.tell(answered(0, 0, 0, Answer::Failed));

    let ends = [
        settle(0, 1, Outcome::Failed, 1),
        Effect::Halted,
        settle(2, 3, Outcome::Cancelled, 0),
        Effect::Terminate(worker(0, 0)),
        Effect::Terminate(worker(1, 0)),
    ];
    assert_eq!(effects, ends);
}

#[test]
fn a_halt_that_is_not_urgent_lets_finish_what_runs() {
    let mut pool = busy(halting(HaltHow::Soon, HaltAt::Failures(1)));

    let effects = pool.tell(answered(0, 0, 0, Answer::Failed));
    let other = pool.tell(answered(1, 0, 1, Answer::Failed));

    let ends = [
        settle(0, 1, Outcome::Failed, 1),
        Effect::Halted,
        settle(2, 3, Outcome::Cancelled, 0),
        Effect::CloseInput(worker(0, 0)),
    ];
    assert_eq!(effects, ends);
    assert_eq!(other, [settle(1, 1, Outcome::Failed, 1), Effect::CloseInput(worker(1, 0))]);
}

#[test]
fn a_share_of_failures_is_judged_at_the_end_of_a_short_input() {
    let mut pool = Pool::new(halting(HaltHow::Soon, HaltAt::Percent(50)));
    pool.tell_all([Event::Items(1), Event::EndOfInput, ready(0, 0)]);

    let effects = pool.tell(answered(0, 0, 0, Answer::Failed));

    assert_eq!(effects, [settle(0, 1, Outcome::Failed, 1), Effect::Halted, Effect::CloseInput(worker(0, 0))]);
}

#[test]
fn a_share_of_failures_is_not_judged_while_items_run() {
    let mut pool = Pool::new(halting(HaltHow::Soon, HaltAt::Percent(60)));
    pool.tell_all([Event::Items(2), Event::EndOfInput, ready(0, 0), ready(1, 0)]);

    let first = pool.tell(answered(0, 0, 0, Answer::Failed));

    assert_eq!(first, [settle(0, 1, Outcome::Failed, 1)]);
    let second = pool.tell(finished(1, 0, 1));
    let ends = [Effect::CloseInput(worker(0, 0)), Effect::CloseInput(worker(1, 0))];
    assert_eq!(second, [vec![settle(1, 1, Outcome::Ok, 1)], ends.to_vec()].concat());
}

#[test]
fn a_pool_that_has_given_up_is_not_halted_as_well() {
    let mut pool = Pool::new(Config { slots: 1, ..halting(HaltHow::Soon, HaltAt::Percent(50)) });
    pool.tell_all([Event::Items(2), Event::EndOfInput, ready(0, 0)]);
    pool.wait(SECOND);
    pool.tell(exited_with(0, 0, Some(0), EndCause::Ended));

    let effects = pool.tell(spawn_failed(0, 1, Lasting::Yes));

    assert_eq!(effects, [Effect::GaveUp(GiveUp::CannotStart), settle(1, 1, Outcome::Cancelled, 0)]);
    assert_eq!(pool.tell(Event::Tick), []);
}

#[test]
fn five_starts_in_a_row_without_a_hello_are_enough() {
    let mut pool = Pool::new(warm(1));
    pool.tell(Event::Items(2));
    let mut waits = Vec::new();

    for generation in 0..4 {
        assert_eq!(pool.tell(Event::Spawned(worker(0, generation))), []);
        let effects = pool.tell(exited(0, generation));
        assert_eq!(effects[0], reap(0, generation));
        if effects.len() == 1 {
            let wait = pool.patience().expect("it waits before the next start");
            waits.push(wait.as_millis());
            assert_eq!(pool.tick_after(wait), [Effect::Spawn(worker(0, generation + 1))]);
        }
    }
    let effects = pool.tell(exited(0, 4));

    assert_eq!(waits, [50, 100, 200]);
    let gave_up = Effect::GaveUp(GiveUp::TooManyStarts(5));
    assert_eq!(effects, [reap(0, 4), gave_up, settle(0, 2, Outcome::Cancelled, 0)]);
    assert!(pool.engine.is_quiet());
}

#[test]
fn a_hello_makes_up_for_earlier_failures() {
    let mut pool = Pool::new(warm(1));
    pool.tell(Event::Items(1));
    for generation in 0..20 {
        if generation % 4 == 3 {
            pool.tell(ready(0, generation));
        }
        pool.tell(exited(0, generation));
        pool.tick_after(SECOND);
    }

    assert_eq!(pool.engine.counts().queued, 1);
    assert_eq!(pool.engine.counts().stop, None);
}

#[test]
fn a_slot_where_nothing_starts_does_not_end_a_pool_that_works() {
    let mut pool = Pool::new(warm(2));
    pool.tell_all([Event::Items(9), ready_as(0, 0, ahead(1, Accounting::InOrder))]);
    for generation in 0..20 {
        pool.tell(exited(1, generation));
        pool.tick_after(SECOND);
    }

    assert_eq!(pool.engine.counts().stop, None);
    let effects = pool.tell(exited(0, 0));
    assert_eq!(effects[0], settle(0, 1, Outcome::WorkerDied, 1));
    assert_eq!(pool.engine.counts().stop, None, "one start is still on its way");
    assert!(pool.tell(exited(1, 20)).contains(&Effect::GaveUp(GiveUp::TooManyStarts(21))));
}

#[test]
fn a_program_that_cannot_be_started_ends_the_pool_at_once() {
    let mut pool = Pool::new(warm(2));
    pool.tell(Event::Items(3));

    let effects = pool.tell(spawn_failed(0, 0, Lasting::Yes));

    let ends = [
        Effect::GaveUp(GiveUp::CannotStart),
        settle(0, 3, Outcome::Cancelled, 0),
        Effect::Terminate(worker(1, 0)),
    ];
    assert_eq!(effects, ends);
    assert_eq!(pool.tell(spawn_failed(1, 0, Lasting::Yes)), []);
    assert!(pool.engine.is_quiet());
}

#[test]
fn a_start_that_failed_for_now_is_tried_again_after_a_while() {
    let mut pool = Pool::new(warm(1));
    pool.tell(Event::Items(1));

    assert_eq!(pool.tell(spawn_failed(0, 0, Lasting::No)), []);
    assert_eq!(pool.patience(), Some(Duration::from_millis(50)));
    assert_eq!(pool.tick_after(Duration::from_millis(50)), [Effect::Spawn(worker(0, 1))]);
}
