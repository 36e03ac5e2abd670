//! The task that stands for a function.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Type};

use crate::function::{Function, Parameter, Returned};
use crate::options::Options;
use crate::signature;

/// A parameter: the type that travels for it, and the names of a value of that type and of the way it travels.
struct Argument<'a> {
    value: Ident,
    way: Ident,
    owned: TokenStream,
    parameter: &'a Parameter,
}

/// The task, in place of the function.
pub(crate) fn task(options: &Options, function: &Function) -> TokenStream {
    let Function { item, docs, conditions, .. } = function;
    let (task, visibility) = (&item.sig.ident, &item.vis);
    let library = &options.library;
    let signature = signature::text(&item.sig);
    let summary = format!(" A task: `{signature}`.");
    // Between the function's own words and ours, if there are any.
    let gap = (!docs.is_empty()).then(|| quote!(#[doc = ""]));
    let body = body(function);
    let pointer = pointer(function);
    let arguments: Vec<Argument<'_>> = arguments(function);
    let the_task = the_task(options, function, &arguments, &signature);
    let entry = entry(function, &arguments);
    let ways = ways(function, &arguments);
    quote! {
        #(#conditions)*
        #(#docs)*
        #gap
        #[doc = #summary]
        #[allow(non_camel_case_types, reason = "it stands for a function")]
        #[derive(Clone, Copy, Debug)]
        #visibility struct #task;

        #(#conditions)*
        const _: () = {
            use #library::expansion as __poolctl;

            impl ::core::ops::Deref for #task {
                type Target = #pointer;

                #[inline]
                fn deref(&self) -> &Self::Target {
                    #body
                    &(#task as #pointer)
                }
            }

            #ways
            #the_task

            const _: () = {
                #entry
            };
        };
    }
}

/// The function itself, under its own name: so its body may have a variable of that name, as functions like to. There,
/// the name is no task; `self::name` is.
fn body(function: &Function) -> TokenStream {
    let mut item = function.item.clone();
    item.vis = syn::Visibility::Inherited;
    quote!(#item)
}

fn pointer(function: &Function) -> TokenStream {
    let parameters = function.parameters.iter().map(|parameter| &parameter.written);
    let output = &function.item.sig.output;
    quote!(fn(#(#parameters),*) #output)
}

fn arguments(function: &Function) -> Vec<Argument<'_>> {
    let named = function.parameters.iter().enumerate();
    named
        .map(|(index, parameter)| Argument {
            value: format_ident!("argument_{index}"),
            way: format_ident!("__poolctl_way_{index}"),
            owned: owned(parameter),
            parameter,
        })
        .collect()
}

/// The type that travels for a parameter.
fn owned(parameter: &Parameter) -> TokenStream {
    let Some(referent) = &parameter.referent else {
        let written = &parameter.written;
        return quote!(#written);
    };
    match referent {
        Type::Slice(slice) => {
            let element = &slice.elem;
            quote_spanned!(referent.span()=> ::std::vec::Vec<#element>)
        }
        _ => quote_spanned!(referent.span()=> <#referent as ::std::borrow::ToOwned>::Owned),
    }
}

/// For each type that travels, the function that chooses its way. A type that cannot travel is an error there alone,
/// which points at the type.
fn ways(function: &Function, arguments: &[Argument<'_>]) -> TokenStream {
    let chosen = |way: &Ident, travels: &TokenStream, span: Span| {
        quote_spanned! {span=>
            #[inline]
            #[allow(unused_imports, clippy::needless_borrow, reason = "one of the traits is the way")]
            fn #way() -> impl __poolctl::Way<#travels> {
                use __poolctl::{ViaBits as _, ViaBytes as _, ViaBytesAlone as _, ViaValue as _};
                (&&&&__poolctl::Probe::<#travels>::NEW).way()
            }
        }
    };
    let there = arguments
        .iter()
        .map(|Argument { way, owned, parameter, .. }| chosen(way, owned, parameter.written.span()));
    let (output, span) = output(function);
    let back = chosen(&way_back(), &output, span);
    quote!(#(#there)* #back)
}

/// The name of the way of the result.
fn way_back() -> Ident {
    Ident::new("__poolctl_way_back", Span::call_site())
}

/// The type of the result, and where it is written.
fn output(function: &Function) -> (TokenStream, Span) {
    match &function.returned {
        Returned::Nothing => (quote!(()), function.item.sig.ident.span()),
        Returned::Value(written) => (quote!(#written), written.span()),
        Returned::Fallible(written) => {
            (quote_spanned!(written.span()=> <#written as __poolctl::Fallible>::Ok), written.span())
        }
    }
}

/// `impl Task`.
fn the_task(
    options: &Options,
    function: &Function,
    arguments: &[Argument<'_>],
    signature: &str,
) -> TokenStream {
    let task = &function.item.sig.ident;
    let name = options.name.as_ref().map_or_else(|| task.to_string(), syn::LitStr::value);
    let name = name.strip_prefix("r#").unwrap_or(&name);
    let values: Vec<&Ident> = arguments.iter().map(|argument| &argument.value).collect();
    let owned: Vec<&TokenStream> = arguments.iter().map(|argument| &argument.owned).collect();
    let args = packed(&owned);
    let pattern = packed(&values);
    let ways: Vec<&Ident> = arguments.iter().map(|argument| &argument.way).collect();
    let given = arguments.iter().map(|Argument { value, parameter, .. }| match &parameter.referent {
        Some(referent) => quote!(::core::borrow::Borrow::<#referent>::borrow(&#value)),
        None => quote!(#value),
    });
    let call = quote!((*#task)(#(#given),*));
    let called = match &function.returned {
        Returned::Nothing | Returned::Value(_) => quote!(::core::result::Result::Ok(#call)),
        Returned::Fallible(_) => {
            quote!(__poolctl::Fallible::into_result(#call).map_err(__poolctl::returned))
        }
    };
    let (output, _) = output(function);
    let way_back = way_back();
    quote! {
        impl __poolctl::Task for #task {
            type Args = #args;
            type Output = #output;
            const NAME: &'static str = #name;
            const SIGNATURE: &'static str = #signature;

            #[inline]
            fn key() -> &'static ::std::sync::Arc<str> {
                static KEY: ::std::sync::OnceLock<::std::sync::Arc<str>> = ::std::sync::OnceLock::new();
                KEY.get_or_init(|| __poolctl::key::<Self>())
            }

            #[inline]
            #[allow(unused_variables, reason = "a task may have no parameters")]
            fn encode_args<'a>(
                args: &'a Self::Args,
                into: &mut __poolctl::Encoder<'a>,
            ) -> ::core::result::Result<(), __poolctl::EncodeError> {
                let #pattern = args;
                #(__poolctl::Way::encode(#ways(), #values, into)?;)*
                ::core::result::Result::Ok(())
            }

            #[inline]
            #[allow(unused_variables, reason = "a task may have no parameters")]
            fn append_args(args: &Self::Args, main: &mut ::std::vec::Vec<u8>) -> bool {
                let #pattern = args;
                true #(&& __poolctl::Way::append(#ways(), #values, main))*
            }

            #[inline]
            fn decode_output(
                from: &mut __poolctl::Decoder<'_>,
            ) -> ::core::result::Result<Self::Output, __poolctl::DecodeError> {
                __poolctl::Way::decode(#way_back(), from)
            }

            #[inline]
            #[allow(clippy::unit_arg, reason = "a task may return nothing")]
            fn call(args: Self::Args) -> ::core::result::Result<Self::Output, __poolctl::RemoteError> {
                let #pattern = args;
                #called
            }
        }
    }
}

/// What one parameter is alone, and several are in a tuple.
fn packed<T: quote::ToTokens>(several: &[T]) -> TokenStream {
    match several {
        [one] => quote!(#one),
        _ => quote!((#(#several),*)),
    }
}

/// What is registered.
fn entry(function: &Function, arguments: &[Argument<'_>]) -> TokenStream {
    let task = &function.item.sig.ident;
    let doc = function.first_line();
    let way_back = way_back();
    let ways = arguments.iter().map(|argument| &argument.way);
    let decodes = match arguments {
        [one] => {
            let way = &one.way;
            quote!(__poolctl::Way::decode(#way(), from))
        }
        _ => quote!(::core::result::Result::Ok((#(__poolctl::Way::decode(#ways(), from)?),*))),
    };
    let reads = reads(arguments);
    quote! {
        #[inline]
        #[allow(unused_variables, reason = "a task may have no parameters")]
        fn decode_args(
            from: &mut __poolctl::Decoder<'_>,
        ) -> ::core::result::Result<<#task as __poolctl::Task>::Args, __poolctl::DecodeError> {
            #decodes
        }

        #[inline]
        fn read_args(
            text: &[u8],
        ) -> ::core::result::Result<<#task as __poolctl::Task>::Args, __poolctl::JsonError> {
            #reads
        }

        fn binary(
            from: &mut __poolctl::Decoder<'_>,
            into: &mut __poolctl::Outlet<'_>,
        ) -> ::core::result::Result<(), __poolctl::RemoteError> {
            __poolctl::run_binary::<#task, _>(from, into, decode_args, #way_back())
        }

        fn json(
            text: &[u8],
            into: &mut ::std::vec::Vec<u8>,
        ) -> ::core::result::Result<(), __poolctl::RemoteError> {
            __poolctl::run_json::<#task, _>(text, into, read_args, #way_back())
        }

        #[allow(unused_imports, clippy::needless_borrow, reason = "one of the traits is the choice")]
        fn slice() -> ::core::option::Option<__poolctl::SliceFn> {
            use __poolctl::{ViaItems as _, ViaSlice as _};
            (&&__poolctl::SliceProbe::<#task>::NEW).slice()
        }

        __poolctl::inventory::submit! {
            __poolctl::Entry {
                name: <#task as __poolctl::Task>::NAME,
                signature: <#task as __poolctl::Task>::SIGNATURE,
                doc: #doc,
                binary,
                json,
                slice,
            }
        }
    }
}

/// Reads the arguments from JSON: one from the text itself, several from an array or an object.
fn reads(arguments: &[Argument<'_>]) -> TokenStream {
    let read = |argument: &Argument<'_>, text: TokenStream| {
        let way = &argument.way;
        quote!(__poolctl::Way::read_json(#way(), #text))
    };
    match arguments {
        [] => quote!(__poolctl::no_argument(text)),
        [one] => read(one, quote!(text)),
        several => {
            let names = several.iter().map(|argument| {
                argument.parameter.name.as_ref().map_or_else(String::new, |name| name.to_string())
            });
            let values: Vec<&Ident> = several.iter().map(|argument| &argument.value).collect();
            let reads = several.iter().map(|argument| {
                let value = &argument.value;
                read(argument, quote!(#value.get().as_bytes()))
            });
            quote! {
                let [#(#values),*] = __poolctl::json_arguments(text, [#(#names),*])?;
                ::core::result::Result::Ok((#(#reads?),*))
            }
        }
    }
}
