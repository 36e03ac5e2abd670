//! The commands that talk to a running service, `poold`; one file each.

mod ask;
mod explain;
mod logs;
mod reload;
mod scale;
mod start;
mod status;
mod stop;
mod top;
mod wait;

mod words;

pub(crate) use ask::{PlaceArgs, attach, refused};
pub(crate) use explain::{ExplainArgs, explain};
pub(crate) use logs::{LogsArgs, logs};
pub(crate) use reload::{ReloadArgs, reload};
pub(crate) use scale::{ScaleArgs, scale};
pub(crate) use start::{StartArgs, start};
pub(crate) use status::{StatusArgs, status};
pub(crate) use stop::{StopArgs, stop};
pub(crate) use top::{TopArgs, top};
pub(crate) use wait::{WaitArgs, wait};
