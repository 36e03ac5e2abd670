//! How fast the primitives are: `cargo run --release -p poolctl-sync --example lock_rate`.
//!
//! Each figure of the lock stands beside one of a robust, process-shared pthread mutex in the same run. The second
//! process is this program again.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;
use std::{env, error, hint, mem};

use poolctl_sync::{Capacity, Host, Member, Place, RawLock, RawQueue, Ticket};
use poolctl_sys::mapping::Mapping;
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::spawn::{Command, Spawner};
use poolctl_sys::{inherited, memfd};
use poolctl_types::WorkerId;

type Outcome<T> = Result<T, Box<dyn error::Error>>;

/// Locks and unlocks of one process.
const ROUNDS: u32 = 5_000_000;
/// Records through the queue.
const RECORDS: u64 = 5_000_000;
/// Bytes of the queue.
const QUEUE: usize = 1 << 16;
/// Where the mutex lies in its page.
const PAGE: usize = 4096;

/// A robust mutex of pthread in shared memory.
struct Mutex(Mapping);

impl Mutex {
    fn at(file: BorrowedFd<'_>) -> Outcome<Self> {
        Ok(Self(Mapping::read_write(file, PAGE)?))
    }

    fn pointer(&self) -> *mut libc::pthread_mutex_t {
        self.0.as_ptr().as_ptr().cast()
    }

    fn init(&self) {
        let mut attributes = mem::MaybeUninit::uninit();
        // SAFETY: it is memory for attributes.
        unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) };
        // SAFETY: initialised above.
        unsafe { libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: as above.
        unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST) };
        // SAFETY: a page of zeroes that nobody else uses yet, long and aligned enough.
        unsafe { libc::pthread_mutex_init(self.pointer(), attributes.as_ptr()) };
    }

    fn round(&self) {
        // SAFETY: `init` was called in one of the processes before the others use it; both are this program.
        unsafe { libc::pthread_mutex_lock(self.pointer()) };
        // SAFETY: locked by this thread above.
        unsafe { libc::pthread_mutex_unlock(self.pointer()) };
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [part, numbers @ ..] = arguments.as_slice() {
        return other(part, numbers);
    }
    let mut host = Host::new(
        WorkerId::new(0, 0),
        Capacity { processes: 201, threads: 4, host_threads: 4, lines: 10_100 },
    )?;
    let place = host.create_lock()?;
    let lock = RawLock::at(host.member(), place).ok_or("no lock")?;
    let mutex_file = memfd::sealed("mutex", PAGE as u64)?;
    let mutex = Mutex::at(mutex_file.as_fd())?;
    mutex.init();
    let lock_round = || {
        let _acquired = hint::black_box(lock.acquire(None)).expect("there is no deadlock");
        hint::black_box(lock.release()).expect("it is taken above");
    };
    for _ in 0..3 {
        println!("uncontended, lock:  {:7.1} ns", per_round(ROUNDS, lock_round));
        println!("uncontended, mutex: {:7.1} ns", per_round(ROUNDS, || mutex.round()));
    }
    for _ in 0..3 {
        let ticket = host.admit(WorkerId::new(1, 0))?;
        let nanos = contended(&host, ticket, lock.place(), "lock", &mutex_file, lock_round)?;
        println!("two processes, lock:  {nanos:7.1} ns");
        host.recover(ticket);
        let ticket = host.admit(WorkerId::new(1, 0))?;
        let nanos = contended(&host, ticket, lock.place(), "mutex", &mutex_file, || mutex.round())?;
        println!("two processes, mutex: {nanos:7.1} ns");
        host.recover(ticket);
    }
    queue(&mut host)?;
    recovery(&mut host)
}

fn per_round(rounds: u32, mut round: impl FnMut()) -> f64 {
    let begun = Instant::now();
    (0..rounds).for_each(|_| round());
    begun.elapsed().as_nanos() as f64 / f64::from(rounds)
}

/// Both processes do the same; a nanosecond figure for one lock and unlock of either.
fn contended(
    host: &Host,
    ticket: Ticket,
    place: Place,
    part: &str,
    file: &OwnedFd,
    round: impl FnMut(),
) -> Outcome<f64> {
    let child = start(host, ticket, place, part, file.as_fd())?;
    let begun = Instant::now();
    per_round(ROUNDS, round);
    child.wait_for_end(None)?;
    let nanos = begun.elapsed().as_nanos() as f64 / f64::from(2 * ROUNDS);
    child.reap()?;
    Ok(nanos)
}

/// One process puts, one gets.
fn queue(host: &mut Host) -> Outcome<()> {
    let place = host.create_queue()?;
    let queue = RawQueue::new(host.member(), place, QUEUE)?.ok_or("no queue")?;
    for _ in 0..3 {
        let ticket = host.admit(WorkerId::new(1, 0))?;
        let file = queue.file().try_clone()?;
        let child = start(host, ticket, place, "put", file.as_fd())?;
        let mut bytes = Vec::new();
        queue.get(&mut bytes, None)?;
        let begun = Instant::now();
        for _ in 1..RECORDS {
            bytes.clear();
            queue.get(&mut bytes, None)?;
        }
        let rate = RECORDS as f64 / begun.elapsed().as_secs_f64() / 1e6;
        println!("queue of u64, one to one: {rate:5.1} million/s");
        child.wait_for_end(None)?;
        child.reap()?;
        host.recover(ticket);
    }
    Ok(())
}

/// 10 000 locks and 200 processes, one of which dies with a lock.
fn recovery(host: &mut Host) -> Outcome<()> {
    for _ in 0..10_000 {
        host.create_lock()?;
    }
    let mut tickets = Vec::new();
    for slot in 1..=200 {
        tickets.push(host.admit(WorkerId::new(slot, 0))?);
    }
    let begun = Instant::now();
    host.recover(tickets[100]);
    println!("recovery of one of 200 processes, 10 000 locks: {:.2?}", begun.elapsed());
    Ok(())
}

fn start(host: &Host, ticket: Ticket, place: Place, part: &str, file: BorrowedFd<'_>) -> Outcome<Pidfd> {
    let path = CString::new(env::current_exe()?.as_os_str().as_bytes())?;
    let Ticket { entries, lines, rows, first, threads, .. } = ticket;
    let numbers =
        [entries, lines, rows, first, threads, place.line, place.extra].map(|number| number.to_string());
    let mut arguments = vec![CString::new(part)?];
    for number in numbers {
        arguments.push(CString::new(number)?);
    }
    let mut argv = vec![path.as_c_str()];
    argv.extend(arguments.iter().map(CString::as_c_str));
    let stderr = std::io::stderr();
    debug_assert!(file.as_raw_fd() > 2);
    let command = Command {
        path: &path,
        argv: &argv,
        env: &[],
        cwd: None,
        fds: &[(stderr.as_fd(), 2), (host.file().as_fd(), 3), (file, 4)],
        nice: None,
        open_files: None,
        die_with_parent: true,
    };
    Ok(Spawner::new()?.spawn(&command)?)
}

/// The second process.
fn other(part: &str, numbers: &[String]) -> Outcome<()> {
    let numbers = numbers.iter().map(|number| number.parse()).collect::<Result<Vec<u32>, _>>()?;
    let [entries, lines, rows, first, threads, line, extra] = numbers[..] else {
        return Err("seven numbers".into());
    };
    let ticket = Ticket { entries, lines, rows, first, threads, worker: WorkerId::new(1, 0) };
    let place = Place { line, extra };
    let member = Member::attach(inherited::take(3)?, ticket)?;
    let file = inherited::take(4)?;
    match part {
        "lock" => {
            let lock = RawLock::at(&member, place).ok_or("no lock")?;
            for _ in 0..ROUNDS {
                let _acquired = lock.acquire(None)?;
                lock.release()?;
            }
        }
        "mutex" => {
            let mutex = Mutex::at(file.as_fd())?;
            (0..ROUNDS).for_each(|_| mutex.round());
        }
        _ => {
            let queue = RawQueue::attach(&member, place, file, QUEUE)?.ok_or("no queue")?;
            for number in 0..RECORDS {
                queue.put(&number.to_le_bytes(), None)?;
            }
        }
    }
    Ok(())
}
