//! Black-box tests of `poolctl`: real processes, real signals, real deaths.
#![forbid(unsafe_code)]
