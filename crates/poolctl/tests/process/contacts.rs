//! First contact by `ipc-channel`.

use std::path::Path;
use std::time::Duration;

use poolctl::Exit;
use poolctl::ipc::{AcceptError, Address, Listener, listen};
use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use crate::lives::{fifo, pid_of_holder, started};
use crate::tasks::{Hello, exits, mutter, shout};

fn listening() -> (Listener<Hello>, Address) {
    listen().expect("the temporary directory can be written")
}

/// The name is gone.
fn expect_no_name(address: &Address) {
    let text = serde_json::to_value(address).expect("an address is data");
    let path = text["socket"].as_str().expect("it is a path").to_owned();
    wait_until(DEADLINE, "the socket has no name", || !Path::new(&path).exists());
}

pub(crate) fn a_process_connects_and_talks() {
    let sandbox = Sandbox::new();
    let (listener, address) = listening();
    let process = started(&sandbox, shout, address.clone());

    let (receiver, first) = listener.accept_from(&process).expect("it connects");
    let Hello::Sender(sender) = first else { panic!("not a sender") };
    sender.send("is anybody there".to_owned()).expect("it listens");
    let answer = receiver.recv().expect("it answers");

    assert!(matches!(answer, Hello::Text(text) if text == "IS ANYBODY THERE"));
    drop(sender);
    assert_eq!(process.join().expect("it was started"), Exit::Code(0), "{:?}", process.error());
    expect_no_name(&address);
}

pub(crate) fn a_process_that_ends_first_is_told() {
    let sandbox = Sandbox::new();
    let (listener, address) = listening();
    let process = started(&sandbox, exits, 3);

    let outcome = listener.accept_from(&process);

    assert!(matches!(outcome, Err(AcceptError::Ended { exit: Exit::Code(3) })));
    expect_no_name(&address);
}

pub(crate) fn a_process_that_says_nothing_is_told() {
    let sandbox = Sandbox::new();
    let (listener, address) = listening();
    let process = started(&sandbox, mutter, (address.clone(), None, fifo(&sandbox, "held")));
    pid_of_holder(&sandbox, "held");

    process.kill().expect("it was started");
    let outcome = listener.accept_from(&process);

    assert!(matches!(outcome, Err(AcceptError::Ended { exit: Exit::Signal(9) } | AcceptError::First { .. })));
    expect_no_name(&address);
}

pub(crate) fn a_contact_may_be_limited() {
    let sandbox = Sandbox::new();
    let (listener, address) = listening();
    let process = started(&sandbox, crate::tasks::hold, fifo(&sandbox, "held"));

    let outcome = listener.accept_from_timeout(&process, Duration::from_millis(10));

    assert!(matches!(outcome, Err(AcceptError::TimedOut)));
    expect_no_name(&address);
    sandbox.release("held");
}

pub(crate) fn words_of_another_type_are_told() {
    let sandbox = Sandbox::new();
    let (listener, address) = listening();
    let process = started(&sandbox, mutter, (address.clone(), Some(7), fifo(&sandbox, "held")));

    let outcome = listener.accept_from(&process);

    assert!(matches!(outcome, Err(AcceptError::First { .. })));
    expect_no_name(&address);
    sandbox.release("held");
}
