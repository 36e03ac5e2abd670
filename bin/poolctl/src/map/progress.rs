//! How far the run is: a bar at a terminal, a line now and then elsewhere, JSON for programs.

use std::io::IsTerminal;
use std::time::Duration;

use poolctl_supervisor::Counts;
use poolctl_types::Moment;
use serde::Serialize;

use super::screen::Screen;
use crate::config::ProgressWhen;
use crate::value::Span;

/// Tells how far the run is.
#[derive(Debug)]
pub(crate) struct Progress {
    form: Form,
    started: Moment,
    next: Moment,
    /// Finished items when last looked at, and the smoothed rate in items per second.
    last: Option<(Moment, u64)>,
    rate: f64,
}

#[derive(Debug)]
enum Form {
    Nothing,
    Bar(Screen),
    Lines,
    Json,
}

/// Between two lines off a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Between two JSON objects.
const JSON_INTERVAL: Duration = Duration::from_secs(1);
/// A run that is over sooner needs no bar.
const BAR_DELAY: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Object {
    v: u32,
    done: u64,
    total: Option<u64>,
    failed: u64,
    running: u64,
    per_second: f64,
    eta_ms: Option<u64>,
    elapsed_ms: u64,
}

impl Progress {
    /// Progress as asked for; with `Auto`, what fits to where stderr goes.
    pub(crate) fn new(when: ProgressWhen, quiet: bool, now: Moment) -> Self {
        let terminal =
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (form, first) = match when {
            _ if quiet && when != ProgressWhen::Json => (Form::Nothing, Duration::ZERO),
            ProgressWhen::Never => (Form::Nothing, Duration::ZERO),
            ProgressWhen::Json => (Form::Json, JSON_INTERVAL),
            ProgressWhen::Auto if terminal => (Form::Bar(Screen::new()), BAR_DELAY),
            ProgressWhen::Always if terminal => (Form::Bar(Screen::new()), Duration::ZERO),
            ProgressWhen::Always => (Form::Lines, JSON_INTERVAL),
            ProgressWhen::Auto => (Form::Lines, LINE_INTERVAL),
        };
        Self { form, started: now, next: now + first, last: None, rate: 0.0 }
    }

    /// The bar, if there is one, for those who write to the same terminal.
    pub(crate) fn screen(&self) -> Option<Screen> {
        match &self.form {
            Form::Bar(screen) => Some(screen.clone()),
            Form::Nothing | Form::Lines | Form::Json => None,
        }
    }

    /// When to look again; none: never.
    pub(crate) fn next_look(&self) -> Option<Moment> {
        (!matches!(self.form, Form::Nothing)).then_some(self.next)
    }

    /// Shows how far it is, if it is time. What goes to stderr as text is returned.
    pub(crate) fn look(&mut self, now: Moment, counts: &Counts) -> Option<String> {
        if self.next_look().is_none_or(|next| now < next) {
            return None;
        }
        let done = counts.ok + counts.failed;
        let (since, before) = self.last.unwrap_or((self.started, 0));
        let elapsed = now.since(since).as_secs_f64();
        if elapsed > 0.0 {
            let fresh = done.saturating_sub(before) as f64 / elapsed;
            // The younger the run, the more the newest figure counts.
            let weight =
                (elapsed / 5.0).max(elapsed / now.since(self.started).as_secs_f64().max(elapsed)).min(1.0);
            self.rate += (fresh - self.rate) * weight;
        }
        self.last = Some((now, done));
        let total = counts.input_ended.then_some(counts.read);
        let left = total.map(|total| total.saturating_sub(done + counts.cancelled));
        let eta = left
            .filter(|_| self.rate > 0.0)
            .map(|left| Duration::from_secs_f64((left as f64 / self.rate).min(1e9)));
        let text = sentence(done, total, self.rate, eta, counts);
        match &self.form {
            Form::Nothing => None,
            Form::Bar(screen) => {
                self.next = now + Screen::INTERVAL;
                screen.show(done, total, text);
                None
            }
            Form::Lines => {
                self.next = now + LINE_INTERVAL;
                Some(format!("poolctl: {text}\n"))
            }
            Form::Json => {
                self.next = now + JSON_INTERVAL;
                Some(self.object(now, done, total, eta, counts))
            }
        }
    }

    /// The last look: takes the bar away; a program is told the final figures.
    pub(crate) fn end(mut self, now: Moment, counts: &Counts) -> Option<String> {
        match &self.form {
            Form::Bar(screen) => {
                screen.clear();
                None
            }
            Form::Json => {
                self.next = now;
                self.look(now, counts)
            }
            Form::Nothing | Form::Lines => None,
        }
    }

    fn object(
        &self,
        now: Moment,
        done: u64,
        total: Option<u64>,
        eta: Option<Duration>,
        counts: &Counts,
    ) -> String {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let object = Object {
            v: 1,
            done,
            total,
            failed: counts.failed,
            running: counts.running,
            per_second: (self.rate * 10.0).round() / 10.0,
            eta_ms: eta.map(millis),
            elapsed_ms: millis(now.since(self.started)),
        };
        serde_json::to_string(&object).expect("numbers only") + "\n"
    }
}

fn sentence(done: u64, total: Option<u64>, rate: f64, eta: Option<Duration>, counts: &Counts) -> String {
    let mut text = match total {
        Some(total) => format!("{done}/{total} done"),
        None => format!("{done} done"),
    };
    text += &if rate >= 10.0 || rate == 0.0 { format!(", {rate:.0}/s") } else { format!(", {rate:.1}/s") };
    if let Some(eta) = eta.filter(|eta| !eta.is_zero()) {
        text += &format!(", {} left", Span(eta));
    }
    text += &format!(", {} running", counts.running);
    if counts.failed > 0 {
        text += &format!(", {} failed", counts.failed);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ok: u64, failed: u64, read: u64, input_ended: bool) -> Counts {
        Counts { ok, failed, read, input_ended, running: 2, ..Counts::default() }
    }

    fn lines() -> Progress {
        Progress { form: Form::Lines, started: Moment(0), next: Moment(0), last: None, rate: 0.0 }
    }

    #[test]
    fn the_total_and_the_time_left_are_told_once_the_input_has_ended() {
        let at = Moment(10_000_000_000);
        assert_eq!(
            lines().look(at, &counts(99, 1, 5000, false)).unwrap(),
            "poolctl: 100 done, 10/s, 2 running, 1 failed\n"
        );
        assert_eq!(
            lines().look(at, &counts(100, 0, 300, true)).unwrap(),
            "poolctl: 100/300 done, 10/s, 20 s left, 2 running\n"
        );
    }

    #[test]
    fn nothing_is_told_before_it_is_time() {
        let mut progress = lines();
        assert!(progress.look(Moment(1), &counts(1, 0, 1, false)).is_some());

        assert!(progress.look(Moment(2), &counts(2, 0, 2, false)).is_none());
        assert_eq!(progress.next_look(), Some(Moment(10_000_000_001)));
    }

    #[test]
    fn a_program_is_told_in_json() {
        let mut progress = Progress { form: Form::Json, ..lines() };

        let text = progress.look(Moment(2_000_000_000), &counts(10, 0, 30, true)).unwrap();

        let expected = "{\"v\":1,\"done\":10,\"total\":30,\"failed\":0,\"running\":2,\"per_second\":5.0,\
                        \"eta_ms\":4000,\"elapsed_ms\":2000}\n";
        assert_eq!(text, expected);
    }
}
