//! JSON values: handed back as they are, or a part of them.

use poolctl::task;
use serde_json::Value;

use crate::json::Json;

/// Why nothing can be picked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PickError {
    /// No place is named.
    #[error("`{pointer}` is no JSON pointer; one is empty or begins with `/`, as in `/users/0/name`")]
    NoPointer {
        /// What was given.
        pointer: String,
    },
    /// Nothing is there.
    #[error("there is nothing at `{pointer}`")]
    Nothing {
        /// Where.
        pointer: String,
    },
    /// The value cannot be read.
    #[error("the value cannot be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// The value itself, unchanged.
#[task]
fn echo(value: Json) -> Json {
    value
}

/// The part of a value at a JSON pointer, such as `/users/0/name`.
#[task]
fn json_pick(value: Json, pointer: &str) -> Result<Json, PickError> {
    let pointer = || pointer.to_owned();
    if !pointer().is_empty() && !pointer().starts_with('/') {
        return Err(PickError::NoPointer { pointer: pointer() });
    }
    let unreadable = |error: serde_json::Error| PickError::Unreadable { reason: error.to_string() };
    let parsed: Value = serde_json::from_str(value.text()).map_err(unreadable)?;
    let part = parsed.pointer(&pointer()).ok_or_else(|| PickError::Nothing { pointer: pointer() })?;
    Json::from_value(part).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        serde_json::from_str(text).expect("it is JSON")
    }

    #[test]
    fn a_value_comes_back_as_it_was_written() {
        for text in ["null", "[1, 2.50, 1e400]", "{\"b\": 18446744073709551616, \"a\": \"\\u00e9\"}"] {
            assert_eq!(echo(json(text)).text(), text);
        }
    }

    #[test]
    fn a_part_is_picked_by_its_pointer() {
        let value = r#"{"users": [{"name": "Ada"}, {"a/b": [1, {"x": null}]}]}"#;
        let picked = |pointer: &str| json_pick(json(value), pointer).map(|part| part.text().to_owned());

        assert_eq!(picked("/users/0/name"), Ok("\"Ada\"".to_owned()));
        assert_eq!(picked("/users/1/a~1b"), Ok("[1,{\"x\":null}]".to_owned()));
        assert!(picked("").is_ok_and(|whole| whole.contains("Ada")));
    }

    #[test]
    fn a_pointer_to_nothing_is_named() {
        let nothing = json_pick(json("[1]"), "/7").unwrap_err();
        let no_pointer = json_pick(json("[1]"), "7").unwrap_err();

        assert_eq!(nothing.to_string(), "there is nothing at `/7`");
        assert!(no_pointer.to_string().starts_with("`7` is no JSON pointer"), "{no_pointer}");
    }
}
