//! Whole lives of workers, in threads, against a host's end of the link that the tests play.

mod errors;
mod host;
mod items;
mod large;
mod lives;
