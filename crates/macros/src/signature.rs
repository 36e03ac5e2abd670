//! Types as a person writes them.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{ReturnType, Signature};

/// What a function takes and gives, as `fn(i64, &str) -> Vec<f64>`.
pub(crate) fn text(signature: &Signature) -> String {
    let parameters = signature.inputs.iter().filter_map(|argument| match argument {
        syn::FnArg::Typed(typed) => Some(written(typed.ty.to_token_stream())),
        syn::FnArg::Receiver(_) => None,
    });
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    match &signature.output {
        ReturnType::Default => format!("fn({parameters})"),
        ReturnType::Type(_, returned) => {
            format!("fn({parameters}) -> {}", written(returned.to_token_stream()))
        }
    }
}

fn written(tokens: TokenStream) -> String {
    let mut text = String::new();
    let mut is_joined = false;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) => {
                match punct.as_char() {
                    ',' => text.push_str(", "),
                    ';' => text.push_str("; "),
                    '=' => text.push_str(" = "),
                    '+' => text.push_str(" + "),
                    '-' => text.push_str(" -"),
                    '>' if text.ends_with(" -") && is_joined => text.push_str("> "),
                    other => text.push(other),
                }
                is_joined = punct.spacing() == Spacing::Joint;
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                text.push_str(&written(group.stream()));
                text.push_str(close);
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                if text.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
                    text.push(' ');
                }
                text.push_str(&token.to_string());
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_as_a_person_writes_them() {
        let texts = [
            "fn()",
            "fn(i64) -> i64",
            "fn(&str, Vec<f64>, [u8; 32])",
            "fn((), (a::B, Option<Box<C>>)) -> Result<Vec<(i8, char)>, std::io::Error>",
            "fn(&[T])",
        ];

        for expected in texts {
            // A function needs names for its parameters; types of functions do not, and have the same tokens.
            let parsed: syn::TypeBareFn = syn::parse_str(expected).unwrap();
            let inputs = parsed.inputs.iter().map(|input| &input.ty);
            let output = &parsed.output;
            let signature: Signature = syn::parse_quote!(fn f(#(x: #inputs),*) #output);

            assert_eq!(text(&signature), expected);
        }
    }
}
