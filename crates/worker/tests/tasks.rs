//! What `#[task]` makes of functions, without any process.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use poolctl_macros::task;
use poolctl_protocol::RemoteError;
use poolctl_sys::{memfd, transfer};
use poolctl_worker::{Decoder, Encoder, Entry, Given, Grants, Landed, Outlet, Piece, Task, entries};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// The square of a number.
///
/// Wraps.
#[task(crate = poolctl_worker)]
fn square(x: i64) -> i64 {
    x.wrapping_mul(x)
}

#[task(crate = poolctl_worker)]
fn fibonacci(n: u32) -> u64 {
    // Inside of itself it is the function, and a variable may have its name; by its path it is the task.
    let fibonacci = |n| if n < 2 { u64::from(n) } else { fibonacci(n - 1) + self::fibonacci(n - 2) };
    fibonacci(n)
}

#[task(crate = poolctl_worker)]
fn scale(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Person {
    name: String,
    age: Option<u8>,
}

#[task(crate = poolctl_worker, name = "people.greet")]
fn greet(greeting: &str, person: &Person, often: usize) -> Vec<String> {
    vec![format!("{greeting}, {}!", person.name); often]
}

#[derive(Debug, thiserror::Error)]
#[error("cannot halve {0}")]
struct Odd(i64);

#[task(crate = poolctl_worker)]
fn halve(x: i64) -> Result<i64, Odd> {
    if x % 2 == 0 { Ok(x / 2) } else { Err(Odd(x)) }
}

#[task(crate = poolctl_worker)]
fn shout(text: String) -> Result<String, &'static str> {
    if text.is_empty() { Err("there is nothing to shout") } else { Ok(text.to_uppercase()) }
}

#[task(crate = poolctl_worker)]
fn nothing() {}

#[task(crate = poolctl_worker)]
fn reversed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

/// Its type is plain data that serde does not know.
#[task(crate = poolctl_worker)]
fn firsts(blocks: Vec<[u8; 64]>) -> Vec<u8> {
    blocks.iter().map(|block| block[0]).collect()
}

#[task(crate = poolctl_worker)]
fn counted(words: BTreeMap<String, Vec<(u8, char)>>, (low, high): (usize, usize)) -> usize {
    words.values().filter(|values| (low..high).contains(&values.len())).count()
}

/// Segments for big results, made here.
#[derive(Default)]
struct Segments(Vec<OwnedFd>);

impl Grants for Segments {
    fn grant(&mut self, bytes: u64) -> Result<OwnedFd, RemoteError> {
        let segment = memfd::sealed("test", bytes).expect("there is memory");
        self.0.push(segment.try_clone().expect("it travels"));
        Ok(segment)
    }
}

fn entry<K: Task>(_: K) -> &'static Entry {
    entries().find(|entry| entry.name == K::NAME).expect("registered")
}

/// Calls as a pool and a worker do together: arguments and result as bytes.
fn called<K: Task>(task: K, args: K::Args) -> Result<K::Output, RemoteError> {
    let mut encoder = Encoder::new();
    K::encode_args(&args, &mut encoder).expect("it travels");
    let parcel = memfd::sealed("test", encoder.parcel_bytes()).expect("it travels");
    encoder.write_buffers(parcel.as_fd(), 0).expect("it travels");
    let mut segments = Segments::default();
    let mut outlet = Outlet::new(Vec::new(), &mut segments);
    let mut decoder = Decoder::with_attachments(encoder.main(), vec![parcel]);
    (entry(task).binary)(&mut decoder, &mut outlet)?;
    match outlet.given() {
        Given::Bytes(bytes) => Ok(K::decode_output(&mut Decoder::new(bytes)).expect("it travels")),
        Given::Parcel(granted) => {
            let segment = segments.0.pop().expect("granted");
            let landed = Landed::new(segment.as_fd(), granted.main).expect("it travels");
            Ok(K::decode_output(&mut landed.decoder()).expect("it travels"))
        }
    }
}

/// Calls as `poolctl map` and a worker do together: by JSON.
fn called_by_json<K: Task>(task: K, args: &str) -> Result<String, RemoteError> {
    let mut text = Vec::new();
    (entry(task).json)(args.as_bytes(), &mut text)?;
    Ok(String::from_utf8(text).expect("text"))
}

#[test]
#[expect(clippy::no_effect, reason = "it is called all the same")]
fn a_task_can_be_called_as_the_function_it_was() {
    assert_eq!(square(-3), 9);
    assert_eq!(fibonacci(10), 55);
    assert_eq!(scale(&[1.0, 2.0], 0.5), [0.5, 1.0]);
    assert_eq!([1, 2].map(*square), [1, 4]);
    assert!(halve(3).is_err());
    nothing();
}

#[test]
fn a_task_says_what_it_is() {
    let shown = |name: &str| {
        let entry = entries().find(|entry| entry.name == name).unwrap();
        (entry.signature, entry.doc)
    };

    assert_eq!(shown("square"), ("fn(i64) -> i64", "The square of a number."));
    assert_eq!(shown("people.greet"), ("fn(&str, &Person, usize) -> Vec<String>", ""));
    assert_eq!(shown("halve").0, "fn(i64) -> Result<i64, Odd>");
    assert_eq!(shown("nothing").0, "fn()");
    assert_eq!(<scale as Task>::SIGNATURE, "fn(&[f64], f64) -> Vec<f64>");
    let names: Vec<_> = entries().map(|entry| entry.name).collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn arguments_and_results_of_every_shape_arrive() {
    let person = Person { name: "Ada".to_owned(), age: Some(36) };

    assert_eq!(called(square, 12), Ok(144));
    assert_eq!(called(fibonacci, 20), Ok(6765));
    assert_eq!(called(scale, (vec![1.5, 2.0], 2.0)), Ok(vec![3.0, 4.0]));
    assert_eq!(called(greet, ("Hi".to_owned(), person, 2)), Ok(vec!["Hi, Ada!".to_owned(); 2]));
    assert_eq!(called(nothing, ()), Ok(()));
    assert_eq!(called(firsts, vec![[7; 64], [8; 64]]), Ok(vec![7, 8]));
    let words = BTreeMap::from([("a".to_owned(), vec![(1, 'x')]), ("b".to_owned(), vec![])]);
    assert_eq!(called(counted, (words, (1, 5))), Ok(1));
    assert_eq!(called(shout, "é".repeat(1 << 19)), Ok("É".repeat(1 << 19)));
}

#[test]
fn big_vectors_go_there_and_back_out_of_band() {
    let numbers: Vec<f64> = (0..1_000_000).map(f64::from).collect();
    let bytes = vec![1_u8; 100_000];

    let scaled = called(scale, (numbers.clone(), 1.0)).unwrap();
    let backwards = called(reversed, bytes.clone()).unwrap();

    assert!(scaled == numbers);
    assert!(backwards == bytes);
}

#[test]
fn what_a_task_returns_as_error_is_its_failure() {
    let odd = called(halve, 7).unwrap_err();
    let empty = called(shout, String::new()).unwrap_err();

    assert_eq!(called(halve, 8), Ok(4));
    assert_eq!(odd.msg, "cannot halve 7");
    assert!(odd.type_name.ends_with("::Odd"), "{}", odd.type_name);
    assert_eq!((empty.type_name.as_str(), empty.msg.as_str()), ("Error", "there is nothing to shout"));
    assert_eq!(empty.retry, None);
}

#[test]
fn bytes_that_are_no_arguments_are_told_with_function_and_signature() {
    let mut segments = Segments::default();
    let mut outlet = Outlet::new(Vec::new(), &mut segments);

    let short = (entry(square).binary)(&mut Decoder::new(b"abc"), &mut outlet).unwrap_err();
    let long = (entry(square).binary)(&mut Decoder::new(&[0; 9]), &mut outlet).unwrap_err();

    assert_eq!(short.type_name, "ArgumentError");
    let expected = "`square`, fn(i64) -> i64, cannot take this: failed to decode a value of type i64: ";
    assert!(short.msg.starts_with(expected), "{}", short.msg);
    assert!(long.msg.ends_with("cannot take this: 1 bytes after the last value"), "{}", long.msg);
    assert_eq!(short.retry, Some(false));
}

#[test]
fn json_arguments_are_values_arrays_or_objects() {
    let greeted = r#"["Hi, Ada!"]"#;

    assert_eq!(called_by_json(square, " -12 "), Ok("144".to_owned()));
    assert_eq!(called_by_json(scale, "[[1, 2.5], 2]"), Ok("[2.0,5.0]".to_owned()));
    assert_eq!(called_by_json(greet, r#"["Hi", {"name": "Ada", "age": null}, 1]"#), Ok(greeted.to_owned()));
    let by_name = r#"{"often": 1, "person": {"name": "Ada"}, "greeting": "Hi"}"#;
    assert_eq!(called_by_json(greet, by_name), Ok(greeted.to_owned()));
    assert_eq!(called_by_json(nothing, "null"), Ok("null".to_owned()));
    assert_eq!(called_by_json(nothing, "[]"), Ok("null".to_owned()));
    assert_eq!(called_by_json(reversed, "[1,2,3]"), Ok("[3,2,1]".to_owned()));
}

#[test]
fn json_that_is_no_argument_is_told_with_function_and_signature() {
    let refused = |error: Result<String, RemoteError>| error.unwrap_err().msg;

    let text = refused(called_by_json(square, "\"a\""));
    assert!(
        text.starts_with("`square`, fn(i64) -> i64, cannot take this: invalid type: string \"a\""),
        "{text}"
    );
    let missing = refused(called_by_json(greet, r#"{"often": 1, "greeting": "Hi"}"#));
    assert!(missing.ends_with("no value for parameter `person`"), "{missing}");
    let unknown = refused(called_by_json(greet, r#"{"tone": 1}"#));
    assert!(unknown.ends_with("there is no parameter `tone`"), "{unknown}");
    let few = refused(called_by_json(scale, "[[1]]"));
    assert!(few.ends_with("an array of 1, but there are 2 parameters"), "{few}");
    let any = refused(called_by_json(nothing, "7"));
    assert!(any.ends_with("there are no parameters, so the item is `null`"), "{any}");
    let no_form = refused(called_by_json(firsts, "[]"));
    assert!(no_form.contains("has no form in JSON"), "{no_form}");
}

#[test]
fn plain_data_is_mapped_from_segment_to_segment() {
    let numbers: Vec<i64> = (0..100_000).collect();
    let input = memfd::with_contents("test", bytemuck::cast_slice(&numbers)).unwrap();
    let output = memfd::sealed("test", 800_000).unwrap();
    let slice = (entry(square).slice)().expect("plain data to plain data");

    slice(&Piece { input: input.as_fd(), output: output.as_fd(), start: 7, len: 99_000 }).unwrap();

    let results: Vec<i64> = transfer::read_vec_at(output.as_fd(), 100_000, 0).unwrap();
    let expected = |index: i64| if (7..99_007).contains(&index) { index * index } else { 0 };
    assert!(results.iter().zip(0..).all(|(result, index)| *result == expected(index)));
    assert!((entry(shout).slice)().is_none());
    assert!((entry(fibonacci).slice)().is_some());
}

#[test]
fn the_element_that_fails_in_a_slice_is_named() {
    let input = memfd::with_contents("test", bytemuck::cast_slice(&[2_i64, 4, 5, 6])).unwrap();
    let output = memfd::sealed("test", 32).unwrap();
    let slice = (entry(halve).slice)().unwrap();

    let failed = slice(&Piece { input: input.as_fd(), output: output.as_fd(), start: 0, len: 4 });

    assert_eq!(failed.unwrap_err().msg, "element 2: cannot halve 5");
}

proptest! {
    #[test]
    fn any_number_arrives(x: i64) {
        prop_assert_eq!(called(square, x), Ok(square(x)));
        prop_assert_eq!(called_by_json(square, &x.to_string()), Ok(square(x).to_string()));
    }
}
