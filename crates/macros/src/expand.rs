//! The task that stands for a function.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Type};

use crate::function::{Function, Parameter, Returned};
use crate::options::Options;
use crate::signature;

/// A type and the name of a value of it.
struct Argument<'a> {
    value: Ident,
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

/// The call that chooses the way of a type; an error in it points at the type.
fn way(written: &TokenStream, span: proc_macro2::Span) -> TokenStream {
    quote_spanned!(span=> {
        #[allow(unused_imports, reason = "one of them is the way")]
        use __poolctl::{ViaBits as _, ViaBytes as _, ViaBytesAlone as _, ViaValue as _};
        (&&&&__poolctl::Probe::<#written>::NEW).way()
    })
}

fn output(function: &Function) -> (TokenStream, proc_macro2::Span) {
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
    let encodes = arguments.iter().map(|Argument { value, owned, parameter }| {
        let way = way(owned, parameter.written.span());
        quote_spanned!(parameter.written.span()=> __poolctl::encode::<#owned, _>(#way, #value, into)?;)
    });
    let appends = arguments.iter().map(|Argument { value, owned, parameter }| {
        let way = way(owned, parameter.written.span());
        quote_spanned!(parameter.written.span()=> && __poolctl::append::<#owned, _>(#way, #value, main))
    });
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
    let (output, span) = output(function);
    let way = way(&output, span);
    quote! {
        impl __poolctl::Task for #task {
            type Args = #args;
            type Output = #output;
            const NAME: &'static str = #name;
            const SIGNATURE: &'static str = #signature;

            #[inline]
            #[allow(unused_variables, clippy::needless_borrow, reason = "a task may have no parameters")]
            fn encode_args<'a>(
                args: &'a Self::Args,
                into: &mut __poolctl::Encoder<'a>,
            ) -> ::core::result::Result<(), __poolctl::EncodeError> {
                let #pattern = args;
                #(#encodes)*
                ::core::result::Result::Ok(())
            }

            #[inline]
            #[allow(unused_variables, clippy::needless_borrow, reason = "a task may have no parameters")]
            fn append_args(args: &Self::Args, main: &mut ::std::vec::Vec<u8>) -> bool {
                let #pattern = args;
                true #(#appends)*
            }

            #[inline]
            #[allow(clippy::needless_borrow, reason = "the look-up of the way needs it")]
            fn decode_output(
                from: &mut __poolctl::Decoder<'_>,
            ) -> ::core::result::Result<Self::Output, __poolctl::DecodeError> {
                __poolctl::decode::<Self::Output, _>(#way, from)
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
    let (output, span) = output(function);
    let way_back = way(&output, span);
    let decodes = arguments.iter().map(|Argument { owned, parameter, .. }| {
        let way = way(owned, parameter.written.span());
        quote_spanned!(parameter.written.span()=> __poolctl::decode::<#owned, _>(#way, from)?)
    });
    let decodes = packed(&decodes.collect::<Vec<_>>());
    let reads = reads(arguments);
    quote! {
        #[inline]
        #[allow(unused_variables, clippy::needless_borrow, reason = "a task may have no parameters")]
        fn decode_args(
            from: &mut __poolctl::Decoder<'_>,
        ) -> ::core::result::Result<<#task as __poolctl::Task>::Args, __poolctl::DecodeError> {
            ::core::result::Result::Ok(#decodes)
        }

        #[inline]
        #[allow(clippy::needless_borrow, reason = "the look-up of the way needs it")]
        fn read_args(
            text: &[u8],
        ) -> ::core::result::Result<<#task as __poolctl::Task>::Args, __poolctl::JsonError> {
            #reads
        }

        #[allow(clippy::needless_borrow, reason = "the look-up of the way needs it")]
        fn binary(
            from: &mut __poolctl::Decoder<'_>,
            into: &mut __poolctl::Outlet<'_>,
        ) -> ::core::result::Result<(), __poolctl::RemoteError> {
            __poolctl::run_binary::<#task, _>(from, into, decode_args, #way_back)
        }

        #[allow(clippy::needless_borrow, reason = "the look-up of the way needs it")]
        fn json(
            text: &[u8],
            into: &mut ::std::vec::Vec<u8>,
        ) -> ::core::result::Result<(), __poolctl::RemoteError> {
            __poolctl::run_json::<#task, _>(text, into, read_args, #way_back)
        }

        #[allow(clippy::needless_borrow, reason = "the look-up of the way needs it")]
        fn slice() -> ::core::option::Option<__poolctl::SliceFn> {
            #[allow(unused_imports, reason = "one of them is the way")]
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
        let Argument { owned, parameter, .. } = argument;
        let way = way(owned, parameter.written.span());
        quote_spanned!(parameter.written.span()=> __poolctl::read_json::<#owned, _>(#way, #text))
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
