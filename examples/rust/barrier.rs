//! Three processes that go on together: nobody begins a round before all have ended the one before.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Array, Barrier, BarrierError, Pool};

/// Adds up its neighbours, round by round, as in a game of life: in each round all read before anybody writes.
#[poolctl::task]
fn live(barrier: Barrier, cells: Array<u64>, place: usize, rounds: usize) -> Result<(), BarrierError> {
    let around = [place + cells.len() - 1, place + 1].map(|neighbour| neighbour % cells.len());
    for _ in 0..rounds {
        let sum = around.iter().filter_map(|neighbour| cells.get(*neighbour)).sum();
        barrier.wait()?;
        cells.set(place, sum);
        barrier.wait()?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let pool = Pool::new(3)?;
    let (barrier, cells) = (Barrier::new(3)?, Array::from_slice(&[1, 0, 0])?);

    pool.starmap(live, (0..3).map(|place| (barrier.clone(), cells.clone(), place, 10)))?;

    println!("after ten rounds: {:?}", cells.to_vec());
    Ok(())
}
