//! A worker that misbehaves in one way, chosen by its arguments, and is a faithful echo in everything else.
//!
//! ```text
//! bad-worker at=STAGE how=HOW [on=ITEM] [once=FILE] [caps=A,B]
//! ```
//!
//! - `at`: `start` (before the hello), `idle` (after it), `taken` (an item in hand), `replied` (its reply is out),
//!   `drain` (end of input).
//! - `how`: see [`how::How`].
//! - `on`: the item it happens to, as JSON text; default `7`.
//! - `once`: it happens to the first that makes this file, and never again.
//! - `caps`: what the hello announces.
//!
//! Speaks JSON lines, or frames where `POOLCTL_FRAMING` says so.
#![forbid(unsafe_code)]

mod how;
mod link;

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::process::ExitCode;

use how::{After, How};
use link::{Link, LinkError};

fn main() -> Result<ExitCode, LinkError> {
    let script = Script::of_arguments();
    let mut link = Link::open()?;
    if script.happens_at("start")
        && let After::End(code) = script.how.happen(&mut link, None)?
    {
        return Ok(code);
    }
    link.hello(&script.caps)?;
    if script.happens_at("idle")
        && let After::End(code) = script.how.happen(&mut link, None)?
    {
        return Ok(code);
    }
    while let Some(task) = link.receive()? {
        let chosen = task.data == script.on;
        if chosen && script.happens_at("taken") {
            match script.how.happen(&mut link, Some(&task))? {
                After::End(code) => return Ok(code),
                After::Answered => continue,
                After::GoOn => {}
            }
        }
        link.answer(&task)?;
        if chosen
            && script.happens_at("replied")
            && let After::End(code) = script.how.happen(&mut link, Some(&task))?
        {
            return Ok(code);
        }
    }
    if script.happens_at("drain")
        && let After::End(code) = script.how.happen(&mut link, None)?
    {
        return Ok(code);
    }
    Ok(ExitCode::SUCCESS)
}

/// What it was told to do.
struct Script {
    at: String,
    how: How,
    on: String,
    once: Option<String>,
    caps: Vec<String>,
}

impl Script {
    fn of_arguments() -> Self {
        let mut given: HashMap<String, String> = std::env::args()
            .skip(1)
            .filter_map(|argument| {
                argument.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
            })
            .collect();
        let caps = given.remove("caps").unwrap_or_default();
        Self {
            at: given.remove("at").unwrap_or_default(),
            how: How::parse(&given.remove("how").unwrap_or_default()),
            on: given.remove("on").unwrap_or_else(|| "7".to_owned()),
            once: given.remove("once"),
            caps: caps.split(',').filter(|cap| !cap.is_empty()).map(str::to_owned).collect(),
        }
    }

    /// Whether this is the stage, and the first time where `once` says so.
    fn happens_at(&self, stage: &str) -> bool {
        self.at == stage
            && self
                .once
                .as_ref()
                .is_none_or(|path| OpenOptions::new().write(true).create_new(true).open(path).is_ok())
    }
}
