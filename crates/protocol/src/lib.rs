//! Messages between supervisor, keeper and workers, and their bytes. No I/O and no policy.
//!
//! Every decoder is total: any bytes give a value or a typed error, never a panic, and a size is refused before
//! anything of that size is allocated. `docs/protocol.md` is the published form of the worker protocol; the files
//! under `tests/golden/` hold this crate and the Python worker to the same bytes.
#![forbid(unsafe_code)]

mod codec;
mod excerpt;
mod frame;
mod value;

mod remote_error;

mod hello;

mod batch;
mod bye;
mod claim;
mod message;
mod meta;
mod record;

pub mod client;
pub mod jsonl;
pub mod keeper;
pub mod tsv;

pub use batch::{
    BatchMetaError, parse_count, push_sized, take_sized, write_batch, write_batch_head, write_raw_batch,
};
pub use bye::{Bye, ByeError};
pub use claim::{Claim, ClaimError, Ring};
pub use codec::{DecodeValueError, EncodeValueError, MAX_VALUE_BYTES, decode_value, encode_value};
pub use excerpt::Excerpt;
pub use frame::{
    FLAG_IN_MEMFD, FLAG_JSON_LINES, Frame, FrameError, HEADER_BYTES, Header, Kind, MAX_BODY_BYTES,
};
pub use hello::{Caps, Hello, HelloError, PROTOCOL_VERSION};
pub use jsonl::{Reply, ReplyError};
pub use message::{
    Encoding, FLAG_PARCEL, FLAG_SLICE, MESSAGE_HEADER_BYTES, MessageError, MessageHeader, MessageKind,
    NO_FUNCTION, NestedStatus, ends_bytes,
};
pub use meta::{Level, LogMeta, MetaError, ProgressMeta, ReplyMeta, Stream};
pub use record::{
    FLAG_TIMED, RECORD_HEADER_BYTES, Record, RecordError, RecordKind, push_record, record_bytes,
    record_header, record_start,
};
pub use remote_error::{RemoteError, RemoteErrorError};
pub use value::{ValueError, check_value};
