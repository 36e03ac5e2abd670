//! How a pool stands, for programs and for people.

use serde_json::{Value, json};

use poolctl_supervisor::{Insight, WorkerInsight, now};

use crate::clients::Clients;
use crate::pool::Pool;
use crate::sink::{End, parts_of};
use crate::spec::TargetSpec;

impl Pool {
    /// How it stands.
    pub(crate) fn stats(&self, clients: &Clients) -> Value {
        let counts = self.supervisor.as_ref().map(poolctl_supervisor::Supervisor::counts).unwrap_or_default();
        let tally = &self.tally;
        let waiting = counts.queued + (counts.held - counts.running.min(counts.held));
        json!({
            "pool": self.number,
            "name": self.name,
            "kind": kind_of(&self.spec.target),
            "target": text_of(&self.spec.target),
            "state": self.state(),
            "why": tally.end.as_ref().map(|end| end.error().msg),
            "details": tally.end.as_ref().and_then(|end| end.error().trace),
            "clients": clients.of_pool(self.number).len(),
            "workers": self.workers,
            "queued": self.intake.items() + waiting,
            "running": counts.running,
            "ok": tally.ok,
            "failed": tally.failed,
            "timed_out": tally.timed_out,
            "died": tally.died,
            "quarantined": tally.quarantined,
            "cancelled": tally.cancelled,
            "retried": counts.retried,
            "restarts": tally.deaths,
            "last_death": self.last_death(),
            "alive": self.alive(),
            "now": self.running(),
            "insight": self.insight(),
        })
    }

    fn state(&self) -> &'static str {
        match (&self.tally.end, self.is_closing) {
            (Some(End::GaveUp(_)), _) => "gave up",
            (Some(End::Broken { .. }), _) => "broken",
            (None, true) => "draining",
            (None, false) => "open",
        }
    }

    fn last_death(&self) -> Value {
        let Some(death) = &self.tally.last_death else { return Value::Null };
        let (exit, signal) = parts_of(death.exit);
        json!({
            "worker": death.worker.to_string(),
            "exit": exit,
            "signal": signal,
            "oom": death.out_of_memory,
            "stderr": death.stderr,
            "ms": millis(now() - death.at),
        })
    }

    fn alive(&self) -> Vec<Value> {
        let Some(supervisor) = &self.supervisor else { return Vec::new() };
        let ready = supervisor.ready_pids();
        let told = supervisor.pids().into_iter().map(|(worker, pid)| {
            let is_ready = ready.contains(&(worker, pid));
            json!({ "worker": worker.to_string(), "pid": pid, "ready": is_ready })
        });
        told.collect()
    }

    fn running(&self) -> Vec<Value> {
        let running = self.supervisor.iter().flat_map(poolctl_supervisor::Supervisor::running);
        let told = running.map(|running| {
            let place = self.ledger.whose(running.item);
            json!({
                "task": place.map(|place| place.id),
                "index": place.and_then(|place| place.index),
                "client": place.map(|place| place.client.0),
                "worker": running.worker.to_string(),
                "pid": running.pid,
                "attempt": running.attempt,
                "ms": running.since.map(|since| millis(now() - since)),
            })
        });
        told.collect()
    }

    fn insight(&self) -> Value {
        let Insight { workers, slowest } =
            self.supervisor.as_ref().map(poolctl_supervisor::Supervisor::insight).unwrap_or_default();
        let worker = |worker: &WorkerInsight| {
            json!({
                "worker": worker.worker.to_string(),
                "start_up_ms": worker.start_up.map(millis),
                "waiting_ms": millis(worker.waiting),
                "working_ms": millis(worker.working),
                "tasks": worker.tasks,
            })
        };
        let slow = slowest.iter().map(|slow| {
            let place = self.ledger.whose(slow.item);
            json!({ "task": place.map(|place| place.id), "worker": slow.worker.to_string(), "ms": millis(slow.wall) })
        });
        json!({ "workers": workers.iter().map(worker).collect::<Vec<_>>(), "slowest": slow.collect::<Vec<_>>() })
    }
}

/// The `kind` of a target.
pub(crate) fn kind_of(target: &TargetSpec) -> &'static str {
    match target {
        TargetSpec::Python { .. } => "python",
        TargetSpec::Objects { .. } => "objects",
        TargetSpec::Native { .. } => "native",
        TargetSpec::Worker { .. } => "worker",
        TargetSpec::Lines { .. } => "lines",
        TargetSpec::Command { .. } => "command",
    }
}

/// A target in a few words.
fn text_of(target: &TargetSpec) -> String {
    match target {
        TargetSpec::Python { module, function, .. } => format!("python:{module}:{function}"),
        TargetSpec::Objects { .. } => "python".to_owned(),
        TargetSpec::Native { function, .. } => function.clone(),
        TargetSpec::Worker { argv, .. } | TargetSpec::Lines { argv, .. } | TargetSpec::Command { argv } => {
            argv.join(" ")
        }
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
