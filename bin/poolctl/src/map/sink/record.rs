//! The JSON object of one item (`--json`), version 1.

use std::io::{self, Write};

use poolctl_supervisor::{Outcome, Output, RemoteError, Report, TaskError};
use serde::Serialize;
use serde_json::value::RawValue;

use super::ResultForm;
use super::summary::Summary;

/// The version of the object's form. Fields may be added to it, and none is taken away.
const VERSION: u32 = 1;

/// One item, ready to be written as JSON.
#[derive(Debug)]
pub(crate) struct Record {
    summary: Summary,
    results: ResultForm,
    ok: bool,
    out: Output,
    stdout: Output,
    stderr: Output,
    error: Option<TaskError>,
}

#[derive(Serialize)]
struct Object<'a> {
    v: u32,
    #[serde(flatten)]
    summary: &'a Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<&'a str>,
    /// What is no text, in place of `out`.
    #[serde(skip_serializing_if = "Option::is_none")]
    out_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    err: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    err_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorObject<'a>>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    msg: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'a str>,
}

impl Record {
    /// The record of a report.
    pub(crate) fn new(summary: Summary, report: Report, results: ResultForm) -> Self {
        let attempt = report.attempt;
        Self {
            summary,
            results,
            ok: report.outcome == Outcome::Ok,
            out: attempt.out,
            stdout: attempt.stdout,
            stderr: attempt.stderr,
            error: attempt.error,
        }
    }

    /// How much memory it takes, about.
    pub(crate) fn held(&self) -> usize {
        256 + self.out.memory_len() + self.stdout.memory_len() + self.stderr.memory_len()
    }

    /// The outputs that can be moved out of memory.
    pub(crate) fn outputs(&mut self) -> [Option<&mut Output>; 3] {
        [Some(&mut self.out), Some(&mut self.stdout), Some(&mut self.stderr)]
    }

    /// Writes the object and a line break.
    ///
    /// # Errors
    /// Output cannot be read back, or `to` cannot be written.
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let (result, printed, err) = (self.out.to_vec()?, self.stdout.to_vec()?, self.stderr.to_vec()?);
        let value = match self.results {
            ResultForm::Value if self.ok => serde_json::from_slice(&result).ok(),
            _ => None,
        };
        // A function's `out` is what it printed; it has none if it printed nothing.
        let out = match self.results {
            ResultForm::Value => (!printed.is_empty()).then_some(&printed),
            ResultForm::Stream | ResultForm::Line => Some(&result),
        };
        let err = (self.results == ResultForm::Stream || !err.is_empty()).then_some(&err);
        let (out, out_base64) = text_or_base64(out);
        let (err, err_base64) = text_or_base64(err);
        let error = self.error.as_ref().map(ErrorObject::new);
        let object =
            Object { v: VERSION, summary: &self.summary, value, out, out_base64, err, err_base64, error };
        let mut line = serde_json::to_vec(&object)?;
        line.push(b'\n');
        to.write_all(&line)
    }
}

impl<'a> ErrorObject<'a> {
    fn new(error: &'a TaskError) -> Self {
        match error {
            TaskError::Remote(RemoteError { type_name, msg, trace, .. }) => Self {
                msg: msg.clone(),
                type_name: (!type_name.is_empty()).then_some(type_name),
                trace: trace.as_deref(),
            },
            other => Self { msg: other.to_string(), type_name: None, trace: None },
        }
    }
}

fn text_or_base64(bytes: Option<&Vec<u8>>) -> (Option<&str>, Option<String>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => (None, None),
        Some(Ok(text)) => (Some(text), None),
        Some(Err(bytes)) => (None, Some(base64(bytes))),
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = LETTERS[bits >> (18 - 6 * at) & 63];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_given_as_base64() {
        assert_eq!([base64(b""), base64(b"f"), base64(b"fo"), base64(b"foo")], ["", "Zg==", "Zm8=", "Zm9v"]);
        let bytes = vec![0xff, 0xfe, 0xfb, 0xef];
        assert_eq!(text_or_base64(Some(&bytes)), (None, Some("//777w==".to_owned())));
        assert_eq!(text_or_base64(Some(&b"x".to_vec())), (Some("x"), None));
    }
}
