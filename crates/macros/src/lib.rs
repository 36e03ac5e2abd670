//! The attribute that makes a function a task.
//!
//! `options.rs` reads what stands in the attribute, `function.rs` what the function is, and refuses what cannot be a
//! task; `expand.rs` writes the task. What the expansion refers to is `poolctl_worker::expansion`.

#![forbid(unsafe_code)]

mod expand;
mod function;
mod options;
mod signature;

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};

use function::Function;
use options::Options;

/// Makes a function a task: something that a pool's workers can run, by its name.
///
/// ```ignore
/// /// The square of a number.
/// #[poolctl::task]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
/// ```
///
/// The name of the function then is a value, to be given to a pool, that can still be called: `square(3)`. As with
/// any constant, no variable can have that name where it is in sight: `let square = …` is an error, but in the body of
/// the function itself. There the name is the function, and `self::square` is the task.
///
/// - Parameters and result are types that serde knows (`Serialize` and `Deserialize`), or vectors of plain data
///   (`bytemuck::Pod`), which travel as raw bytes. A parameter may be borrowed (`&str`, `&[f64]`, `&Config`): it
///   travels owned, and is borrowed for the call.
/// - A function that returns a `Result` has failed when it returns `Err`; the error is shown by its `Display`.
/// - `#[task(name = "images.resize")]` gives it another name than the function's. Names are unique in a program.
/// - The first line of its documentation is shown by `poolctl functions`.
///
/// Functions that are generic, `async`, `unsafe` or `extern`, methods, and closures cannot be tasks: another process
/// must be able to call them knowing nothing but the name.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(attribute as Options);
    let item = parse_macro_input!(item as ItemFn);
    match Function::new(item) {
        Ok(function) => expand::task(&options, &function).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
