//! How long a client of a service waits for one task: alone, and with 19 other clients, of which one floods, one never reads
//! and one vanishes every second.
//!
//! usage: `service_latency` (a release build, with `pool-worker` beside `poolctl`). Three pools of two workers: a native function
//! of next to no time, a Python function that naps for a millisecond, a line filter. Each answer is checked.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what it prints is the measurement")]

use std::error::Error;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use poolctl_service::{Allowed, Connection, Control, Order, Reading, Server, Setup};
use poolctl_supervisor::Waker;

type Done<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A pool, an item of it, and its answer.
const POOLS: [(&str, &[u8], &[u8]); 3] =
    [("squares", b"12", b"144"), ("naps", b"0.001", b"null"), ("lines", b"word", b"word")];

/// How many tasks are timed in each pool.
const TIMED: usize = 400;

/// How many clients ask now and then.
const QUIET: usize = 16;

fn main() -> ExitCode {
    if poolctl_supervisor::keeper::requested() {
        return poolctl_supervisor::keeper::serve();
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Done {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("poold.sock");
    let (controller, server) = serve(&socket)?;
    warm_up(&socket)?;
    println!("pool      alone p50  p95   with 19 others p50  p95   ratio p50  p95   (microseconds)");
    for (number, (name, ..)) in POOLS.iter().enumerate() {
        let alone = timed(&socket, number)?;
        let crowd = Arc::new(Crowd::default());
        let others = crowd_around(&crowd, &socket, number);
        // Until the flood has come.
        wait_for(|| crowd.flooded.load(Ordering::Relaxed) > 200);
        let crowded = timed(&socket, number)?;
        crowd.is_over.store(true, Ordering::Relaxed);
        for other in others {
            other.join().map_err(|_| "a client has panicked")?;
        }
        let at = |times: &[Duration], part: usize| times[times.len() * part / 100].as_secs_f64() * 1e6;
        let ratio = |part| at(&crowded, part) / at(&alone, part);
        println!(
            "{name:8} {:9.0} {:6.0} {:17.0} {:6.0} {:10.2} {:5.2}   ({} items of the flood, {} clients vanished)",
            at(&alone, 50),
            at(&alone, 95),
            at(&crowded, 50),
            at(&crowded, 95),
            ratio(50),
            ratio(95),
            crowd.flooded.load(Ordering::Relaxed),
            crowd.vanished.load(Ordering::Relaxed),
        );
    }
    controller.send(Control::Terminate);
    server.join().map_err(|_| "the server has panicked")??;
    println!("peak memory, server and clients: {} MiB", peak_mib()?);
    Ok(())
}

/// What the other clients have done.
#[derive(Debug, Default)]
struct Crowd {
    is_over: AtomicBool,
    flooded: AtomicU64,
    vanished: AtomicU64,
}

fn serve(socket: &Path) -> Done<(poolctl_service::Controller, thread::JoinHandle<std::io::Result<()>>)> {
    let own = env::current_exe()?;
    let release = own.parent().and_then(Path::parent).ok_or("no folder of programs")?;
    let mut server = Server::new(Setup {
        keeper: own.clone(),
        stock_worker: Some(release.join("pool-worker")),
        run_id: format!("service-latency-{}", std::process::id()),
        may_open: false,
        shm_limit: None,
        max_clients: 1000,
        drain_timeout: None,
        reload: None,
    })?;
    for (name, target) in [
        ("squares", r#"{"kind":"native","function":"square"}"#),
        ("naps", r#"{"kind":"python","module":"time","function":"sleep"}"#),
        ("lines", r#"{"kind":"lines","argv":["cat"]}"#),
    ] {
        let spec = serde_json::from_str(&format!(r#"{{"target":{target},"workers":2,"prestart":true}}"#))?;
        server.open_named(name.to_owned(), spec)?;
    }
    server.listen(UnixListener::bind(socket)?, Allowed::default())?;
    let controller = server.controller();
    Ok((controller, thread::spawn(move || server.run())))
}

fn warm_up(socket: &Path) -> Done {
    for (name, item, answer) in POOLS {
        let mut client = Connection::open(socket, "warm-up")?;
        let pool = client.attach(name)?;
        for _ in 0..50 {
            let end = client.submit(&pool, item)?;
            assert_eq!(end.payload, answer, "{name}");
        }
    }
    Ok(())
}

/// How long single tasks take, sorted.
fn timed(socket: &Path, number: usize) -> Done<Vec<Duration>> {
    let (name, item, answer) = POOLS[number];
    let mut client = Connection::open(socket, "timed")?;
    let pool = client.attach(name)?;
    let mut times = Vec::with_capacity(TIMED);
    let (_hold, pause) = mpsc::channel::<()>();
    for _ in 0..TIMED {
        let begun = Instant::now();
        let end = client.submit(&pool, item)?;
        times.push(begun.elapsed());
        assert_eq!(end.payload, answer, "{name}");
        rest(&pause, Duration::from_millis(3));
    }
    times.sort_unstable();
    Ok(times)
}

/// Starts the other clients.
fn crowd_around(crowd: &Arc<Crowd>, socket: &Path, number: usize) -> Vec<thread::JoinHandle<()>> {
    let mut others = Vec::new();
    let mut start = |live: fn(&Crowd, &Path, usize) -> Done, number: usize| {
        let (crowd, socket) = (Arc::clone(crowd), socket.to_path_buf());
        others.push(thread::spawn(move || {
            let ended = live(&crowd, &socket, number);
            // At the end the server goes first.
            if let (Err(error), false) = (ended, crowd.is_over.load(Ordering::Relaxed)) {
                println!("a client has ended: {error}");
            }
        }));
    };
    start(flood, number);
    start(never_read, number);
    start(vanish, number);
    (0..QUIET).for_each(|number| start(ask_now_and_then, number));
    others
}

/// As many items as there is credit for, all the time.
fn flood(crowd: &Crowd, socket: &Path, number: usize) -> Done {
    let (name, item, _) = POOLS[number];
    let mut client = Connection::open(socket, "flood")?;
    let pool = client.attach(name)?;
    let mut map = client.map(&pool, Order::AsTheyCome)?;
    let waker = Waker::new()?;
    let items = vec![item; 1000];
    while !crowd.is_over.load(Ordering::Relaxed) {
        map.push(&items)?;
        let mut came = 0;
        map.turn(Reading::On, Some(Duration::from_millis(20)), &waker, &mut |_| came += 1)?;
        crowd.flooded.fetch_add(came, Ordering::Relaxed);
    }
    Ok(())
}

/// As many items as there is credit for, and no answer is read.
fn never_read(crowd: &Crowd, socket: &Path, number: usize) -> Done {
    let (name, item, _) = POOLS[number];
    let mut client = Connection::open(socket, "never reads")?;
    let pool = client.attach(name)?;
    let mut map = client.map(&pool, Order::AsTheyCome)?;
    let waker = Waker::new()?;
    let (_hold, pause) = mpsc::channel::<()>();
    while !crowd.is_over.load(Ordering::Relaxed) {
        map.push(&vec![item; 1000])?;
        map.turn(Reading::Off, Some(Duration::from_millis(20)), &waker, &mut |_| {})?;
        rest(&pause, Duration::from_millis(20));
    }
    Ok(())
}

/// Sends work and goes, every second.
fn vanish(crowd: &Crowd, socket: &Path, number: usize) -> Done {
    let (name, item, _) = POOLS[number];
    let (_hold, pause) = mpsc::channel::<()>();
    while !crowd.is_over.load(Ordering::Relaxed) {
        let mut client = Connection::open(socket, "vanishes")?;
        let pool = client.attach(name)?;
        let mut map = client.map(&pool, Order::AsTheyCome)?;
        map.push(&vec![item; 1000])?;
        map.turn(Reading::On, Some(Duration::from_millis(20)), &Waker::new()?, &mut |_| {})?;
        drop(client);
        crowd.vanished.fetch_add(1, Ordering::Relaxed);
        rest(&pause, Duration::from_secs(1));
    }
    Ok(())
}

/// A task every 50 ms.
fn ask_now_and_then(crowd: &Crowd, socket: &Path, number: usize) -> Done {
    let (name, item, answer) = POOLS[number % POOLS.len()];
    let mut client = Connection::open(socket, "quiet")?;
    let pool = client.attach(name)?;
    let (_hold, pause) = mpsc::channel::<()>();
    while !crowd.is_over.load(Ordering::Relaxed) {
        assert_eq!(client.submit(&pool, item)?.payload, answer, "{name}");
        rest(&pause, Duration::from_millis(50));
    }
    Ok(())
}

/// Does nothing for a while.
fn rest(pause: &mpsc::Receiver<()>, span: Duration) {
    match pause.recv_timeout(span) {
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) | Ok(()) => {}
    }
}

fn wait_for(condition: impl Fn() -> bool) {
    let (_hold, pause) = mpsc::channel::<()>();
    while !condition() {
        rest(&pause, Duration::from_millis(10));
    }
}

/// The most memory this process had, with the server and all clients in it.
fn peak_mib() -> Done<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
}
