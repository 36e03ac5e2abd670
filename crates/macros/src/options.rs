//! What stands in the parentheses of the attribute.

use syn::parse::{Parse, ParseStream};
use syn::{Error, LitStr, Path, Token, parse_quote};

/// `name = "…"`, and `crate = …` for who reaches this library by another path.
pub(crate) struct Options {
    /// The name for workers, where it is not the function's.
    pub(crate) name: Option<LitStr>,
    /// Where `expansion` is found.
    pub(crate) library: Path,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self, Error> {
        let mut options = Self { name: None, library: parse_quote!(::poolctl) };
        while !input.is_empty() {
            if input.peek(Token![crate]) {
                input.parse::<Token![crate]>()?;
                input.parse::<Token![=]>()?;
                options.library = input.call(Path::parse_mod_style)?;
            } else {
                options.parse_name(input)?;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn parse_name(&mut self, input: ParseStream<'_>) -> Result<(), Error> {
        let key: syn::Ident = input.parse()?;
        if key != "name" {
            let message = format!("there is no option `{key}`; a task takes `name = \"…\"`");
            return Err(Error::new(key.span(), message));
        }
        input.parse::<Token![=]>()?;
        let name: LitStr = input.parse()?;
        let text = name.value();
        if text.is_empty() || text.chars().any(|char| char.is_whitespace() || char.is_control()) {
            return Err(Error::new(name.span(), "the name of a task is not empty and has no spaces"));
        }
        self.name = Some(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken() {
        let options: Options = syn::parse_str(r#"name = "images.resize","#).unwrap();

        assert_eq!(options.name.unwrap().value(), "images.resize");
        assert!(syn::parse_str::<Options>("").unwrap().name.is_none());
    }

    #[test]
    fn what_is_no_option_is_refused_by_its_name() {
        let refused = |text: &str| syn::parse_str::<Options>(text).err().unwrap().to_string();

        assert_eq!(refused("retries = 3"), "there is no option `retries`; a task takes `name = \"…\"`");
        assert_eq!(refused(r#"name = "a b""#), "the name of a task is not empty and has no spaces");
    }
}
