//! Results are futures: many of them gathered in one `async` function. Any runtime can await them; here it is the
//! smallest there is, one thread that parks.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use poolctl::{Pool, TaskError};

/// The length of the longest run of `n`, `n / 2` or `3 n + 1`, … down to 1 that begins in a range.
#[poolctl::task]
fn longest_run(from: u64, to: u64) -> u32 {
    (from..to).map(run).max().unwrap_or_default()
}

fn run(mut n: u64) -> u32 {
    let mut steps = 0;
    while n > 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}

async fn longest_of_all(pool: &Pool) -> Result<u32, TaskError> {
    let ranges = (0..8).map(|part| (1 + part * 10_000, 1 + (part + 1) * 10_000));
    let results = ranges.map(|range| pool.apply_async(longest_run, range)).collect::<Result<_, _>>()?;
    let runs = gather(results).await;
    runs.into_iter().try_fold(0, |longest, run| Ok(longest.max(run?)))
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let pool = Pool::new(2)?;

    let longest = block_on(longest_of_all(&pool))?;

    println!("the longest run below 80001 has {longest} steps");
    Ok(())
}

/// All outputs, in the order of the futures.
async fn gather<F: Future + Unpin>(futures: Vec<F>) -> Vec<F::Output> {
    let mut places: Vec<_> = futures.into_iter().map(|future| (Some(future), None)).collect();
    poll_fn(|context| {
        for (pending, output) in &mut places {
            if let Some(future) = pending
                && let Poll::Ready(ready) = Pin::new(future).poll(context)
            {
                (*pending, *output) = (None, Some(ready));
            }
        }
        if places.iter().any(|(pending, _)| pending.is_some()) {
            return Poll::Pending;
        }
        Poll::Ready(places.iter_mut().filter_map(|(_, output)| output.take()).collect())
    })
    .await
}

/// Runs a future in this thread, which sleeps until there is something to do.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}
