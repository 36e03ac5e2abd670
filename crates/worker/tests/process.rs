//! A program as worker, started with descriptors and an environment as a keeper does it. It is this program itself:
//! hence its own `main` instead of the usual harness.

#![forbid(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use poolctl_macros::task;
use poolctl_protocol::{
    Encoding, Frame, Hello, Kind, MessageHeader, MessageKind, NO_FUNCTION, Record, RecordKind, ends_bytes,
};
use poolctl_shm::HostEnd;
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::spawn::{Command, Spawner};
use poolctl_sys::{ancillary, pipe};
use poolctl_types::Exit;
use poolctl_worker::{Decoder, Task, serve_if_asked};

/// Nothing here takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// With what a program ends that was no worker.
const NO_WORKER: u8 = 7;

/// The names of poolctl's variables that are left, and the descriptors that are open.
#[task(crate = poolctl_worker)]
fn surroundings() -> (Vec<String>, Vec<String>) {
    let names = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("POOLCTL_"));
    let open = std::fs::read_dir("/proc/self/fd").expect("there is a /proc");
    let links = open.flatten().flat_map(|entry| std::fs::read_link(entry.path()));
    (names.collect(), links.map(|link| link.display().to_string()).collect())
}

/// What a descendant that inherits the worker's first environment ends with.
#[task(crate = poolctl_worker)]
fn descend(environment: Vec<(String, String)>) -> Option<i32> {
    let program = std::env::current_exe().expect("there is a /proc");
    let run = std::process::Command::new(program).arg("--probe").envs(environment).status();
    run.expect("it can be started").code()
}

const TESTS: &[(&str, fn())] = &[
    ("a_worker_serves_and_ends_in_good_order", a_worker_serves_and_ends_in_good_order),
    ("a_worker_s_children_are_none", a_worker_s_children_are_none),
    ("a_program_of_another_parent_is_no_worker", a_program_of_another_parent_is_no_worker),
    (
        "a_native_worker_that_is_asked_for_json_says_what_it_is",
        a_native_worker_that_is_asked_for_json_says_what_it_is,
    ),
    (
        "a_hello_beside_other_pipes_goes_to_the_control_socket",
        a_hello_beside_other_pipes_goes_to_the_control_socket,
    ),
    (
        "a_processor_that_there_is_not_keeps_a_worker_from_starting",
        a_processor_that_there_is_not_keeps_a_worker_from_starting,
    ),
];

#[expect(clippy::print_stdout, reason = "a harness tells its results")]
fn main() -> ExitCode {
    serve_if_asked();
    if std::env::args().any(|argument| argument == "--probe") {
        return ExitCode::from(NO_WORKER);
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    for (name, test) in TESTS.iter().filter(|(name, _)| is_wanted(name)) {
        // One that panics ends all.
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// A program that was started, and what it has at its other ends.
struct Started {
    process: Pidfd,
    socket: UnixStream,
    stderr: OwnedFd,
}

/// The environment of a worker whose socket is at 3 and 4.
fn environment(parent: u32) -> Vec<(String, String)> {
    let variables = [
        ("POOLCTL_PROTOCOL", "1"),
        ("POOLCTL_FRAMING", "frame"),
        ("POOLCTL_IN_FD", "3"),
        ("POOLCTL_OUT_FD", "4"),
        ("POOLCTL_SLOT", "0"),
        ("POOLCTL_PARENT", &parent.to_string()),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

fn text(text: &OsStr) -> CString {
    CString::new(text.as_bytes()).expect("no NUL")
}

/// Starts this program, with one end of a socket at each of `numbers`.
fn start(environment: &[(String, String)], numbers: &[i32]) -> Started {
    let path = text(std::env::current_exe().expect("there is a /proc").as_os_str());
    let env: Vec<CString> =
        environment.iter().map(|(name, value)| text(OsStr::new(&format!("{name}={value}")))).collect();
    let env: Vec<_> = env.iter().map(CString::as_c_str).collect();
    let (ours, theirs) = pipe::stream_pair().expect("sockets can be had");
    let (stderr, their_stderr) = pipe::pair().expect("pipes can be had");
    let mut fds: Vec<(BorrowedFd<'_>, i32)> =
        numbers.iter().map(|number| (theirs.as_fd(), *number)).collect();
    fds.push((their_stderr.as_fd(), 2));
    let argv = [path.as_c_str(), c"--probe"];
    let command = Command {
        path: &path,
        argv: &argv,
        env: &env,
        cwd: None,
        fds: &fds,
        nice: None,
        open_files: None,
        die_with_parent: true,
    };
    let process = Spawner::new().and_then(|mut spawner| spawner.spawn(&command)).expect("it can be started");
    let socket = UnixStream::from(ours);
    socket.set_nonblocking(false).expect("it is ours");
    socket.set_read_timeout(Some(DEADLINE)).expect("it is ours");
    Started { process, socket, stderr }
}

impl Started {
    /// A frame from it.
    fn hear(&mut self) -> (Kind, Vec<u8>) {
        let mut bytes = Vec::new();
        loop {
            let mut byte = [0];
            assert_eq!(self.socket.read(&mut byte).expect("it says something in time"), 1, "it goes on");
            bytes.extend(byte);
            if let Some(frame) = Frame::parse(&bytes, 1 << 20).expect("frames") {
                return (frame.header.kind, frame.payload.to_vec());
            }
        }
    }

    /// The status it ends with, and what it wrote to standard error.
    fn ended(self) -> (Exit, String) {
        assert!(self.process.wait_for_end(Some(DEADLINE)).expect("it is ours"), "it ends");
        let (exit, _) = self.process.peek_exit().expect("it is ours").expect("it has ended");
        self.process.reap().expect("it is ours");
        let mut written = String::new();
        std::fs::File::from(self.stderr).read_to_string(&mut written).expect("text");
        (exit, written)
    }

    /// Attaches a ring, and runs a function without arguments or with these.
    fn run<K: Task>(&mut self, hello: &Hello, ring: &mut HostEnd, _: K, args: &K::Args) -> K::Output {
        let mut encoder = poolctl_worker::Encoder::new();
        K::encode_args(args, &mut encoder).expect("they travel");
        let function = hello.functions.iter().position(|name| name == K::NAME).expect("it is offered");
        post(ring, MessageKind::Chunk, u32::try_from(function).expect("few"), Some(encoder.main()));
        ring.sleep();
        while !ring.has_news() {
            assert_eq!(self.hear().0, Kind::Published);
        }
        ring.awake();
        let mut records = Vec::new();
        ring.drain(&mut records).expect("it does not lie");
        let record = Record::parse(&records).expect("a record");
        assert_eq!(record.kind, RecordKind::Ok, "{}", String::from_utf8_lossy(record.payload));
        K::decode_output(&mut Decoder::new(record.payload)).expect("a result")
    }

    /// Hears the hello and gives the segments.
    fn greet(&mut self) -> (Hello, HostEnd) {
        let (kind, payload) = self.hear();
        assert_eq!(kind, Kind::Hello, "{}", String::from_utf8_lossy(&payload));
        let (ring, segments) = HostEnd::new(64 << 10, 64 << 10).expect("there is memory");
        let mut frame = Vec::new();
        Frame::write(&mut frame, Kind::Segments, 0, 2, b"", b"");
        ancillary::send(self.socket.as_fd(), &frame, &[segments.tasks.as_fd(), segments.results.as_fd()])
            .expect("it is there");
        (Hello::parse(&payload).expect("a hello"), ring)
    }
}

fn post(ring: &mut HostEnd, kind: MessageKind, function: u32, item: Option<&[u8]>) {
    let mut payload = Vec::new();
    if let Some(item) = item {
        payload.extend_from_slice(&u32::try_from(item.len() + 1).expect("short").to_le_bytes());
        payload.resize(ends_bytes(1), 0);
        payload.extend_from_slice(item);
        payload.push(b'\n');
    }
    let header = MessageHeader {
        payload: u32::try_from(payload.len()).expect("short"),
        kind,
        encoding: Encoding::Binary,
        attachments: 0,
        function,
        count: u32::from(item.is_some()),
        first: 0,
        attempt: 1,
        flags: 0,
        parcel: 0,
    };
    assert!(ring.post(&[&header.to_bytes(), &payload]), "there is room");
    ring.publish();
}

fn a_worker_serves_and_ends_in_good_order() {
    let mut worker = start(&environment(std::process::id()), &[3, 4]);
    let (hello, mut ring) = worker.greet();

    let (names, open) = worker.run(&hello, &mut ring, surroundings, &());

    assert_eq!(names, [] as [String; 0]);
    // Nothing, the pipe and the socket, twice; the folder that it reads. The segments are mapped, not open.
    assert!(open.len() <= 6, "{open:?}");
    post(&mut ring, MessageKind::Finish, NO_FUNCTION, None);
    assert_eq!(worker.ended(), (Exit::Code(0), String::new()));
}

fn a_worker_s_children_are_none() {
    let environment = environment(std::process::id());
    let mut worker = start(&environment, &[3, 4]);
    let (hello, mut ring) = worker.greet();

    let code = worker.run(&hello, &mut ring, descend, &environment);

    assert_eq!(code, Some(i32::from(NO_WORKER)));
}

fn a_program_of_another_parent_is_no_worker() {
    let ended = start(&environment(1), &[3, 4]).ended();

    assert_eq!(ended, (Exit::Code(i32::from(NO_WORKER)), String::new()));
}

fn a_native_worker_that_is_asked_for_json_says_what_it_is() {
    let mut environment = environment(std::process::id());
    environment[1].1 = "jsonl".to_owned();

    let (exit, written) = start(&environment, &[3, 4]).ended();

    assert_eq!(exit, Exit::Code(126));
    assert!(written.contains("is a native worker of poolctl"), "{written}");
}

fn a_hello_beside_other_pipes_goes_to_the_control_socket() {
    let mut environment = environment(std::process::id());
    environment[1].1 = "jsonl".to_owned();
    environment.push(("POOLCTL_CONTROL_FD".to_owned(), "9".to_owned()));
    let mut worker = start(&environment, &[3, 4, 9]);

    let (hello, mut ring) = worker.greet();

    assert_eq!(hello.native, Some(poolctl_shm::LAYOUT));
    post(&mut ring, MessageKind::Finish, NO_FUNCTION, None);
    assert_eq!(worker.ended().0, Exit::Code(0));
}

fn a_processor_that_there_is_not_keeps_a_worker_from_starting() {
    let mut environment = environment(std::process::id());
    environment.push(("POOLCTL_AFFINITY".to_owned(), "1000".to_owned()));
    let mut worker = start(&environment, &[3, 4]);

    let (kind, payload) = worker.hear();

    assert_eq!(kind, Kind::Bye);
    let bye = poolctl_protocol::Bye::parse(&payload).expect("a bye");
    assert!(bye.cannot_start());
    assert!(bye.error.expect("why").msg.starts_with("failed to keep to processors [1000]"));
    assert_eq!(worker.ended().0, Exit::Code(126));
}
