//! What is too large for a ring, and what does not travel at all.

use poolctl::{Array, MapError, SharedMemory, TaskError};
use poolctl_testkit::Sandbox;

use crate::fixture::{built, of};
use crate::tasks::{
    add_one_to_all, copy_front_to_back, half, numbers_to, panic_at_seven, repeated, reversed, square,
};

/// 16 MB.
const MANY: usize = 2 << 20;

pub(crate) fn vectors_travel_beside_their_item() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let numbers: Vec<f64> = (0..MANY).map(|n| n as f64).collect();
    let lengths = [0, 1, 8191, 8192, 8193, MANY];

    let back = pool.map(reversed, lengths.map(|len| numbers[..len].to_vec())).expect("all are reversed");

    for (len, back) in lengths.into_iter().zip(back) {
        assert!(back.into_iter().eq(numbers[..len].iter().rev().copied()), "{len} numbers");
    }
}

pub(crate) fn many_large_values_wait_together() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let ends: Vec<u32> = (0..600).map(|item| 9_000 + item).collect();

    let results: Vec<_> =
        ends.iter().map(|end| pool.apply_async(numbers_to, *end).expect("it is handed in")).collect();
    let by_map = pool.map(numbers_to, ends.iter().copied()).expect("all are made");
    let back = pool.map(reversed, by_map.clone()).expect("all are reversed");

    for (end, result) in ends.iter().zip(results) {
        assert_eq!(result.get().expect("it is made").len(), *end as usize);
    }
    for ((end, numbers), back) in ends.iter().zip(by_map).zip(back) {
        assert!(numbers.into_iter().eq((0..*end).map(f64::from)), "{end} numbers");
        assert!(back.into_iter().eq((0..*end).rev().map(f64::from)), "{end} numbers reversed");
    }
}

pub(crate) fn many_large_values_do_with_few_descriptors() {
    let this = std::env::current_exe().expect("a running program has a file");

    let run = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 256; exec \"$0\" many_large_values_wait_together"])
        .arg(this)
        .output()
        .expect("there is a shell");

    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

pub(crate) fn large_values_travel_in_parcels() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let text = "long ".repeat(1 << 20);

    let lengths = pool.map(repeated, (0..6).map(|times| (text.clone(), times))).expect("all are repeated");
    let short: Vec<_> = pool.imap(repeated, [("ab".to_owned(), 1 << 20), ("c".to_owned(), 2)]).collect();

    assert!(lengths.iter().map(String::len).eq((0..6).map(|times| times * text.len())));
    assert_eq!(
        short.into_iter().map(|text| text.expect("it is repeated").len()).collect::<Vec<_>>(),
        [2 << 20, 2]
    );
}

pub(crate) fn a_slice_is_mapped_into_another() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let input: Vec<i64> = (0..3_000_001).collect();

    for len in [input.len(), 0, 1, 1000, input.len()] {
        let mut output = vec![-1; len];
        pool.map_slice(square, &input[..len], &mut output).expect("all are squared");
        assert!(output.into_iter().eq(input[..len].iter().map(|x| x * x)), "{len} numbers");
    }
}

pub(crate) fn a_slice_names_the_element_that_failed() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let mut input: Vec<i64> = (0..500_000).map(|x| x * 2).collect();
    (input[400_000], input[123_456]) = (7, 5);
    let mut output = vec![0; input.len()];

    let MapError { item, source } = pool.map_slice(half, &input, &mut output).expect_err("5 is odd");

    let TaskError::Failed { message, .. } = source else { panic!("another error: {source}") };
    assert_eq!((item, message.as_str()), (123_456, "5 is odd"));
    assert_eq!(output[499_999], 499_999, "the others are done");
    let mut sevens = vec![1; 100_000];
    sevens[77_777] = 7;
    let panicked =
        pool.map_slice(panic_at_seven, &sevens, &mut vec![0; 100_000]).expect_err("it panics at 7");
    assert!(
        matches!(panicked, MapError { item: 77_777, source: TaskError::Panicked { .. } }),
        "{panicked:?}"
    );
}

pub(crate) fn a_slice_goes_on_without_memory_to_spare() {
    let sandbox = Sandbox::new();
    let roomy = built(of(&sandbox, 2).shm_limit(1 << 20));
    let narrow = built(of(&sandbox, 2).shm_limit(1 << 10));
    let input: Vec<i64> = (0..300_000).collect();
    let mut output = vec![0; input.len()];

    roomy.map_slice(square, &input, &mut output).expect("two pieces have room");
    let refused = narrow.map_slice(square, &input, &mut vec![0; input.len()]);

    assert!(output.into_iter().eq(input.iter().map(|x| x * x)));
    assert!(matches!(refused, Err(MapError { item: 0, source: TaskError::NoRoom { .. } })), "{refused:?}");
}

pub(crate) fn an_array_is_shared_and_not_copied() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let numbers = Array::from_slice(&(0..100_000).collect::<Vec<i64>>()).expect("there is memory");
    let pieces = (0..10).map(|piece| (numbers.clone(), piece * 10_000, (piece + 1) * 10_000));

    let sums = pool.map(add_one_to_all, pieces).expect("all are raised");

    assert!(numbers.iter().eq(1..=100_000));
    assert_eq!(sums.into_iter().sum::<i64>(), numbers.iter().sum::<i64>());
}

pub(crate) fn bytes_are_shared_too() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));
    let memory = SharedMemory::new(100_000).expect("there is memory");
    memory.write(0, &[7; 50_000]).expect("it has the room");

    assert_eq!(pool.apply(copy_front_to_back, memory.clone()).expect("it is copied"), 7);

    let mut back = [0; 100];
    memory.read(99_900, &mut back).expect("it is there");
    assert_eq!(back, [7; 100]);
}

pub(crate) fn memory_over_the_limit_is_an_error_of_the_call() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1).shm_limit(4 << 20));

    let argument = pool.apply(reversed, vec![0.0; MANY]).expect_err("16 MB are too much");
    let result = pool.apply(repeated, ("x".to_owned(), 16 << 20)).expect_err("16 MB are too much");

    assert!(matches!(argument, TaskError::NoRoom { .. }), "{argument}");
    assert!(result.to_string().contains("limit"), "{result}");
    assert_eq!(pool.apply(reversed, vec![1.0; 10_000]).expect("a little has room"), [1.0; 10_000]);
}
