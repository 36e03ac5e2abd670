//! The stock worker.

#![forbid(unsafe_code)]

fn main() {
    poolctl::init();
}
