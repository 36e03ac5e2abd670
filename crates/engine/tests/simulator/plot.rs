//! What one simulated run is like: its rules, its workers, its accidents; all drawn from its seed.

use std::num::NonZeroU32;
use std::time::Duration;

use poolctl_engine::{Accounting, Capacity, Config, Halt, HaltAt, HaltHow, Lifecycle, Stop, Timeout};

use crate::chance::Chance;

/// How often, in a thousand, something goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) spawn_fails: u64,
    pub(crate) start_dies: u64,
    pub(crate) start_hangs: u64,
    pub(crate) idle_dies: u64,
    pub(crate) fails: u64,
    pub(crate) dies: u64,
    pub(crate) hangs: u64,
    pub(crate) faults: u64,
    pub(crate) deaf: u64,
    pub(crate) retires: u64,
    /// News that makes no sense, or comes too late.
    pub(crate) lies: u64,
}

/// Everything about one run.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    pub(crate) config: Config,
    pub(crate) capacity: Capacity,
    pub(crate) items: u64,
    pub(crate) usual_micros: u64,
    pub(crate) rates: Rates,
    pub(crate) stops: Vec<(Duration, Stop)>,
    pub(crate) has_disturbances: bool,
}

impl Plot {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let items = chance.one_of(&[1, 3, 20, 200, 1_500]);
        let usual_micros = chance.one_of(&[1, 30, 2_000, 500_000]);
        let config = draw_config(chance, usual_micros);
        let accounting =
            chance.one_of(&[Accounting::Claim, Accounting::InOrder, Accounting::Mux, Accounting::Unknown]);
        let ahead = chance.one_of(&[None, NonZeroU32::new(1), NonZeroU32::new(2), NonZeroU32::new(64)]);
        let capacity = Capacity { ahead, accounting, cancel: chance.permille(300) };
        let may_hang = matches!(config.timeout, Timeout::After(_));
        let wild = chance.one_of(&[0, 1, 5]);
        let rates = Rates {
            spawn_fails: wild * chance.one_of(&[0, 10, 100]),
            start_dies: wild * chance.one_of(&[0, 0, 10, 190, 200]),
            start_hangs: wild * chance.one_of(&[0, 20]),
            idle_dies: wild * chance.one_of(&[0, 0, 10, 190, 200]),
            fails: wild * chance.one_of(&[0, 20, 100]),
            dies: wild * chance.one_of(&[0, 10, 100]),
            hangs: if may_hang { wild * chance.one_of(&[0, 20]) } else { 0 },
            faults: wild * chance.one_of(&[0, 10]),
            deaf: wild * chance.one_of(&[0, 100]),
            retires: wild * chance.one_of(&[0, 10]),
            lies: chance.one_of(&[0, 0, 0, 50]),
        };
        Self {
            config,
            capacity,
            items,
            usual_micros,
            rates,
            stops: draw_stops(chance),
            has_disturbances: chance.permille(500),
        }
    }
}

fn draw_config(chance: &mut Chance, usual_micros: u64) -> Config {
    let milli = Duration::from_millis(1);
    let usual = Duration::from_micros(usual_micros);
    let timeout = match chance.below(4) {
        0 => Timeout::After(usual * 3),
        1 => Timeout::After(usual * 50 + milli * 20),
        2 => Timeout::MedianPercent(chance.small(50, 1_000)),
        _ => Timeout::Never,
    };
    let how = chance.one_of(&[HaltHow::Now, HaltHow::Soon]);
    let at = chance.one_of(&[HaltAt::Failures(1), HaltAt::Failures(20), HaltAt::Percent(30)]);
    Config {
        slots: chance.small(1, 6),
        lifecycle: chance.one_of(&[Lifecycle::Warm, Lifecycle::Warm, Lifecycle::PerItem]),
        keep: chance.one_of(&[0, 0, 1, 3]),
        window: chance.one_of(&[1, 2, 17, 65_536]),
        retries: chance.one_of(&[0, 0, 1, 5]),
        retry_delay: chance.one_of(&[Duration::ZERO, Duration::ZERO, milli * 70]),
        max_crashes: chance.one_of(&[1, 3, 3, 100]),
        timeout,
        grace: chance.one_of(&[Duration::ZERO, milli * 50, milli * 2_000]),
        start_timeout: milli * 3_000,
        max_tasks: chance.one_of(&[None, None, Some(1), Some(7)]),
        idle_timeout: chance.one_of(&[None, None, Some(milli * 10)]),
        halt: chance.one_of(&[None, None, Some(Halt { how, at })]),
        delay: chance.one_of(&[Duration::ZERO, Duration::ZERO, Duration::ZERO, milli * 5]),
    }
}

fn draw_stops(chance: &mut Chance) -> Vec<(Duration, Stop)> {
    if !chance.permille(250) {
        return Vec::new();
    }
    let mut at = Duration::ZERO;
    let count = chance.between(1, 3);
    (0..count)
        .map(|_| {
            at += Duration::from_micros(chance.below(300_000));
            (at, chance.one_of(&[Stop::Drain, Stop::Term, Stop::Kill]))
        })
        .collect()
}
