//! What is handed in comes back.

use std::time::Duration;

use poolctl::{Pool, TaskError};
use poolctl_testkit::Sandbox;

use crate::fixture::{built, calling, echoing, held_item, marked, pid_of_holder};

/// A worker in sh that says hello and answers each task with 1.
const WORKER: &str = r#"
printf '{"poolctl":1}\n' >&4
while read -r line <&3; do
    id=${line#*'"id":'}
    printf '{"id":%s,"ok":1}\n' "${id%%[!0-9]*}" >&4
done
"#;

pub(crate) fn a_call_gives_its_result() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "double", 1));

    let doubled: i64 = pool.apply(21).expect("it can be doubled");
    let later = pool.apply_async::<_, String>("ab").expect("there is room");

    assert_eq!(doubled, 42);
    assert_eq!(later.get().expect("text can be doubled"), "abab");
}

pub(crate) fn results_come_in_the_order_of_items() {
    let sandbox = Sandbox::new();
    let pool = built(echoing(&sandbox, 3));
    let items: Vec<String> = (0..5000).map(|number| number.to_string()).collect();

    let results = pool.map(&items).expect("cat answers");
    let nothing = pool.map::<&str, _>([]).expect("there is nothing to fail");

    assert!(results.iter().map(Vec::as_slice).eq(items.iter().map(String::as_bytes)));
    assert!(nothing.is_empty());
    let values = built(calling(&sandbox, "double", 2));
    let doubled: Vec<u64> = values.map(0..5000_u64).expect("numbers can be doubled");
    assert!(doubled.into_iter().eq((0..5000).map(|number| number * 2)));
}

pub(crate) fn a_command_gets_its_item_and_gives_its_output() {
    let sandbox = Sandbox::new();
    let argument = built(marked(&sandbox, Pool::builder().command(["printf", "%s.\n%s", "{}", "x{}"])));
    let stdin = built(marked(&sandbox, Pool::builder().command(["wc", "-c"])).stdin());

    assert_eq!(argument.apply("a b").expect("printf prints"), b"a b.\nxa b");
    assert_eq!(stdin.apply("one\ntwo\n").expect("wc counts").trim_ascii(), b"8");
}

pub(crate) fn a_worker_in_any_language_is_called() {
    let sandbox = Sandbox::new();
    let pool = built(marked(&sandbox, Pool::builder().worker(["sh", "-c", WORKER])).workers(1));

    let ones: Vec<u8> = pool.map([(), (), ()]).expect("it answers all");

    assert_eq!(ones, [1, 1, 1]);
}

pub(crate) fn what_cannot_travel_is_refused_alone() {
    let sandbox = Sandbox::new();
    let lines = built(echoing(&sandbox, 1));
    let values = built(calling(&sandbox, "double", 1));
    let without_text_keys = std::collections::BTreeMap::from([((1, 2), 3)]);

    assert!(matches!(lines.apply("a\nb"), Err(TaskError::NotOneLine)));
    let large = vec![b'x'; Pool::MAX_ITEM_BYTES + 1];
    assert!(matches!(lines.apply(&large), Err(TaskError::TooLarge { .. })));
    assert!(matches!(values.apply::<_, u8>(without_text_keys), Err(TaskError::BadItem { .. })));
    assert!(matches!(values.apply::<_, u8>("a"), Err(TaskError::BadResult { .. })));

    assert_eq!(lines.apply("c").expect("cat answers"), b"c");
    assert_eq!(values.apply::<_, u8>(1).expect("it can be doubled"), 2);
}

pub(crate) fn a_wait_may_be_limited() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "hold", 1));
    let item = held_item(&sandbox, "held");

    let result = pool.apply_async::<_, String>(&item).expect("there is room");
    let result = result.get_timeout(Duration::from_millis(20)).expect_err("it is held");
    assert!(!result.wait_timeout(Duration::ZERO).expect("this is the pool's process"));
    assert_eq!((result.ready(), result.successful()), (false, None));
    pid_of_holder(&sandbox, "held");
    sandbox.release("held");
    result.wait().expect("this is the pool's process");

    assert_eq!((result.ready(), result.successful()), (true, Some(true)));
    assert_eq!(result.get().expect("it was let go"), item);
}

pub(crate) fn an_output_too_large_for_memory_comes_back_whole() {
    let sandbox = Sandbox::new();
    let pool = built(marked(&sandbox, Pool::builder().command(["head", "-c", "{}", "/dev/zero"])));

    let zeros = pool.apply("5000000").expect("head reads so many");

    assert_eq!(zeros.len(), 5_000_000);
    assert!(zeros.iter().all(|byte| *byte == 0));
}

pub(crate) fn items_in_flight_are_bounded() {
    let sandbox = Sandbox::new();
    let pool = built(echoing(&sandbox, 1).window(4));

    let results: Vec<_> =
        (0..200).map(|number| pool.apply_async(number.to_string()).expect("room comes")).collect();

    let pending = results.iter().filter(|result| !result.ready()).count();
    assert!(pending <= 4, "{pending} are in flight");
    for (number, result) in results.into_iter().enumerate() {
        assert_eq!(result.get().expect("cat answers"), number.to_string().into_bytes());
    }
}
