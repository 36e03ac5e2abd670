//! Any JSON value, as a task's argument or result. As text it passes unchanged; between native programs, whose bytes do
//! not describe themselves, it travels as a string.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A JSON value as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Json(Box<RawValue>);

impl Json {
    /// It as text.
    pub(crate) fn text(&self) -> &str {
        self.0.get()
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// What serde finds.
    pub(crate) fn from_value(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        to_raw_value(value).map(Self)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.0.serialize(serializer)
        } else {
            serializer.serialize_str(self.text())
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Box::<RawValue>::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        RawValue::from_string(text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use poolctl_worker::{Decoder, Encoder};

    use super::*;

    #[test]
    fn a_value_travels_as_text_and_as_bytes() {
        let text = r#"{"a": [1.50, null]}"#;
        let value: Json = serde_json::from_str(text).unwrap();
        let mut encoder = Encoder::new();

        encoder.value(&value).unwrap();

        assert_eq!(Decoder::new(encoder.main()).value::<Json>().unwrap().text(), text);
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
    }
}
