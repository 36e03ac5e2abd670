//! A map, or one task, in a pool of a service: what it is told on the command line, and what the pool's items are.

use std::os::unix::ffi::OsStringExt;

use poolctl_service::Pool;

use super::args::MapArgs;
use super::items;
use super::plan::{Plan, Purpose};
use super::target::{ServedForm, TargetError, TargetSpec};
use super::{applies, drive, one, target_failure, verbose};
use crate::config;
use crate::end::End;
use crate::failure::Failure;
use crate::service;

/// Items that have no form on a command line.
#[derive(Debug, thiserror::Error)]
#[error("the pool takes Python objects, which only the Python package sends")]
struct ObjectsError;

/// Runs the map.
pub(super) fn run(args: &MapArgs) -> Result<End, Failure> {
    let words: Vec<_> = args.words.iter().chain(&args.command).cloned().collect();
    let sources = items::sources(&words, &args.items.arg_file).map_err(Failure::usage)?;
    start(args, |_| sources, Purpose::Map)
}

/// Runs one task, whose arguments are the words.
pub(super) fn run_one(mut args: MapArgs) -> Result<End, Failure> {
    if !args.command.is_empty() {
        return Err(target_failure(TargetError::Two { first: "--pool" }, "apply"));
    }
    let words: Vec<Vec<u8>> = args.words.drain(..).map(OsStringExt::into_vec).collect();
    if words.is_empty() {
        args.items.raw = false;
    }
    // That of the pool.
    args.pool.jobs = None;
    start(&args, |target| one::sources(target, words), Purpose::Task)
}

fn start(
    args: &MapArgs,
    sources: impl FnOnce(&TargetSpec) -> Vec<items::Source>,
    purpose: Purpose,
) -> Result<End, Failure> {
    let name = args.target.pool.clone().expect("--pool was given");
    let settings = config::load_settings()?;
    verbose::start(args.terminal.verbose, args.terminal.log_format.unwrap_or(settings.log_format))?;
    let mut connection = args.target.place.connect()?;
    let pool = service::attach(&mut connection, &name)?;
    let form = form(&pool).map_err(Failure::usage)?;
    let target = TargetSpec::Served { pool: name, form };
    let sources = sources(&target);
    applies::check(args, &target, &sources).map_err(Failure::usage)?;
    let plan = Plan::new(args, &settings, target, sources, purpose)?;
    drive::drive_served(plan, connection, &pool)
}

/// What the pool's items and results are.
fn form(pool: &Pool) -> Result<ServedForm, ObjectsError> {
    match pool.kind.as_str() {
        "objects" => Err(ObjectsError),
        "lines" => Ok(ServedForm::Line),
        "command" => Ok(ServedForm::Bytes),
        _ => Ok(ServedForm::Json),
    }
}
