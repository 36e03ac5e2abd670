//! `poolctl explain`: the state of a pool in words, or what an exit code means, and what to do.

use poolctl_service::PoolStats;
use poolctl_types::ExitCode;

use super::ask::{PlaceArgs, attach, print, refused};
use super::words;
use crate::end::End;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  poolctl explain images      how this pool stands, why its workers died last, and what to do
  poolctl explain 126         what this exit code means
";

/// The most lines of a worker's stderr that are shown.
const LINES: usize = 20;

/// Say in words how a pool stands, or what an exit code means
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// A pool, or an exit code
    #[arg(value_name = "NAME|CODE")]
    what: String,
    #[command(flatten)]
    place: PlaceArgs,
}

/// No such exit code.
#[derive(Debug, thiserror::Error)]
#[error("poolctl never ends with {code}")]
struct NoCode {
    code: u8,
}

/// Explains.
pub(crate) fn explain(args: &ExplainArgs) -> Result<End, Failure> {
    if let Ok(code) = args.what.parse::<u8>() {
        return match ExitCode::ALL.into_iter().find(|known| *known as u8 == code) {
            Some(known) => print(&of_code(known)),
            None => Err(Failure::usage(NoCode { code }).hint(
                "it may be the status of a command that ran: poolctl apply and poolctl lock end as that did",
            )),
        };
    }
    let mut connection = args.place.connect()?;
    let pool = attach(&mut connection, &args.what)?;
    let stats = connection.stats(Some(&pool)).map_err(refused)?;
    print(&stats.pools.iter().map(of_pool).collect::<String>())
}

fn of_code(code: ExitCode) -> String {
    let next = match code {
        ExitCode::Ok => return format!("{}: {}\n", code as u8, code.meaning()),
        ExitCode::Failed => {
            "stderr names each item that failed; --log FILE keeps them, --resume-failed takes them again"
        }
        ExitCode::Usage => "stderr names what was not understood; --help begins with examples",
        ExitCode::Halted => "the rule is in --halt; --log and --resume go on where it stopped",
        ExitCode::BadInput => "stderr names line and column; --raw takes lines as strings",
        ExitCode::NoService => "start it: poolctl start; another socket: --socket, POOLD_SOCKET",
        ExitCode::Internal => "please report it with what stderr says; POOLCTL_LOG=debug says more",
        ExitCode::OutputError => "is the disk full? --log and --resume go on where it stopped",
        ExitCode::Overloaded => "wait and try again; poolctl status shows who is busy",
        ExitCode::BadConfig => "stderr names file, line and column, or the command that mends the place",
        ExitCode::Deadline => "a longer --deadline (or --timeout) gives it more time",
        ExitCode::CannotStart => "stderr has what the worker said; run its command by hand",
        ExitCode::NotFound => "poolctl functions lists what there is; --python names an interpreter",
        ExitCode::Interrupted | ExitCode::Terminated => "--log and --resume go on where it stopped",
        ExitCode::ReaderGone => "nothing is wrong: as with `| head`",
    };
    format!("{}: {}\n  {next}\n", code as u8, code.meaning())
}

fn of_pool(pool: &PoolStats) -> String {
    let name = words::name(pool);
    let runs = match (&pool.target, &pool.kind) {
        (None, None) => String::new(),
        (target, kind) => {
            let kind = kind.as_deref().map(|kind| format!(" ({})", words::shown(kind))).unwrap_or_default();
            format!(" runs {}{kind}", target.as_deref().map_or("a program".to_owned(), words::shown))
        }
    };
    let mut text = format!(
        "The pool {name}{runs} with at most {} workers; {} live now.\n",
        pool.workers,
        pool.alive.len()
    );
    text += &match words::state(pool).as_str() {
        "idle" => "It is idle: nothing is queued and nothing runs.\n".to_owned(),
        "busy" => format!("It is busy: {} tasks wait, {} run.\n", pool.queued, pool.running),
        other => {
            let why = pool.why.as_deref().map(|why| format!(": {}", words::shown(why))).unwrap_or_default();
            let is = if other == "gave up" { "has given up".to_owned() } else { format!("is {other}") };
            format!("It {is}{why}.\n")
        }
    };
    text += &said(pool.details.as_deref().unwrap_or_default());
    text += &format!(
        "Since it was opened {} tasks ended well and {} did not: {} failed, {} timed out, {} lost their worker, {} were \
         given up. {} were cancelled.\n",
        pool.ok,
        pool.bad(),
        pool.failed,
        pool.timed_out,
        pool.died,
        pool.quarantined,
        pool.cancelled
    );
    text += &pool.now.iter().map(|running| format!("  {}\n", words::running(running))).collect::<String>();
    match &pool.last_death {
        None if pool.restarts == 0 => text += "No worker has died.\n",
        None => text += &format!("{} workers were replaced.\n", pool.restarts),
        Some(death) => {
            text += &format!("{} workers were replaced. Last, {}.\n", pool.restarts, words::death(death));
            text += &said(&death.stderr);
        }
    }
    text + &advice(pool)
}

/// The last of what a worker wrote, indented.
fn said(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(|line| format!("    {}\n", words::shown(line))).collect()
}

/// What to do.
fn advice(pool: &PoolStats) -> String {
    let name = words::name(pool);
    let mut advice = Vec::new();
    match pool.state.as_deref() {
        Some("gave up") => advice.push(format!(
            "Its workers cannot start. Mend what they said above, then `poolctl reload` opens {name} anew."
        )),
        Some("broken") => advice.push(format!(
            "A worker died and on_worker_death is \"break\". `poolctl reload` opens {name} anew."
        )),
        Some("draining") => {
            advice.push("It takes no new tasks, and ends when those that are there have.".to_owned())
        }
        _ => {}
    }
    if pool.last_death.as_ref().is_some_and(|death| death.oom) {
        advice.push(
            "Workers run out of memory: fewer of them (poolctl scale), or max_rss to replace them in time."
                .to_owned(),
        );
    }
    if words::state(pool) == "not responding" {
        advice.push(
            "A worker was stopped by a signal (SIGSTOP, a debugger): kill -CONT its pid lets it go on."
                .to_owned(),
        );
    }
    if pool.queued > u64::from(pool.workers) * 100 {
        advice.push(format!("Much is waiting: `poolctl scale {name} N` gives it more workers."));
    }
    if pool.timed_out > 0 {
        advice.push("Tasks took longer than timeout_ms allows.".to_owned());
    }
    advice.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use poolctl_service::LastDeath;

    use super::*;

    #[test]
    fn every_exit_code_is_explained_with_a_next_step() {
        for code in ExitCode::ALL {
            let text = of_code(code);
            let lines = if code == ExitCode::Ok { 1 } else { 2 };
            assert_eq!(text.lines().count(), lines, "{text}");
        }
    }

    #[test]
    fn a_pool_whose_workers_cannot_start_is_explained_with_what_they_said() {
        let pool = PoolStats {
            name: Some("images".to_owned()),
            kind: Some("worker".to_owned()),
            target: Some("node w.js".to_owned()),
            state: Some("gave up".to_owned()),
            why: Some("the worker ended 5 times before its hello".to_owned()),
            workers: 2,
            restarts: 5,
            last_death: Some(LastDeath {
                worker: "0.5".to_owned(),
                exit: Some(1),
                stderr: "Error: no module\u{1b}[31m\n".to_owned(),
                ms: 3000,
                ..LastDeath::default()
            }),
            ..PoolStats::default()
        };

        let text = of_pool(&pool);

        assert!(
            text.starts_with("The pool images runs node w.js (worker) with at most 2 workers; 0 live now.\n"),
            "{text}"
        );
        assert!(text.contains("It has given up: the worker ended 5 times"), "{text}");
        assert!(text.contains(
            "Last, worker 0.5 ended with exit code 1, 3.0 s ago.\n    Error: no module\u{fffd}[31m\n"
        ));
        assert!(text.ends_with("then `poolctl reload` opens images anew.\n"));
    }
}
