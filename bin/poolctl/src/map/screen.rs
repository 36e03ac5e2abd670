//! The progress bar at the bottom of a terminal, which steps aside for whatever else is written there.

use std::fmt;
use std::io;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on stderr, shared by everyone who writes to the terminal.
#[derive(Clone)]
pub(crate) struct Screen {
    bar: ProgressBar,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Screen")
    }
}

impl Screen {
    /// A bar that is drawn when it is first told something.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a fixed template"));
        Self { bar }
    }

    /// Shows how far the run is: the bar itself once the total is known.
    pub(crate) fn show(&self, done: u64, total: Option<u64>, text: String) {
        if let Some(total) = total
            && self.bar.length() != Some(total)
        {
            let style = ProgressStyle::with_template("[{wide_bar:.green}] {msg}").expect("a fixed template");
            self.bar.set_style(style.progress_chars("=> "));
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
        self.bar.set_message(text);
    }

    /// Takes the bar away while `write` writes.
    pub(crate) fn around(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.bar.suspend(write)
    }

    /// Takes the bar away for good.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// How often it is worth telling it something.
    pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
}
