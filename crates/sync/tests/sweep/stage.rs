//! A host with one object, one victim or two that are members, and contenders: threads of the host that sleep behind
//! them.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Instant;
use std::{env, io, thread};

use poolctl_shm::SharedCells;
use poolctl_sync::{Capacity, Host, Member, Place, Ticket};
use poolctl_sys::spawn::{Command, Spawner};
use poolctl_sys::{futex, inherited, process};
use poolctl_testkit::stepper::{self, VICTIM};
use poolctl_testkit::{DEADLINE, Process};
use poolctl_types::WorkerId;

/// How many words of data there are, besides the gate.
pub(crate) const DATA: usize = 6;
/// What a gate says while a victim waits at it, and when it may go on.
const SHUT: u32 = 1;
const OPEN: u32 = 2;

/// Which of the victims. Each has a block of the table, and a gate: a word behind the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The one that is swept.
    First,
    /// The one beside it, if there is one.
    Second,
}

impl Who {
    const ALL: [Self; 2] = [Self::First, Self::Second];

    fn worker(self) -> WorkerId {
        WorkerId::new(1 + self as u32, 1)
    }

    fn gate(self, data: &SharedCells<AtomicU32>) -> &AtomicU32 {
        &data.cells()[DATA + self as usize]
    }
}

/// What the test has.
pub(crate) struct Stage<T> {
    pub(crate) host: Host,
    pub(crate) places: Vec<Place>,
    pub(crate) data: SharedCells<AtomicU32>,
    /// A file of the object, beside its place.
    pub(crate) file: Option<Arc<OwnedFd>>,
    tickets: [Ticket; 2],
    contenders: Vec<Contender<T>>,
}

struct Contender<T> {
    tid: Arc<AtomicU32>,
    answer: Receiver<T>,
}

/// With a contender's thread; when it is gone the contender is done, or has failed.
struct Running(Arc<AtomicU32>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(0, SeqCst);
    }
}

impl<T> Contender<T> {
    fn is_done(&self) -> bool {
        self.tid.load(SeqCst) == 0
    }

    fn is_asleep(&self) -> bool {
        Process::look(self.tid.load(SeqCst)).is_some_and(|process| process.state == 'S')
    }
}

impl<T: Send + 'static> Stage<T> {
    pub(crate) fn new(create: impl FnOnce(&mut Host) -> Vec<Place>) -> Self {
        let capacity = Capacity { processes: 3, threads: 8, host_threads: 8, lines: 64 };
        let mut host = Host::new(WorkerId::new(0, 0), capacity).unwrap();
        let places = create(&mut host);
        let tickets = Who::ALL.map(|who| host.admit(who.worker()).unwrap());
        let data = SharedCells::new(DATA + Who::ALL.len()).unwrap();
        Self { host, places, data, file: None, tickets, contenders: Vec::new() }
    }

    /// Starts a victim.
    pub(crate) fn start(&self, who: Who, part: &str) -> u32 {
        let path = CString::new(env::current_exe().unwrap().as_os_str().as_bytes()).unwrap();
        let Ticket { entries, lines, rows, first, threads, .. } = self.tickets[who as usize];
        let places = self.places.iter().flat_map(|place| [place.line, place.extra]);
        let numbers = [who as u32, entries, lines, rows, first, threads].into_iter().chain(places);
        let arguments =
            [VICTIM.to_owned(), part.to_owned()].into_iter().chain(numbers.map(|n| n.to_string()));
        let arguments: Vec<CString> = arguments.map(|argument| CString::new(argument).unwrap()).collect();
        let mut argv = vec![path.as_c_str()];
        argv.extend(arguments.iter().map(CString::as_c_str));
        let stderr = io::stderr();
        let fds = [
            (stderr.as_fd(), 2),
            (self.host.file().as_fd(), 3),
            (self.data.file().as_fd(), 4),
            (self.file.as_ref().unwrap_or(self.data.file()).as_fd(), 5),
        ];
        let command = Command {
            path: &path,
            argv: &argv,
            env: &[],
            cwd: None,
            fds: &fds,
            nice: None,
            open_files: None,
            die_with_parent: true,
        };
        Spawner::new().unwrap().spawn(&command).unwrap().pid()
    }

    /// Starts a contender, which does `act`.
    pub(crate) fn contend(&mut self, act: impl FnOnce(Member, SharedCells<AtomicU32>) -> T + Send + 'static) {
        let member = self.host.member().clone();
        self.contend_as(member, act);
    }

    /// Starts a contender that is a process life of its own, in the block of the first victim, which has been recovered.
    pub(crate) fn succeed(&mut self, act: impl FnOnce(Member, SharedCells<AtomicU32>) -> T + Send + 'static) {
        let worker = WorkerId::new(Who::First.worker().slot.0, 2);
        let ticket = self.host.admit(worker).unwrap();
        assert_eq!(Ticket { worker, ..self.tickets[Who::First as usize] }, ticket);
        let member = Member::attach(self.host.file().try_clone().unwrap(), ticket).unwrap();
        self.contend_as(member, act);
    }

    fn contend_as(
        &mut self,
        member: Member,
        act: impl FnOnce(Member, SharedCells<AtomicU32>) -> T + Send + 'static,
    ) {
        let (send, answer) = mpsc::channel();
        let tid = Arc::new(AtomicU32::new(u32::MAX));
        let data = self.data.clone();
        thread::spawn({
            let running = Running(Arc::clone(&tid));
            move || {
                running.0.store(process::thread_id(), SeqCst);
                drop(send.send(act(member, data)));
                drop(running);
            }
        });
        self.contenders.push(Contender { tid, answer });
    }

    /// How many contenders there are.
    pub(crate) fn contenders(&self) -> usize {
        self.contenders.len()
    }

    /// How many of them have not done yet what they do.
    pub(crate) fn waiting(&self) -> usize {
        self.contenders.iter().filter(|contender| !contender.is_done()).count()
    }

    /// Waits until all contenders sleep.
    pub(crate) fn wait_until_asleep(&self) {
        self.wait_until_all("sleep", Contender::is_asleep);
    }

    /// Waits until all contenders have done what they do.
    pub(crate) fn wait_until_done(&self) {
        self.wait_until_all("be done", Contender::is_done);
    }

    /// Waits until each contender sleeps or is done, so that none of them wakes another any more.
    pub(crate) fn wait_until_at_rest(&self) {
        self.wait_until_all("come to rest", |contender| contender.is_done() || contender.is_asleep());
    }

    /// Looks twice, for one that another woke after the first look at it, and as often as it can, since it is asked
    /// thousands of times.
    fn wait_until_all(&self, what: &str, is_so: impl Fn(&Contender<T>) -> bool) {
        let begun = Instant::now();
        for _ in 0..2 {
            while !self.contenders.iter().all(&is_so) {
                assert!(begun.elapsed() < DEADLINE, "contenders never {what}");
                thread::yield_now();
            }
        }
    }

    /// Whether a victim waits at its gate.
    pub(crate) fn is_at_gate(&self, who: Who) -> bool {
        who.gate(&self.data).load(SeqCst) == SHUT
    }

    /// Lets a victim go on from [`Side::wait_at_gate`].
    pub(crate) fn open_gate(&self, who: Who) {
        let gate = who.gate(&self.data);
        gate.store(OPEN, SeqCst);
        futex::wake(gate, 1);
    }

    /// A victim is dead: as the host does it.
    pub(crate) fn recover(&mut self, who: Who) {
        self.host.recover(self.tickets[who as usize]);
    }

    /// The same without the broadcast.
    pub(crate) fn recover_silently(&mut self, who: Who) {
        self.host.mark(self.tickets[who as usize]);
    }

    /// What the contenders answered; none may hang.
    pub(crate) fn answers(&mut self, point: &stepper::Point) -> Vec<T> {
        let answer = |contender: Contender<T>| match contender.answer.recv_timeout(DEADLINE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => panic!("{point}: a contender hangs"),
            Err(RecvTimeoutError::Disconnected) => panic!("{point}: a contender failed"),
        };
        self.contenders.drain(..).map(answer).collect()
    }

    /// Whether a contender hangs: it sleeps, and nobody is left who would wake it. If so, it is freed.
    pub(crate) fn hangs(&mut self) -> bool {
        self.wait_until_at_rest();
        let hangs = self.waiting() > 0;
        for contender in self.contenders.drain(..) {
            if !contender.is_done() {
                self.host.wake_all();
            }
            contender.answer.recv_timeout(DEADLINE).unwrap();
        }
        hangs
    }
}

/// What a victim has.
pub(crate) struct Side {
    who: Who,
    pub(crate) member: Member,
    pub(crate) places: Vec<Place>,
    pub(crate) data: SharedCells<AtomicU32>,
    /// The object's own file.
    pub(crate) file: OwnedFd,
}

impl Side {
    pub(crate) fn attach(numbers: &[String]) -> Self {
        stepper::allow_steps();
        let numbers: Vec<u32> = numbers.iter().map(|number| number.parse().unwrap()).collect();
        let [who, entries, lines, rows, first, threads, places @ ..] = numbers.as_slice() else {
            panic!("{numbers:?} are not the numbers of a victim")
        };
        let who = Who::ALL[*who as usize];
        let [entries, lines, rows, first, threads] = [*entries, *lines, *rows, *first, *threads];
        let ticket = Ticket { entries, lines, rows, first, threads, worker: who.worker() };
        let places = places.chunks(2).map(|place| Place { line: place[0], extra: place[1] }).collect();
        Self {
            who,
            member: Member::attach(inherited::take(3).unwrap(), ticket).unwrap(),
            places,
            data: SharedCells::attach(inherited::take(4).unwrap(), DATA + Who::ALL.len()).unwrap(),
            file: inherited::take(5).unwrap(),
        }
    }

    /// Counts a word of the data up, in two steps, so that a death may lie between them.
    pub(crate) fn count(&self, word: usize) {
        count(&self.data, word);
    }

    /// Waits until the test has acted.
    pub(crate) fn wait_at_gate(&self) {
        let gate = self.who.gate(&self.data);
        gate.store(SHUT, SeqCst);
        while gate.load(SeqCst) == SHUT {
            futex::wait(gate, SHUT, None);
        }
    }
}

/// Counts a word of the data up, as only one at a time may.
pub(crate) fn count(data: &SharedCells<AtomicU32>, word: usize) {
    let cell = &data.cells()[word];
    let value = cell.load(SeqCst);
    cell.store(value + 1, SeqCst);
}
