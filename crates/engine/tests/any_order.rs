//! Any events, in any order, whether they make sense or not: nothing panics, and the invariants hold.

#![forbid(unsafe_code)]

use std::num::NonZeroU32;
use std::time::Duration;

use poolctl_engine::{
    Accounting, Answer, Capacity, Claim, Config, Effect, End, EndCause, Engine, Event, Gate, Halt, HaltAt,
    HaltHow, Lasting, Lifecycle, Stop, Timeout,
};
use poolctl_types::{Item, ItemRange, Moment, WorkerId};
use proptest::option;
use proptest::prelude::*;

fn workers() -> impl Strategy<Value = WorkerId> {
    (0..4_u32, 0..4_u64).prop_map(|(slot, generation)| WorkerId::new(slot, generation))
}

fn items() -> impl Strategy<Value = Item> {
    prop_oneof![9 => 0..40_u64, 1 => any::<u64>()].prop_map(Item)
}

fn capacities() -> impl Strategy<Value = Capacity> {
    let accounting = prop_oneof![
        Just(Accounting::Claim),
        Just(Accounting::InOrder),
        Just(Accounting::Mux),
        Just(Accounting::Unknown)
    ];
    let ahead = option::of(prop_oneof![1..9_u32, Just(u32::MAX)]);
    (ahead, accounting, any::<bool>()).prop_map(|(ahead, accounting, cancel)| Capacity {
        ahead: ahead.and_then(NonZeroU32::new),
        accounting,
        cancel,
    })
}

fn ends() -> impl Strategy<Value = End> {
    let cause = prop_oneof![Just(EndCause::Ended), Just(EndCause::OutOfMemory), Just(EndCause::NeverRan)];
    (option::of(items()), cause).prop_map(|(claimed, cause)| End { claimed, cause })
}

fn news() -> impl Strategy<Value = Event> {
    let answers = prop_oneof![Just(Answer::Ok), Just(Answer::Failed), Just(Answer::FailedForGood)];
    let lasting = prop_oneof![3 => Just(Lasting::No), 1 => Just(Lasting::Yes)];
    let claim =
        option::of((items(), any::<u64>()).prop_map(|(item, since)| Claim { item, since: Moment(since) }));
    prop_oneof![
        3 => workers().prop_map(Event::Spawned),
        1 => (workers(), lasting).prop_map(|(worker, lasting)| Event::SpawnFailed { worker, lasting }),
        6 => (workers(), capacities()).prop_map(|(worker, capacity)| Event::Ready(worker, capacity)),
        6 => (workers(), 0..9_u32).prop_map(|(worker, count)| Event::Finished { worker, count }),
        1 => workers().prop_map(|worker| Event::Finished { worker, count: u32::MAX }),
        4 => (workers(), items(), answers)
            .prop_map(|(worker, item, answer)| Event::Answered { worker, item, answer }),
        2 => (workers(), claim).prop_map(|(worker, claim)| Event::Claimed { worker, claim }),
        1 => workers().prop_map(Event::Retire),
        1 => (workers(), 0..5_u32).prop_map(|(worker, returned)| Event::Waits { worker, returned }),
        1 => workers().prop_map(Event::GoesOn),
        1 => (0..40_u64, 1..40_u32)
            .prop_map(|(first, count)| Event::CancelQueued(ItemRange::new(Item(first), count))),
        1 => (workers(), option::of(items())).prop_map(|(worker, item)| Event::Fault { worker, item }),
        4 => (workers(), ends()).prop_map(|(worker, end)| Event::Exited { worker, end }),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let gate = prop_oneof![1 => Just(Gate::Closed), 2 => Just(Gate::Open)];
    let stop = prop_oneof![Just(Stop::Drain), Just(Stop::Term), Just(Stop::Kill)];
    prop_oneof![
        120 => news(),
        25 => (0..12_u64).prop_map(Event::Items),
        12 => Just(Event::InputIdle),
        1 => Just(Event::EndOfInput),
        4 => gate.prop_map(Event::Gate),
        8 => items().prop_map(Event::CancelItem),
        1 => stop.prop_map(Event::Stop),
        3 => (0..5_u32).prop_map(Event::Resize),
        2 => Just(Event::Pause),
        2 => Just(Event::Resume),
        12 => Just(Event::Tick),
    ]
}

fn spans() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), Just(1), 0..100_u64, Just(10_000)].prop_map(Duration::from_millis)
}

prop_compose! {
    fn limits()(
        max_tasks in option::of(0..4_u64),
        idle_timeout in option::of(spans()),
        timeout in prop_oneof![
            Just(Timeout::Never),
            spans().prop_map(Timeout::After),
            (0..500_u32).prop_map(Timeout::MedianPercent),
        ],
        at in option::of(prop_oneof![
            (0..3_u64).prop_map(HaltAt::Failures),
            (0..120_u32).prop_map(HaltAt::Percent),
        ]),
        how in prop_oneof![Just(HaltHow::Now), Just(HaltHow::Soon)],
    ) -> (Option<u64>, Option<Duration>, Timeout, Option<Halt>) {
        (max_tasks, idle_timeout, timeout, at.map(|at| Halt { how, at }))
    }
}

prop_compose! {
    fn configs()(
        slots in 0..4_u32,
        keep in 0..3_u32,
        is_warm in any::<bool>(),
        window in prop_oneof![0..9_u64, Just(u64::MAX)],
        retries in prop_oneof![0..3_u32, Just(u32::MAX)],
        max_crashes in 0..4_u32,
        (retry_delay, grace, start_timeout, delay) in (spans(), spans(), spans(), prop_oneof![Just(Duration::ZERO), spans()]),
        (max_tasks, idle_timeout, timeout, halt) in limits(),
    ) -> Config {
        let lifecycle = if is_warm { Lifecycle::Warm } else { Lifecycle::PerItem };
        Config {
            slots, lifecycle, keep, window, retries, retry_delay, max_crashes, timeout, grace, start_timeout, max_tasks,
            idle_timeout, halt, delay,
        }
    }
}

/// Counts what is settled; every item at most once.
#[derive(Default)]
struct Settled(Vec<bool>);

impl Settled {
    fn take(&mut self, effects: &[Effect]) {
        for effect in effects {
            let Effect::Settle { items, .. } = effect else { continue };
            for item in items.iter() {
                let place = usize::try_from(item.0).expect("few items");
                self.0.resize(self.0.len().max(place + 1), false);
                assert!(!std::mem::replace(&mut self.0[place], true), "item {item} is settled once");
            }
        }
    }
}

/// Whether a few ticks leave nothing due: else the host would spin.
fn comes_to_rest(engine: &mut Engine, now: Moment, settled: &mut Settled) -> bool {
    for _ in 0..8 {
        if engine.next_deadline().is_none_or(|deadline| deadline > now) {
            return true;
        }
        let mut effects = Vec::new();
        engine.step(now, Event::Tick, &mut effects);
        engine.invariants();
        settled.take(&effects);
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_events_keeps_the_invariants(
        config in configs(),
        script in proptest::collection::vec((spans(), events()), 1..150),
    ) {
        let mut now = Moment(1_000_000);
        let mut engine = Engine::new(config, now);
        let (mut effects, mut settled) = (Vec::new(), Settled::default());
        for (span, event) in script {
            now = now + span;
            effects.clear();
            engine.step(now, event, &mut effects);
            engine.invariants();
            settled.take(&effects);
            if event == Event::Tick {
                prop_assert!(comes_to_rest(&mut engine, now, &mut settled), "ticks do what is due");
            }
            prop_assert!(engine.running().count() as u64 == engine.counts().running);
        }
    }
}

#[test]
fn absurd_numbers_are_taken() {
    let mut engine =
        Engine::new(Config { slots: u32::MAX, window: 0, ..Config::default() }, Moment(u64::MAX));
    let mut effects = Vec::new();

    for event in
        [Event::Items(u64::MAX), Event::Items(1), Event::CancelItem(Item(u64::MAX)), Event::Resize(0)]
    {
        engine.step(Moment(0), event, &mut effects);
    }
    engine.step(Moment(u64::MAX), Event::Stop(Stop::Kill), &mut effects);

    engine.invariants();
    assert!(engine.is_finished());
}
