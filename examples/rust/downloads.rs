//! Many downloads from a web server: by a pool of threads, which is enough for work that waits, and by a pool of
//! processes, which is called the same. How long each took goes to stderr.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use poolctl::{MapError, Pool, ThreadPool};

const PAGES: u32 = 24;
const AT_ONCE: u32 = 8;
/// How slow the network is.
const LATENCY: Duration = Duration::from_millis(20);

/// Fetches a page and says how many bytes it has.
#[poolctl::task]
fn download(server: SocketAddr, page: u32) -> Result<usize, io::Error> {
    let mut stream = TcpStream::connect(server)?;
    write!(stream, "GET /{page} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    Ok(body.len())
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = listener.local_addr()?;
    thread::spawn(move || serve(&listener));
    let pages = || (1..=PAGES).map(|page| (server, page));

    let threads = ThreadPool::new(AT_ONCE)?;
    timed("threads", || threads.starmap(download, pages()))?;

    let processes = Pool::new(AT_ONCE)?;
    timed("processes", || processes.starmap(download, pages()))?;
    Ok(())
}

fn timed(who: &str, work: impl FnOnce() -> Result<Vec<usize>, MapError>) -> Result<(), MapError> {
    let start = Instant::now();
    let lengths = work()?;
    println!("{who}: {} pages, {} bytes", lengths.len(), lengths.iter().sum::<usize>());
    eprintln!("{who} took {:.0?}", start.elapsed());
    Ok(())
}

/// A web server: page N has N lines.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        thread::spawn(|| {
            if let Err(error) = answer(stream) {
                eprintln!("server: {error}");
            }
        });
    }
}

fn answer(stream: TcpStream) -> io::Result<()> {
    let mut request = BufReader::new(&stream);
    let mut line = String::new();
    request.read_line(&mut line)?;
    let page = line.split(['/', ' ']).nth(2).and_then(|page| page.parse().ok());
    let lines: usize = page.ok_or(io::ErrorKind::InvalidInput)?;
    while line.trim() != "" {
        line.clear();
        request.read_line(&mut line)?;
    }
    wait_for_the_network();
    write!(&stream, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{}", "a line\n".repeat(lines))
}

#[expect(clippy::disallowed_methods, reason = "it plays a slow network")]
fn wait_for_the_network() {
    thread::sleep(LATENCY);
}
