//! The functions. Each is a task under its own name; the first line of what stands above it is what `poolctl functions`
//! shows.

mod arithmetic;
mod files;
mod trying;
mod values;
