//! The attribute that makes a function a task.

#![forbid(unsafe_code)]
