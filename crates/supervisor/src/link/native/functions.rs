//! The functions that a native worker offers, and what is asked of it.
//!
//! A function is asked for by its name, or by its name, a NUL and its signature: then the worker's must be the same.

use std::sync::Arc;

/// The functions of one worker.
#[derive(Debug, Default)]
pub(super) struct Functions {
    names: Vec<String>,
    /// In the same order; or none.
    signatures: Vec<String>,
    /// What was asked for last, and its place.
    last: Option<(Arc<str>, u32)>,
}

/// Why a function cannot be called.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FunctionError {
    #[error("the worker has no function `{name}`; {}", Offered(offered))]
    NotOffered { name: String, offered: Vec<String> },
    #[error("which of the worker's functions is meant is not said; {}", Offered(offered))]
    NotNamed { offered: Vec<String> },
    #[error(
        "the worker's `{name}` is `{theirs}`, this program's is `{ours}`; build both from the same source"
    )]
    OtherSignature { name: String, ours: String, theirs: String },
}

impl Functions {
    pub(super) fn new(names: Vec<String>, signatures: Vec<String>) -> Self {
        Self { names, signatures, last: None }
    }

    /// The place of a function in the worker's list.
    pub(super) fn find(&self, function: &str) -> Result<u32, FunctionError> {
        let (name, signature) =
            function.split_once('\0').map_or((function, None), |(name, signature)| (name, Some(signature)));
        let Some(at) = self.names.iter().position(|offered| offered == name) else {
            return Err(FunctionError::NotOffered { name: name.to_owned(), offered: self.names.clone() });
        };
        if let (Some(ours), Some(theirs)) = (signature, self.signatures.get(at))
            && ours != theirs
        {
            let (name, ours, theirs) = (name.to_owned(), ours.to_owned(), theirs.clone());
            return Err(FunctionError::OtherSignature { name, ours, theirs });
        }
        Ok(u32::try_from(at).unwrap_or(u32::MAX))
    }

    /// Whether there is but one, which need not be named.
    pub(super) fn only(&self) -> Result<(), FunctionError> {
        if self.names.len() == 1 {
            Ok(())
        } else {
            Err(FunctionError::NotNamed { offered: self.names.clone() })
        }
    }

    /// [`Functions::find`], quick for the one that was asked for last.
    pub(super) fn find_again(&mut self, function: &Arc<str>) -> Result<u32, FunctionError> {
        if let Some((known, at)) = &self.last
            && (Arc::ptr_eq(known, function) || known == function)
        {
            return Ok(*at);
        }
        let at = self.find(function)?;
        self.last = Some((Arc::clone(function), at));
        Ok(at)
    }
}

/// What a worker offers, in a few words.
struct Offered<'a>(&'a [String]);

impl std::fmt::Display for Offered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            f.write_str("it offers none")
        } else {
            write!(f, "it offers {}", self.0.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_by_its_name_and_must_be_the_same() {
        let names = ["add", "square"].map(str::to_owned).into();
        let signatures = ["fn(i64, i64) -> i64", "fn(i64) -> i64"].map(str::to_owned).into();
        let mut functions = Functions::new(names, signatures);
        let square: Arc<str> = "square\0fn(i64) -> i64".into();

        assert_eq!(functions.find("square"), Ok(1));
        assert_eq!(functions.find_again(&square), Ok(1));
        assert_eq!(functions.find_again(&square), Ok(1));
        let other = functions.find("square\0fn(u8) -> u8").unwrap_err();
        assert!(other.to_string().contains("the worker's `square` is `fn(i64) -> i64`"), "{other}");
        let missing = functions.find("cube").unwrap_err();
        assert!(matches!(functions.only(), Err(FunctionError::NotNamed { .. })));
        assert_eq!(missing.to_string(), "the worker has no function `cube`; it offers add, square");
    }
}
