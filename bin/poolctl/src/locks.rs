//! `poolctl locks`: who holds which lock, who waits for it, whose owner died, and who waits for ever.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use poolctl_supervisor::{Moment, now};
use poolctl_types::ExitCode;
use serde::Serialize;

use crate::end::End;
use crate::failure::Failure;
use crate::lock::{Kind, Name, Object, Party, Place, Run, State, Table, no_place, stuck};
use crate::value::Span;

const EXAMPLES: &str = "\
Examples:
  poolctl locks                                      who holds what, who waits, since when
  poolctl locks --json | jq 'select(.waiters != [])' those that somebody waits for
";

/// Show who holds which lock, and who waits for it
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES)]
pub(crate) struct LocksArgs {
    /// One JSON object for each lock and semaphore
    #[arg(long)]
    json: bool,
}

/// One lock or semaphore.
#[derive(Debug, Serialize)]
struct Row {
    kind: Kind,
    name: Name,
    /// How many may hold it at once.
    permits: Option<u32>,
    holders: Vec<Holder>,
    waiters: Vec<Waits>,
}

#[derive(Debug, Serialize)]
struct Holder {
    #[serde(flatten)]
    who: Who,
    /// It died without giving it back; the next owner will be told.
    died: bool,
}

#[derive(Debug, Serialize)]
struct Waits {
    #[serde(flatten)]
    who: Who,
    /// It is in a cycle, or behind one.
    for_ever: bool,
}

/// A process; what it could not say before it died is null.
#[derive(Debug, Serialize)]
struct Who {
    pid: Option<u32>,
    command: Option<String>,
    /// For how long it has held or waited.
    seconds: Option<f64>,
    /// From which run it was started; null if from none.
    run: Option<Run>,
}

/// Prints the list.
pub(crate) fn list(args: &LocksArgs) -> Result<End, Failure> {
    let place = Place::open().map_err(no_place)?;
    let internal = |error| Failure::new(ExitCode::Internal, error);
    let table = place.guard().and_then(|guard| Table::read(&place, &guard)).map_err(internal)?;
    let rows = rows_of(&table, now());
    let mut text = Vec::new();
    for row in &rows {
        if args.json {
            serde_json::to_writer(&mut text, row).expect("texts and numbers can be written to memory");
            text.push(b'\n');
        } else {
            text.extend(shown(row).into_bytes());
        }
    }
    match io::stdout().write_all(&text) {
        Ok(()) => Ok(ExitCode::Ok.into()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::ReaderGone.into()),
        Err(error) => Err(Failure::new(ExitCode::OutputError, error)),
    }
}

fn rows_of(table: &Table, now: Moment) -> Vec<Row> {
    let stuck = stuck(table);
    let mut rows: BTreeMap<&Object, Row> = BTreeMap::new();
    for holding in &table.holdings {
        let who = Who::of(holding.party.as_ref(), now);
        let died = holding.state == State::OwnerDied;
        let row = row(&mut rows, &holding.object);
        row.holders.push(Holder { who, died });
        // What a dead one said may be over.
        let said = holding.party.as_ref().filter(|_| !died).map(|party| party.permits);
        row.permits = said.or(row.permits);
    }
    for waiter in &table.waiters {
        let who = Who::of(Some(&waiter.party), now);
        let for_ever = stuck.iter().any(|other| other.party.life == waiter.party.life);
        let row = row(&mut rows, &waiter.wants);
        row.waiters.push(Waits { who, for_ever });
        row.permits = Some(waiter.party.permits);
    }
    rows.into_values().collect()
}

fn row<'r, 't>(rows: &'r mut BTreeMap<&'t Object, Row>, object: &'t Object) -> &'r mut Row {
    rows.entry(object).or_insert_with(|| Row {
        kind: object.kind,
        name: object.name.clone(),
        permits: None,
        holders: Vec::new(),
        waiters: Vec::new(),
    })
}

impl Who {
    fn of(party: Option<&Party>, now: Moment) -> Self {
        Self {
            pid: party.map(|party| party.life.pid),
            command: party.map(|party| party.command.clone()),
            seconds: party.map(|party| party.age(now).as_secs_f64()),
            run: party.and_then(|party| party.run.clone()),
        }
    }

    fn shown(&self, verb: &str) -> String {
        let Self { pid: Some(pid), command: Some(command), seconds: Some(seconds), run } = self else {
            return format!("{verb}  an unknown process");
        };
        let age = Span(std::time::Duration::from_secs_f64(*seconds)).to_string();
        let run = run.as_ref().map_or_else(String::new, |run| format!("[{run}] "));
        format!("{verb}  pid {pid:<8} {age:<12} {run}{command}")
    }
}

fn shown(row: &Row) -> String {
    let mut text = String::new();
    let object = Object { kind: row.kind, name: row.name.clone() };
    match row.permits {
        Some(permits) if row.kind == Kind::Semaphore => writeln!(text, "{object}, -n {permits}"),
        _ => writeln!(text, "{object}"),
    }
    .expect("memory takes any write");
    for holder in &row.holders {
        let verb = if holder.died { "died  " } else { "held  " };
        writeln!(text, "  {}", holder.who.shown(verb)).expect("memory takes any write");
    }
    for waiter in &row.waiters {
        let verb = if waiter.for_ever { "cycle " } else { "waits " };
        writeln!(text, "  {}", waiter.who.shown(verb)).expect("memory takes any write");
    }
    text
}
