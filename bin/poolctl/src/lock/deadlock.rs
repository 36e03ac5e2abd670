//! Who waits for ever: a pure look at who holds what, who waits for what, and who runs below whom.
//!
//! A waiter gets on when one of those who hold what it wants does, or when there is something free. A holder gets on
//! unless somebody below it waits for ever, since it holds on until all below it has ended. Whoever then does not get
//! on, from the free ends inwards, is in a cycle or behind one.
//!
//! Every waiter registers and looks under the guard, so the one that closes a cycle sees all of it.

use std::fmt;
use std::time::Duration;

use poolctl_supervisor::Moment;

use super::name::Object;
use super::record::{Life, Party, Waiter};
use super::table::{Holding, State, Table};
use crate::value::Span;

/// Waiting would never end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("waiting for {} would never end", .links[0].wants)]
pub(crate) struct Deadlock {
    /// Every waiter in it, the one that is refused first.
    links: Vec<Link>,
}

/// One waiter in a cycle, and who holds what it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    waiter: Party,
    wants: Object,
    holders: Vec<(Party, Duration)>,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits for {}", self.waiter, self.wants)?;
        for (holder, age) in &self.holders {
            write!(f, "\n{} is held by {holder} for {}", self.wants, Span(*age))?;
        }
        Ok(())
    }
}

impl Deadlock {
    /// Every process and lock in it, in lines.
    pub(crate) fn details(&self) -> String {
        let lines: Vec<String> = self.links.iter().map(Link::to_string).collect();
        lines.join("\n")
    }
}

/// Whether `waiter`, one of the table, would wait for ever, and with whom.
pub(crate) fn find(table: &Table, waiter: Life, now: Moment) -> Option<Deadlock> {
    let stuck = stuck(table);
    let first = stuck.iter().find(|found| found.party.life == waiter)?;
    let mut chain = vec![*first];
    let mut links = Vec::new();
    while let Some(waiter) = chain.get(links.len()).copied() {
        let mut holders = Vec::new();
        for party in holders_of(table, waiter).filter_map(|holding| holding.party.as_ref()) {
            holders.push((party.clone(), party.age(now)));
            let below = stuck.iter().filter(|other| other.under.contains(&party.life));
            for other in below {
                if !chain.iter().any(|known| known.party.life == other.party.life) {
                    chain.push(other);
                }
            }
        }
        links.push(Link { waiter: waiter.party.clone(), wants: waiter.wants.clone(), holders });
    }
    Some(Deadlock { links })
}

/// Those who wait for ever.
pub(crate) fn stuck(table: &Table) -> Vec<&Waiter> {
    let mut stuck: Vec<&Waiter> = table.waiters.iter().collect();
    loop {
        let before = stuck.len();
        let moving = |holding: &Holding| match &holding.party {
            // Nobody knows what it waits for, so nobody may say that it waits for ever.
            None => true,
            Some(party) => !stuck.iter().any(|waiter| waiter.under.contains(&party.life)),
        };
        let still: Vec<&Waiter> = stuck
            .iter()
            .copied()
            .filter(|waiter| {
                let holders = holders_of(table, waiter).count();
                holders >= waiter.party.permits as usize && !holders_of(table, waiter).any(moving)
            })
            .collect();
        stuck = still;
        if stuck.len() == before {
            return stuck;
        }
    }
}

fn holders_of<'t>(table: &'t Table, waiter: &Waiter) -> impl Iterator<Item = &'t Holding> {
    let (wants, permits) = (waiter.wants.clone(), waiter.party.permits);
    table
        .holdings
        .iter()
        .filter(move |held| held.object == wants && held.permit < permits && held.state == State::Held)
}

#[cfg(test)]
mod tests {
    use super::super::name::Kind;
    use super::*;

    fn party(pid: u32) -> Party {
        Party {
            life: Life { pid, started: 1 },
            since: 0,
            command: format!("cmd{pid}"),
            permits: 1,
            run: None,
        }
    }

    fn object(name: &str) -> Object {
        let kind = if name.starts_with('s') { Kind::Semaphore } else { Kind::Lock };
        Object { kind, name: name.parse().unwrap() }
    }

    fn held(name: &str, permit: u32, pid: u32) -> Holding {
        Holding { object: object(name), permit, party: Some(party(pid)), state: State::Held }
    }

    fn waiting(pid: u32, name: &str, permits: u32, under: &[u32]) -> Waiter {
        let under = under.iter().map(|pid| Life { pid: *pid, started: 1 }).collect();
        Waiter { party: Party { permits, ..party(pid) }, wants: object(name), under }
    }

    fn pids(table: &Table) -> Vec<u32> {
        stuck(table).iter().map(|waiter| waiter.party.life.pid).collect()
    }

    #[test]
    fn a_chain_is_no_cycle() {
        let table = Table {
            holdings: vec![held("a", 0, 1), held("b", 0, 2)],
            waiters: vec![waiting(3, "a", 1, &[2]), waiting(4, "b", 1, &[])],
        };

        assert_eq!(pids(&table), [0; 0]);
    }

    #[test]
    fn a_cycle_of_two_is_told_with_everybody_in_it() {
        let table = Table {
            holdings: vec![held("a", 0, 1), held("b", 0, 2)],
            waiters: vec![waiting(11, "b", 1, &[1]), waiting(12, "a", 1, &[2])],
        };

        let found = find(&table, Life { pid: 12, started: 1 }, Moment(1_000_000_000)).unwrap();

        assert_eq!(found.to_string(), "waiting for lock `a` would never end");
        let lines = [
            "pid 12 (`cmd12`) waits for lock `a`",
            "lock `a` is held by pid 1 (`cmd1`) for 1.0 s",
            "pid 11 (`cmd11`) waits for lock `b`",
            "lock `b` is held by pid 2 (`cmd2`) for 1.0 s",
        ];
        assert_eq!(found.details(), lines.join("\n"));
    }

    #[test]
    fn who_waits_below_its_own_lock_waits_for_ever() {
        let table = Table { holdings: vec![held("a", 0, 1)], waiters: vec![waiting(5, "a", 1, &[1])] };

        assert_eq!(pids(&table), [5]);
    }

    #[test]
    fn a_semaphore_is_stuck_only_when_all_its_permits_are() {
        let mut table = Table {
            holdings: vec![held("s", 0, 1), held("s", 1, 2)],
            waiters: vec![waiting(5, "s", 2, &[1])],
        };
        assert_eq!(pids(&table), [0; 0], "the other holder gets on");

        table.waiters.push(waiting(6, "s", 2, &[2]));
        assert_eq!(pids(&table), [5, 6]);
        table.holdings[1].state = State::OwnerDied;
        assert_eq!(pids(&table), [0; 0], "a permit is free");
    }

    #[test]
    fn a_holder_that_is_gone_from_the_table_binds_nobody() {
        let table = Table { holdings: vec![held("a", 0, 2)], waiters: vec![waiting(5, "a", 1, &[1])] };

        assert_eq!(pids(&table), [0; 0]);
    }
}
