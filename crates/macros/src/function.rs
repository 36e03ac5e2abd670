//! A function that can be a task: what it takes and gives.

use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, FnArg, Ident, ItemFn, Lit, Meta, Pat, PathArguments, ReturnType, Signature, Type,
};

/// A function that was looked at and found fit.
pub(crate) struct Function {
    /// It, without the attributes below.
    pub(crate) item: ItemFn,
    /// Its `#[doc]`s.
    pub(crate) docs: Vec<Attribute>,
    /// Its `#[cfg]`s.
    pub(crate) conditions: Vec<Attribute>,
    /// Its parameters.
    pub(crate) parameters: Vec<Parameter>,
    /// What it returns.
    pub(crate) returned: Returned,
}

/// A parameter.
pub(crate) struct Parameter {
    /// Its name, where it has one: the key in a JSON object.
    pub(crate) name: Option<Ident>,
    /// Its type as it is written.
    pub(crate) written: Type,
    /// What it refers to, if it is borrowed.
    pub(crate) referent: Option<Type>,
}

/// What a function returns.
pub(crate) enum Returned {
    /// Nothing.
    Nothing,
    /// This.
    Value(Type),
    /// A `Result`, whatever it is an alias of.
    Fallible(Type),
}

impl Function {
    /// Looks at a function.
    ///
    /// # Errors
    /// It cannot be a task; the error points at why.
    pub(crate) fn new(mut item: ItemFn) -> Result<Self, Error> {
        refuse_kinds(&item.sig)?;
        let parameters = item.sig.inputs.iter().map(parameter).collect::<Result<Vec<_>, _>>()?;
        if parameters.len() > MAX_PARAMETERS {
            let message = format!("a task has at most {MAX_PARAMETERS} parameters; put some into a struct");
            return Err(Error::new(item.sig.inputs[MAX_PARAMETERS].span(), message));
        }
        let returned = returned(&item.sig.output)?;
        let (docs, others) = split(std::mem::take(&mut item.attrs), "doc");
        let (conditions, others) = split(others, "cfg");
        item.attrs = others;
        Ok(Self { item, docs, conditions, parameters, returned })
    }

    /// The first line of its documentation; empty if there is none.
    pub(crate) fn first_line(&self) -> String {
        let lines = self.docs.iter().filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(text.value()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
    }
}

/// As many as a tuple may have to be debugged, compared and so on by the standard library.
const MAX_PARAMETERS: usize = 12;

fn refuse_kinds(signature: &Signature) -> Result<(), Error> {
    let refuse = |span, message: &str| Err(Error::new(span, message));
    if let Some(word) = &signature.asyncness {
        let message = "a task cannot be `async`: a worker runs one call at a time; block inside, or start a runtime in \
                       the pool's initializer";
        return refuse(word.span(), message);
    }
    if let Some(word) = &signature.unsafety {
        return refuse(word.span(), "a task cannot be `unsafe`: whoever calls it is in another process");
    }
    if let Some(abi) = &signature.abi {
        return refuse(abi.span(), "a task cannot be `extern`: write a plain `fn` that calls it");
    }
    if let Some(dots) = &signature.variadic {
        return refuse(dots.span(), "a task has a fixed number of parameters");
    }
    if let Some(generic) = signature.generics.params.first() {
        let message = "a task cannot be generic: workers find it by name alone; write one `fn` for each type, or take a \
                       borrowed parameter without naming its lifetime";
        return refuse(generic.span(), message);
    }
    if let Some(clause) = &signature.generics.where_clause {
        return refuse(clause.span(), "a task cannot have a `where` clause");
    }
    Ok(())
}

fn parameter(argument: &FnArg) -> Result<Parameter, Error> {
    let typed = match argument {
        FnArg::Receiver(receiver) => {
            let message = "a task cannot be a method: write a `fn` outside of the `impl` that takes the value as its \
                           first parameter";
            return Err(Error::new(receiver.span(), message));
        }
        FnArg::Typed(typed) => typed,
    };
    let written = (*typed.ty).clone();
    let name = match &*typed.pat {
        Pat::Ident(name) => Some(name.ident.clone()),
        _ => None,
    };
    let referent = match &written {
        Type::Reference(reference) => {
            if let Some(word) = &reference.mutability {
                let message = "a task cannot change its caller's values: take it by value and return it";
                return Err(Error::new(word.span(), message));
            }
            if let Some(lifetime) = &reference.lifetime {
                let message = "an argument lives for the call alone: leave the lifetime out";
                return Err(Error::new(lifetime.span(), message));
            }
            Some((*reference.elem).clone())
        }
        _ => None,
    };
    refuse_opaque(&written)?;
    Ok(Parameter { name, written, referent })
}

fn returned(output: &ReturnType) -> Result<Returned, Error> {
    let written = match output {
        ReturnType::Default => return Ok(Returned::Nothing),
        ReturnType::Type(_, written) => &**written,
    };
    refuse_opaque(written)?;
    match written {
        Type::Reference(_) => {
            let message =
                "a task cannot return a reference: the caller is in another process; return an owned value";
            Err(Error::new(written.span(), message))
        }
        Type::Never(_) => Err(Error::new(written.span(), "a task must be able to return")),
        Type::Path(path) => {
            let is_result = path.path.segments.last().is_some_and(|segment| {
                segment.ident == "Result" && !matches!(segment.arguments, PathArguments::Parenthesized(_))
            });
            Ok(if is_result { Returned::Fallible(written.clone()) } else { Returned::Value(written.clone()) })
        }
        _ => Ok(Returned::Value(written.clone())),
    }
}

fn refuse_opaque(written: &Type) -> Result<(), Error> {
    match written {
        Type::ImplTrait(_) => Err(Error::new(
            written.span(),
            "a task's types must be named: what travels is decided by the type",
        )),
        Type::Reference(reference) => refuse_opaque(&reference.elem),
        Type::TraitObject(_) => {
            Err(Error::new(written.span(), "a trait object cannot travel: take an enum of what it can be"))
        }
        Type::BareFn(_) => {
            Err(Error::new(written.span(), "a function cannot travel: take its name, or an enum"))
        }
        _ => Ok(()),
    }
}

fn split(attributes: Vec<Attribute>, name: &str) -> (Vec<Attribute>, Vec<Attribute>) {
    attributes.into_iter().partition(|attribute| attribute.path().is_ident(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Function::new(syn::parse_str(text).unwrap()).err().expect(text).to_string()
    }

    #[test]
    fn what_cannot_be_a_task_is_told_why() {
        let refused = [
            ("async fn f() {}", "cannot be `async`"),
            ("unsafe fn f() {}", "cannot be `unsafe`"),
            ("extern \"C\" fn f() {}", "cannot be `extern`"),
            ("fn f<T>(x: T) {}", "cannot be generic"),
            ("fn f<'a>(x: &'a str) {}", "without naming its lifetime"),
            ("fn f() where i64: Copy {}", "`where` clause"),
            ("fn f(self) {}", "cannot be a method"),
            ("fn f(&self) {}", "cannot be a method"),
            ("fn f(x: &mut i64) {}", "cannot change its caller's values"),
            ("fn f(x: &'static str) {}", "leave the lifetime out"),
            ("fn f(x: impl Copy) {}", "must be named"),
            ("fn f(x: &dyn Any) {}", "trait object"),
            ("fn f(x: fn()) {}", "function cannot travel"),
            ("fn f() -> impl Copy {}", "must be named"),
            ("fn f() -> &'static str {}", "cannot return a reference"),
            ("fn f() -> ! {}", "must be able to return"),
            ("fn f(a:u8,b:u8,c:u8,d:u8,e:u8,f:u8,g:u8,h:u8,i:u8,j:u8,k:u8,l:u8,m:u8) {}", "at most 12"),
        ];

        for (text, message) in refused {
            assert!(refusal(text).contains(message), "{text}: {}", refusal(text));
        }
    }

    #[test]
    fn parameters_and_results_are_told_apart() {
        let text =
            "/// First.\n/// Second.\nfn f(a: i64, b: &str, (c, d): (u8, u8)) -> io::Result<u8> { Ok(1) }";

        let function = Function::new(syn::parse_str(text).unwrap()).unwrap_or_else(|error| panic!("{error}"));

        assert_eq!(function.first_line(), "First.");
        let names = function.parameters.iter().map(|one| one.name.as_ref().map(Ident::to_string));
        assert_eq!(names.collect::<Vec<_>>(), [Some("a".to_owned()), Some("b".to_owned()), None]);
        let borrowed = function.parameters.iter().map(|one| one.referent.is_some());
        assert_eq!(borrowed.collect::<Vec<_>>(), [false, true, false]);
        assert!(matches!(function.returned, Returned::Fallible(_)));
    }
}
