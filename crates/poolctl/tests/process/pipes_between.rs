//! Pipes between processes, some of which die.

use poolctl::{Exit, PipeError, Pool, Process, channel, pipe};
use poolctl_testkit::{DEADLINE, MARK, Sandbox, wait_until};

use crate::lives::started;
use crate::tasks::{answer_squares, count, echo, flood, introduce};

/// It has ended well.
fn joined(process: &Process) {
    assert_eq!(process.join().expect("it was started"), Exit::Code(0), "{:?}", process.error());
}

pub(crate) fn two_processes_talk() {
    let sandbox = Sandbox::new();
    let (near, far) = pipe().expect("descriptors are left");
    let process = started(&sandbox, answer_squares, far);

    for number in -50..50 {
        near.send(number).expect("it listens");
        assert_eq!(near.recv().expect("it answers"), (number * number).to_string());
    }
    drop(near);

    joined(&process);
}

pub(crate) fn large_messages_cross() {
    let sandbox = Sandbox::new();
    let (near, far) = pipe().expect("descriptors are left");
    let process = started(&sandbox, echo, far);

    for length in [0, 1, 65_527, 65_528, 65_529, 65_536, 100_000, 10_000_000] {
        let bytes: Vec<u8> = (0..length).map(|index: u32| index.to_le_bytes()[1]).collect();
        near.send(bytes.clone()).expect("it listens");
        assert!(near.recv().expect("it answers") == bytes, "{length} bytes came back otherwise");
    }
    drop(near);

    joined(&process);
}

pub(crate) fn a_pipe_ends_with_the_process() {
    let sandbox = Sandbox::new();
    let (sender, receiver) = channel().expect("descriptors are left");
    let process = started(&sandbox, count, (sender, 5000));

    let numbers: Result<Vec<u64>, PipeError> = receiver.iter().collect();

    assert_eq!(numbers.expect("all are numbers"), (0..5000).collect::<Vec<_>>());
    joined(&process);
}

pub(crate) fn a_sender_killed_in_the_middle_leaves_whole_messages() {
    let sandbox = Sandbox::new();
    for length in [10, 5_000, 50_000] {
        let (sender, receiver) = channel().expect("descriptors are left");
        let process = started(&sandbox, flood, (sender, length));
        let mut received = receiver.iter().map(|message| message.expect("it is whole"));
        for number in 0..100 {
            assert!(received.next().expect("it sends for ever") == vec![number; length]);
        }

        process.kill().expect("it was started");

        for (number, message) in (100..).zip(received) {
            assert!(message == vec![number; length], "message {number} is torn");
        }
        assert_eq!(process.join().expect("it was started"), Exit::Signal(9));
    }
}

pub(crate) fn one_of_several_senders_may_be_killed() {
    let sandbox = Sandbox::new();
    let (sender, receiver) = channel().expect("descriptors are left");
    let copy = sender.try_clone().expect("descriptors are left");
    let flooding = started(&sandbox, flood, (copy, 50_000));
    assert_eq!(receiver.recv().expect("it sends"), vec![0; 50_000]);

    flooding.kill().expect("it was started");
    flooding.join().expect("it was started");
    let next = started(&sandbox, flood, (sender, 1));

    let is_next = |message: Result<Vec<u64>, PipeError>| message.expect("it is whole").len() == 1;
    assert!(receiver.iter().any(is_next), "the other goes on");
    next.kill().expect("it was started");
    wait_until(DEADLINE, "the pipe has ended", || matches!(receiver.try_recv(), Err(PipeError::Closed)));
}

pub(crate) fn an_end_is_handed_on() {
    let sandbox = Sandbox::new();
    let (carry, carried) = channel().expect("descriptors are left");
    let (sender, receiver) = channel().expect("descriptors are left");
    let process = started(&sandbox, introduce, carried);

    carry.send(sender).expect("it listens");

    assert_eq!(receiver.recv().ok(), process.pid());
    joined(&process);
    assert!(matches!(receiver.recv(), Err(PipeError::Closed)));
}

pub(crate) fn a_task_of_a_pool_has_a_pipe() {
    let sandbox = Sandbox::new();
    let pool = Pool::builder().workers(1).env(MARK, sandbox.mark()).build().expect("it starts");
    let (near, far) = pipe().expect("descriptors are left");

    let answering = pool.apply_async(answer_squares, far).expect("there is room");
    near.send(12).expect("it listens");
    let answer = near.recv().expect("it answers");
    drop(near);

    assert_eq!(answer, "144");
    answering.get().expect("it ends with the pipe");
}
