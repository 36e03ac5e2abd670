//! Programs that did not start each other, and share objects under names.

use std::env;
use std::process::ExitCode;

use poolctl::{Array, AttachError, Event, Lock, PublishError, Queue, Value, attach, publish};
use poolctl_testkit::{DEADLINE, Running, Sandbox, wait_until};

/// What makes this program a stranger: its part and a name follow.
const STRANGER: &str = "--stranger";

/// What is published in most tests.
type Shared = (Lock, Value<u64>, Array<u64>, Queue<u64>, Event);

/// This program again, as nobody's child in the sense of the library, once it says what it is to say.
fn stranger_that_says(sandbox: &Sandbox, part: &str, name: &str, wanted: &str) -> Running {
    let stranger = started_stranger(sandbox, part, name);
    stranger.wait_stdout(wanted, |said| said == format!("{wanted}\n").as_bytes());
    stranger
}

fn started_stranger(sandbox: &Sandbox, part: &str, name: &str) -> Running {
    let program = env::current_exe().expect("this program has a path");
    let program = program.to_str().expect("cargo's folder has a name of characters");
    sandbox.peer(program).args([STRANGER, part, name]).start()
}

pub(crate) fn is_stranger() -> bool {
    env::args().nth(1).is_some_and(|first| first == STRANGER)
}

/// Plays a stranger's part.
#[expect(clippy::print_stdout, reason = "the test reads it")]
pub(crate) fn stranger() -> ExitCode {
    let [part, name] = [2, 3].map(|at| env::args().nth(at).expect("it is given"));
    if part == "publish" {
        let value = Value::new(7_u64).expect("there is room");
        let _published = publish(&name, &value).expect("the name is free");
        println!("published");
        crate::fixture::stay(&Event::new().expect("there is room"));
    }
    if part == "threads" {
        (0..100).for_each(|_| attach_in_threads(&name));
        return ExitCode::SUCCESS;
    }
    let attached = attach::<Shared>(&name).expect("it is published");
    let (lock, value, numbers, queue, go) = (*attached).clone();
    match &*part {
        "count" => {
            for at in 0..1000 {
                let _guard = lock.acquire().expect("nobody dies");
                value.store(value.load() + 1);
                numbers.update(at % numbers.len(), |number| number + 1);
            }
            queue.put(&u64::from(std::process::id())).expect("there is room");
        }
        "hold" => {
            let guard = lock.acquire().expect("nobody dies");
            println!("holds");
            guard.keep();
            crate::fixture::stay(&go);
        }
        "stay" => {
            println!("is there");
            crate::fixture::stay(&go);
        }
        other => panic!("no such part: {other}"),
    }
    ExitCode::SUCCESS
}

/// Each finds its way, whether the others have come or gone.
fn attach_in_threads(name: &str) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let attached = attach::<Shared>(name).expect("it is published");
                drop(attached.0.acquire().expect("nobody keeps it"));
            });
        }
    });
}

fn name(what: &str) -> String {
    format!("{what} of {}", std::process::id())
}

fn shared() -> Shared {
    let lock = Lock::new().expect("there is room");
    let (value, numbers) = (Value::new(0), Array::new(10));
    let (queue, go) = (Queue::new(), Event::new());
    (
        lock,
        value.expect("there is room"),
        numbers.expect("there is room"),
        queue.expect("there is room"),
        go.expect("there is room"),
    )
}

pub(crate) fn a_name_leads_another_program_to_the_same_objects() {
    let sandbox = Sandbox::new();
    let name = name("the same");
    let shared = shared();
    let published = publish(&name, &shared).expect("the name is free");
    assert_eq!(published.name(), name);

    let strangers: Vec<_> = (0..3).map(|_| started_stranger(&sandbox, "count", &name)).collect();
    let mut theirs: Vec<u64> = strangers.iter().map(|stranger| u64::from(stranger.pid())).collect();
    strangers.into_iter().for_each(|stranger| drop(stranger.wait().expect_code(0)));

    let (_, value, numbers, queue, _) = &shared;
    assert_eq!(value.load(), 3000);
    assert_eq!(numbers.to_vec(), [300; 10]);
    let mut pids: Vec<u64> = (0..3).map(|_| queue.get().expect("each put one")).collect();
    pids.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(pids, theirs);
    wait_until(DEADLINE, "they are no users any more", || published.users() == 0);
}

pub(crate) fn what_a_stranger_held_when_it_died_comes_back() {
    let sandbox = Sandbox::new();
    let name = name("held");
    let shared = shared();
    let _published = publish(&name, &shared).expect("the name is free");
    let stranger = stranger_that_says(&sandbox, "hold", &name, "holds");
    let owner = shared.0.owner().and_then(|owner| owner.participant).expect("it holds it");
    assert_eq!(owner.pid, stranger.pid());

    stranger.kill();

    let mut guard = shared.0.acquire_timeout(DEADLINE).expect("it comes back");
    assert!(guard.recovered());
    guard.make_consistent();
}

pub(crate) fn a_name_is_gone_with_its_last_user() {
    let sandbox = Sandbox::new();
    let name = name("last");
    let published = publish(&name, &shared()).expect("the name is free");
    let stranger = stranger_that_says(&sandbox, "stay", &name, "is there");
    assert_eq!(published.users(), 1);

    drop(published);
    let attached = attach::<Shared>(&name).expect("the stranger uses it still");
    assert_eq!(attached.publisher(), Some(std::process::id()));
    drop(attached);
    assert!(attach::<Shared>(&name).is_ok(), "and goes on to");
    stranger.kill();

    wait_until(DEADLINE, "the name is gone", || {
        matches!(attach::<Shared>(&name), Err(AttachError::NotFound { .. }))
    });
    drop(publish(&name, &1).expect("it is free again"));
}

pub(crate) fn a_publisher_that_dies_leaves_no_name() {
    let sandbox = Sandbox::new();
    let name = name("orphan");
    let stranger = stranger_that_says(&sandbox, "publish", &name, "published");
    let attached = attach::<Value<u64>>(&name).expect("it is published");
    assert!(attached.has_publisher());

    stranger.kill();
    assert!(!attached.has_publisher());

    assert!(matches!(attach::<Value<u64>>(&name), Err(AttachError::NotFound { .. })));
    assert_eq!(attached.load(), 7, "the memory stays with who has it");
    assert_eq!(attached.update(|number| number + 1), 7);
    drop(publish(&name, &1).expect("the name is free"));
}

pub(crate) fn what_cannot_be_attached_is_told() {
    let name = name("told");
    let numbers = Array::from_slice(&[1.5]).expect("there is room");
    let published = publish(&name, &numbers).expect("the name is free");

    let taken = publish(&name, &1).expect_err("it is taken");
    let kind = attach::<Array<u8>>(&name).expect_err("it is another kind");
    let missing = attach::<u8>("no such name").expect_err("it is not there");

    assert!(matches!(&taken, PublishError::Taken { pid, .. } if *pid == std::process::id()), "{taken}");
    let wanted = format!(
        "`{name}` is a `poolctl::shared::array::Array<f64>`, not a `poolctl::shared::array::Array<u8>`"
    );
    assert_eq!(kind.to_string(), wanted);
    assert_eq!(missing.to_string(), "nothing is published as `no such name` by this user on this machine");
    assert!(
        publish("", &1).is_err() && publish("a\nb", &1).is_err() && publish(&"x".repeat(81), &1).is_err()
    );
    drop(publish(&"x".repeat(80), &1).expect("it is not too long"));
    wait_until(DEADLINE, "nobody is counted who got nothing", || published.users() == 0);
}

pub(crate) fn connections_that_say_nothing_are_in_nobody_s_way() {
    let name = name("busy");
    let published = publish(&name, &shared()).expect("the name is free");
    let user = poolctl_sys::process::user_id();
    let connect = || poolctl_sys::named::find(format!("poolctl/{user}/{name}").as_bytes());

    let mute: Vec<_> = (0..100).map(|_| connect().expect("it listens")).collect();
    (0..1000).for_each(|_| drop(connect().expect("it listens")));
    let noisy = connect().expect("it listens");
    noisy.send(&[std::io::IoSlice::new(b"not a hello")], &[]).expect("it has room");
    let attached = attach::<Shared>(&name).expect("others do not matter");

    assert_eq!(attached.1.load(), 0);
    wait_until(DEADLINE, "one uses it", || published.users() == 1);
    drop((attached, mute));
    wait_until(DEADLINE, "nobody does", || published.users() == 0);
}

pub(crate) fn threads_attach_at_the_same_time() {
    let sandbox = Sandbox::new();
    let name = name("threads");
    let shared = shared();
    let _published = publish(&name, &shared).expect("the name is free");

    let stranger = started_stranger(&sandbox, "threads", &name);

    stranger.wait().expect_code(0);
    let _free = shared.0.acquire_timeout(DEADLINE).expect("they have given it back");
}

pub(crate) fn what_came_back_can_be_published() {
    let sandbox = Sandbox::new();
    let name = name("back");
    let shared = shared();
    let (there, here) = poolctl::channel().expect("there are descriptors");
    there.send(shared.clone()).expect("there is room");
    let back: Shared = here.recv().expect("it was sent");
    drop(shared);
    let _published = publish(&name, &back).expect("the name is free");

    let stranger = stranger_that_says(&sandbox, "hold", &name, "holds");

    assert!(back.0.is_locked());
    stranger.kill();
    assert!(back.0.acquire_timeout(DEADLINE).expect("it comes back").recovered());
}

pub(crate) fn strangers_come_and_go() {
    let sandbox = Sandbox::new();
    let name = name("many");
    let shared = shared();
    let _published = publish(&name, &shared).expect("the name is free");

    for round in 0..20 {
        let stranger = stranger_that_says(&sandbox, "hold", &name, "holds");
        stranger.kill();
        let mut guard = shared.0.acquire_timeout(DEADLINE).expect("it comes back");
        assert!(guard.recovered(), "round {round}");
        guard.make_consistent();
    }
}
