//! Pools for other programs: the server of the client protocol, one loop for all its clients and pools, and a client of it.
//!
//! What is said between the two ends is in docs/protocol.md ("The client protocol").

#![forbid(unsafe_code)]

mod installation;
mod runtime_directory;
mod spec;
mod spin;
mod systemd;
mod tenure;

mod connection;

mod template;

mod open;

mod descriptors;
mod ledger;
mod stream;

mod ahead;
mod client;
mod clients;
mod intake;
mod locks;
mod objects;

mod nests;
mod sink;

mod pool;

mod stats;

mod control;

mod connections;
mod requests;
mod server;

pub use connection::{
    Alive, Arrival, ConnectError, Connection, LastDeath, MapEnd, Mapping, Order, Pool, PoolStats, Reading,
    RequestError, Running, Stats, TaskEnd,
};
pub use control::{Allowed, Control, Controller, ReadPools, Reload, Setup};
pub use descriptors::Ends;
pub use installation::{NoProgram, executable, run_id, sibling};
pub use open::OpenError;
pub use poolctl_protocol::client::{ErrorBody, ErrorCode, OutcomeName, ResultMeta};
pub use runtime_directory::{RuntimeDirectoryError, runtime_directory, usual_socket};
pub use server::Server;
pub use spec::{FramingSpec, OnWorkerDeath, PoolSpec, TargetSpec};
pub use systemd::{Passed, PassedError, Readiness, passed_sockets};
pub use tenure::{LogPlace, Record, Tenure, TenureError, incumbent};
