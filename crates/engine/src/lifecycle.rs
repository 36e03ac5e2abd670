//! The life of a worker as a table: what news means in each stage.
//!
//! Warm workers and processes for one item live by the same table; a process for one item is asked for together
//! with its item, serves from the moment it runs, and is let go with its answer.

use poolctl_types::Item;

use crate::event::{Answer, Capacity, Claim, End, Lasting};
use crate::slot::{Stage, Why};

/// What is told about a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Spawned,
    SpawnFailed(Lasting),
    Ready(Capacity),
    Answers(Answers),
    Claimed(Option<Claim>),
    Retire,
    Waits(u32),
    GoesOn,
    Fault(Option<Item>),
    Exited(End),
}

/// Answers to held items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// The oldest so many are ok.
    Oldest(u32),
    /// This one has this answer.
    One(Item, Answer),
}

/// What news leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Nothing: late, twice, or nonsense.
    Ignore,
    /// The process runs: start its clock.
    Begin,
    /// There will be no process: the life is over before it began.
    Abandon(Lasting),
    /// It is ready for items.
    Greet(Capacity),
    /// Its answers count.
    Take(Answers),
    /// Its claim is held against the clock.
    Judge(Option<Claim>),
    /// It gets nothing more.
    Drain,
    /// It gets nothing more until it goes on, and gives so many items back.
    Park(u32),
    /// It goes on.
    Unpark,
    /// It is ended before its hello.
    Dismiss,
    /// It is killed, and nothing more is believed of it.
    Condemn(Option<Item>),
    /// It is killed; why it was to end stays as it was.
    Hasten,
    /// The life is over.
    Bury(End),
}

/// What `news` means for a life in this `stage`.
pub(crate) fn reaction(stage: Stage, news: News) -> Reaction {
    match (stage, news) {
        (
            Stage::Vacant { .. },
            News::Spawned
            | News::SpawnFailed(_)
            | News::Ready(_)
            | News::Answers(_)
            | News::Claimed(_)
            | News::Retire
            | News::Waits(_)
            | News::GoesOn
            | News::Fault(_)
            | News::Exited(_),
        ) => Reaction::Ignore,

        (Stage::Starting { .. } | Stage::Stopping { .. }, News::Spawned) => Reaction::Begin,
        (Stage::Serving | Stage::Draining, News::Spawned) => Reaction::Ignore,

        (Stage::Starting { .. } | Stage::Stopping { .. }, News::SpawnFailed(lasting)) => {
            Reaction::Abandon(lasting)
        }
        (Stage::Serving | Stage::Draining, News::SpawnFailed(_)) => Reaction::Ignore,

        (Stage::Starting { .. }, News::Ready(capacity)) => Reaction::Greet(capacity),
        (Stage::Serving | Stage::Draining | Stage::Stopping { .. }, News::Ready(_)) => Reaction::Ignore,

        (Stage::Starting { .. }, News::Answers(_)) => Reaction::Ignore,
        (
            Stage::Serving
            | Stage::Draining
            | Stage::Stopping { why: Why::Pursuit | Why::Suspicion | Why::Stop, .. },
            News::Answers(answers),
        ) => Reaction::Take(answers),
        (Stage::Stopping { why: Why::LetGo | Why::Unready | Why::Fault(_), .. }, News::Answers(_)) => {
            Reaction::Ignore
        }

        (Stage::Starting { .. } | Stage::Stopping { .. }, News::Claimed(_)) => Reaction::Ignore,
        (Stage::Serving | Stage::Draining, News::Claimed(claim)) => Reaction::Judge(claim),

        (Stage::Starting { .. }, News::Retire) => Reaction::Dismiss,
        (Stage::Serving, News::Retire) => Reaction::Drain,
        (Stage::Draining | Stage::Stopping { .. }, News::Retire) => Reaction::Ignore,

        (Stage::Serving | Stage::Draining, News::Waits(returned)) => Reaction::Park(returned),
        (Stage::Serving | Stage::Draining, News::GoesOn) => Reaction::Unpark,
        (Stage::Starting { .. } | Stage::Stopping { .. }, News::Waits(_) | News::GoesOn) => Reaction::Ignore,

        (
            Stage::Starting { .. }
            | Stage::Serving
            | Stage::Draining
            | Stage::Stopping { why: Why::Pursuit | Why::Suspicion, .. },
            News::Fault(item),
        ) => Reaction::Condemn(item),
        (
            Stage::Stopping { why: Why::LetGo | Why::Unready | Why::Stop | Why::Fault(_), .. },
            News::Fault(_),
        ) => Reaction::Hasten,

        (
            Stage::Starting { .. } | Stage::Serving | Stage::Draining | Stage::Stopping { .. },
            News::Exited(end),
        ) => Reaction::Bury(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Accounting, EndCause};
    use crate::slot::Level;

    const CAPACITY: Capacity = Capacity { ahead: None, accounting: Accounting::Claim, cancel: false };
    const END: End = End { claimed: None, cause: EndCause::Ended };

    fn stopping(why: Why) -> Stage {
        Stage::Stopping { why, level: Level::Terminated, deadline: None }
    }

    fn letter(stage: Stage, news: News) -> char {
        match reaction(stage, news) {
            Reaction::Ignore => '.',
            Reaction::Begin => 'b',
            Reaction::Abandon(Lasting::No) => 'a',
            Reaction::Greet(CAPACITY) => 'g',
            Reaction::Take(Answers::Oldest(7)) => 't',
            Reaction::Judge(None) => 'j',
            Reaction::Drain => 'd',
            Reaction::Park(5) => 'w',
            Reaction::Unpark => 'o',
            Reaction::Dismiss => 'x',
            Reaction::Condemn(Some(Item(3))) => 'c',
            Reaction::Hasten => 'h',
            Reaction::Bury(END) => 'e',
            other => panic!("what was told got lost: {other:?}"),
        }
    }

    /// As a row of the table in `engine`: spawned, spawn failed, ready, answers, claimed, retire, waits, goes on,
    /// fault, exited.
    fn row(stage: Stage) -> String {
        let news = [
            News::Spawned,
            News::SpawnFailed(Lasting::No),
            News::Ready(CAPACITY),
            News::Answers(Answers::Oldest(7)),
            News::Claimed(None),
            News::Retire,
            News::Waits(5),
            News::GoesOn,
            News::Fault(Some(Item(3))),
            News::Exited(END),
        ];
        news.into_iter().map(|news| letter(stage, news)).collect()
    }

    #[test]
    fn the_table_of_lives_is_as_written() {
        assert_eq!(row(Stage::Vacant { not_before: None }), "..........");
        assert_eq!(row(Stage::Starting { deadline: None }), "bag..x..ce");
        assert_eq!(row(Stage::Serving), "...tjdwoce");
        assert_eq!(row(Stage::Draining), "...tj.woce");
        assert_eq!(row(stopping(Why::LetGo)), "ba......he");
        assert_eq!(row(stopping(Why::Unready)), "ba......he");
        assert_eq!(row(stopping(Why::Fault(None))), "ba......he");
        assert_eq!(row(stopping(Why::Pursuit)), "ba.t....ce");
        assert_eq!(row(stopping(Why::Suspicion)), "ba.t....ce");
        assert_eq!(row(stopping(Why::Stop)), "ba.t....he");
    }

    #[test]
    fn the_level_of_an_end_changes_nothing_in_the_table() {
        for level in [Level::Closed, Level::Terminated, Level::Killed] {
            for why in [Why::LetGo, Why::Unready, Why::Fault(None), Why::Pursuit, Why::Suspicion, Why::Stop] {
                let stage = Stage::Stopping { why, level, deadline: None };

                assert_eq!(row(stage), row(stopping(why)));
            }
        }
    }
}
