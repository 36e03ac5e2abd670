//! Hears what a worker says before its first item.

use poolctl_supervisor::{GaveUp, Hello, ItemRange, Notice, Report, Results, Sink};

/// Keeps the first hello, or why there is none.
#[derive(Debug, Default)]
pub(super) struct Listener {
    pub(super) hello: Option<Box<Hello>>,
    pub(super) gave_up: Option<GaveUp>,
}

impl Listener {
    /// Whether nothing more need be waited for.
    pub(super) fn has_heard(&self) -> bool {
        self.hello.is_some() || self.gave_up.is_some()
    }
}

impl Sink for Listener {
    fn run(&mut self, items: ItemRange, _results: Results<'_>) {
        unreachable!("no item is sent, and yet {items:?} have results");
    }

    fn settled(&mut self, report: Report) {
        tracing::debug!(item = %report.item, outcome = ?report.outcome, "the item that made a worker start is dropped");
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Greeted { hello, .. } => {
                self.hello.get_or_insert(hello);
            }
            Notice::GaveUp(why) => {
                self.gave_up.get_or_insert(why);
            }
            other => tracing::debug!(notice = ?other, "a notice"),
        }
    }
}
