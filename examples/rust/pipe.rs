//! Two processes talk over a pipe that goes both ways.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Connection, PipeError, Process, pipe};

/// Answers each text with its length, until the other end is gone.
#[poolctl::task]
fn measure(line: Connection<(String, usize), String>) -> Result<(), PipeError> {
    for text in line.iter() {
        let text = text?;
        let length = text.chars().count();
        line.send((text, length))?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let (near, far) = pipe::<String, (String, usize)>()?;
    let measurer = Process::new(measure, far);
    measurer.start()?;

    for text in ["one", "three", "fünf"] {
        near.send(text.to_owned())?;
        let (text, length) = near.recv()?;
        println!("{text} has {length} letters");
    }
    near.close();

    println!("the other side ended with {}", measurer.join()?);
    Ok(())
}
