//! The loop inside a native worker: bootstrap, registry, panics.

#![forbid(unsafe_code)]
