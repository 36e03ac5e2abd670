//! What goes wrong around a task, as the error that crosses to its caller.

use std::error::Error;
use std::fmt::{Display, Write};

use poolctl_protocol::RemoteError;

/// An error that no further attempt can mend: the arguments are wrong, or the result cannot travel.
pub(crate) fn lasting(type_name: &str, msg: String) -> RemoteError {
    RemoteError { type_name: type_name.to_owned(), msg, trace: None, retry: Some(false), more: None }
}

/// An error of the machine: another attempt may do better.
pub(crate) fn passing(type_name: &str, msg: String) -> RemoteError {
    RemoteError { type_name: type_name.to_owned(), msg, trace: None, retry: None, more: None }
}

/// An error and everything that caused it, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("a String takes everything");
        cause = error.source();
    }
    text
}

/// The error that a task returned.
#[must_use]
pub fn returned<E: Display>(error: E) -> RemoteError {
    let type_name = std::any::type_name::<E>();
    // What is only a text has no type worth naming.
    let is_text = type_name.ends_with("str") || type_name.ends_with("string::String");
    let type_name = if is_text || type_name.contains("dyn ") { "Error" } else { type_name };
    RemoteError {
        type_name: type_name.to_owned(),
        msg: format!("{error:#}"),
        trace: None,
        retry: None,
        more: None,
    }
}
