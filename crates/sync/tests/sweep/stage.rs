//! A host with one object, a victim that is a member, and contenders: threads of the host that sleep behind it.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;
use std::{env, io, thread};

use poolctl_shm::SharedCells;
use poolctl_sync::{Capacity, Host, Member, Place, Ticket};
use poolctl_sys::spawn::{Command, Spawner};
use poolctl_sys::{futex, inherited, process};
use poolctl_testkit::stepper::{self, VICTIM};
use poolctl_testkit::{DEADLINE, Process, wait_until};
use poolctl_types::WorkerId;

/// How many words of data there are, besides the gate.
pub(crate) const DATA: usize = 6;
/// The word that the victim waits at.
const GATE: usize = DATA;
/// What the gate says while the victim waits at it, and when it may go on.
const SHUT: u32 = 1;
const OPEN: u32 = 2;
/// How long somebody sleeps who is taken for one that nobody wakes.
const HANG: Duration = Duration::from_millis(60);

/// What the test has.
pub(crate) struct Stage<T> {
    pub(crate) host: Host,
    pub(crate) places: Vec<Place>,
    pub(crate) data: SharedCells<AtomicU32>,
    /// A file of the object, beside its place.
    pub(crate) file: Option<Arc<OwnedFd>>,
    ticket: Ticket,
    contenders: Vec<Contender<T>>,
}

struct Contender<T> {
    tid: Arc<AtomicU32>,
    answer: Receiver<T>,
}

impl<T: Send + 'static> Stage<T> {
    pub(crate) fn new(create: impl FnOnce(&mut Host) -> Vec<Place>) -> Self {
        let capacity = Capacity { processes: 2, threads: 8, host_threads: 8, lines: 64 };
        let mut host = Host::new(WorkerId::new(0, 0), capacity).unwrap();
        let places = create(&mut host);
        let ticket = host.admit(WorkerId::new(1, 1)).unwrap();
        Self {
            host,
            places,
            data: SharedCells::new(DATA + 1).unwrap(),
            file: None,
            ticket,
            contenders: Vec::new(),
        }
    }

    /// Starts the victim.
    pub(crate) fn start(&self, part: &str) -> u32 {
        let path = CString::new(env::current_exe().unwrap().as_os_str().as_bytes()).unwrap();
        let Ticket { entries, lines, rows, first, threads, .. } = self.ticket;
        let places = self.places.iter().flat_map(|place| [place.line, place.extra]);
        let numbers = [entries, lines, rows, first, threads].into_iter().chain(places);
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
        let (send, answer) = mpsc::channel();
        let tid = Arc::new(AtomicU32::new(u32::MAX));
        let (member, data) = (self.host.member().clone(), self.data.clone());
        thread::spawn({
            let tid = Arc::clone(&tid);
            move || {
                tid.store(process::thread_id(), SeqCst);
                drop(send.send(act(member, data)));
                tid.store(0, SeqCst);
            }
        });
        self.contenders.push(Contender { tid, answer });
    }

    /// How many contenders there are.
    pub(crate) fn contenders(&self) -> usize {
        self.contenders.len()
    }

    /// Waits until all contenders sleep.
    pub(crate) fn wait_until_asleep(&self) {
        let sleeps = |contender: &Contender<T>| {
            let state = Process::look(contender.tid.load(SeqCst)).map(|process| process.state);
            state == Some('S')
        };
        wait_until(DEADLINE, "contenders to sleep", || self.contenders.iter().all(sleeps));
    }

    /// Waits until all contenders have done what they do.
    pub(crate) fn wait_until_done(&self) {
        let is_done = |contender: &Contender<T>| contender.tid.load(SeqCst) == 0;
        wait_until(DEADLINE, "contenders to act", || self.contenders.iter().all(is_done));
    }

    /// Lets the victim go on from [`Side::wait_at_gate`], if it is there; whether it was.
    pub(crate) fn is_at_gate(&self) -> bool {
        self.data.cells()[GATE].load(SeqCst) == SHUT
    }

    pub(crate) fn open_gate(&self) {
        let gate = &self.data.cells()[GATE];
        gate.store(OPEN, SeqCst);
        futex::wake(gate, 1);
    }

    /// The victim is dead: as the host does it.
    pub(crate) fn recover(&mut self) {
        self.host.recover(self.ticket);
    }

    /// The same without the broadcast.
    pub(crate) fn recover_silently(&mut self) {
        self.host.mark(self.ticket);
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

    /// Whether a contender seems to hang. If so, it is freed.
    pub(crate) fn hangs(&mut self) -> bool {
        let mut hangs = false;
        for contender in self.contenders.drain(..) {
            if contender.answer.recv_timeout(HANG).is_err() {
                hangs = true;
                self.host.wake_all();
                contender.answer.recv_timeout(DEADLINE).unwrap();
            }
        }
        hangs
    }
}

/// What the victim has.
pub(crate) struct Side {
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
        let (ticket, places) = numbers.split_at(5);
        let worker = WorkerId::new(1, 1);
        let [entries, lines, rows, first, threads] = ticket.try_into().unwrap();
        let ticket = Ticket { entries, lines, rows, first, threads, worker };
        let places = places.chunks(2).map(|place| Place { line: place[0], extra: place[1] }).collect();
        Self {
            member: Member::attach(inherited::take(3).unwrap(), ticket).unwrap(),
            places,
            data: SharedCells::attach(inherited::take(4).unwrap(), DATA + 1).unwrap(),
            file: inherited::take(5).unwrap(),
        }
    }

    /// Counts a word of the data up, in two steps, so that a death may lie between them.
    pub(crate) fn count(&self, word: usize) {
        count(&self.data, word);
    }

    /// Waits until the test has acted.
    pub(crate) fn wait_at_gate(&self) {
        let gate = &self.data.cells()[GATE];
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
