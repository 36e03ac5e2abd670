//! This process's seat among those who share objects, as its host told it. What it means is for those who use it.

use std::sync::OnceLock;

static SEAT: OnceLock<Vec<u8>> = OnceLock::new();

/// Says what the seat of this process is: where it begins, and once.
pub fn set(told: Vec<u8>) {
    // A process begins once.
    SEAT.set(told).unwrap_or_default();
}

/// What was told of it, nothing if all seats were taken; `None` in a process that no host has started.
#[must_use]
pub fn told() -> Option<&'static [u8]> {
    SEAT.get().map(Vec::as_slice)
}
