//! Pools without processes: what happens, told by hand, and the whole list of what the engine asks for.

mod play;

mod basics;
mod commands;
mod deaths;
mod recycling;
mod stopping;
mod timing;
mod waiting;
