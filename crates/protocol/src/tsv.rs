//! TSV: the framing for shells. Requests are `id TAB text`; replies are JSON, or `id TAB ok TAB text`.
//!
//! The text of a JSON string is the string itself, that of any other value is its JSON. Backslash, tab, LF and CR are
//! escaped as `\\ \t \n \r`, so a line is a line and a tab is a border. A text that comes back is a JSON string.

use std::borrow::Cow;
use std::io::Write;

use crate::excerpt::Excerpt;
use crate::jsonl::{self, Reply, ReplyError};
use crate::remote_error::RemoteError;

/// Appends the request line for an item to `out`, LF included.
///
/// - `data`: one line of JSON.
pub fn write_task(out: &mut Vec<u8>, id: u64, data: &[u8]) {
    write!(out, "{id}\t").expect("a Vec takes everything");
    escape(out, &text_of(data));
    out.push(b'\n');
}

/// Reads one line, without its LF, as a reply.
///
/// # Errors
/// [`ReplyError`], with the first 200 bytes of the line.
pub fn parse_reply(line: &[u8]) -> Result<Reply<'_>, ReplyError> {
    if line.first() == Some(&b'{') {
        return jsonl::parse_reply(line);
    }
    let malformed = || ReplyError::MalformedTsv { shown: Excerpt::of(line) };
    let text = str::from_utf8(line)
        .map_err(|source| ReplyError::InvalidUtf8 { shown: Excerpt::of(line), source })?;
    let mut fields = text.splitn(3, '\t');
    let (Some(id), Some(verb)) = (fields.next(), fields.next()) else {
        return Err(malformed());
    };
    let is_plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    let id: u64 = id.parse().ok().filter(|_| is_plain).ok_or_else(malformed)?;
    let text = unescape(fields.next().unwrap_or_default())
        .ok_or_else(|| ReplyError::BadEscape { shown: Excerpt::of(line) })?;
    match verb {
        "ok" => Ok(Reply::Ok { id, value: Cow::Owned(json_string(&text)) }),
        "err" => {
            let error = RemoteError {
                type_name: "Error".to_owned(),
                msg: text.into_owned(),
                trace: None,
                retry: None,
                more: None,
            };
            Ok(Reply::Err { id, error })
        }
        _ => Err(malformed()),
    }
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

/// The text a shell sees of a JSON value.
fn text_of(data: &[u8]) -> Cow<'_, [u8]> {
    if data.first() == Some(&b'"')
        && let Ok(text) = serde_json::from_slice::<String>(data)
    {
        return Cow::Owned(text.into_bytes());
    }
    Cow::Borrowed(data)
}

/// Appends `text` to `out`, with backslash, tab, LF and CR escaped.
pub fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => out.push(byte),
        }
    }
}

/// Takes the escapes out of `text`; `None` if a backslash escapes nothing that is known.
#[must_use]
pub fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '\\' => match letters.next()? {
                '\\' => '\\',
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            _ => letter,
        };
        plain.push(letter);
    }
    Some(Cow::Owned(plain))
}
