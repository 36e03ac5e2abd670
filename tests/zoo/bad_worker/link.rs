//! The descriptors 3 and 4 of a protocol worker, as JSON lines or as frames, with nothing hidden: a bad worker can put
//! any bytes on them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use serde_json::Value;

/// Why the link does not work; the supervisor is at fault or gone.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The kernel refused, or the other end is gone.
    Io(#[expect(dead_code, reason = "shown by main's Debug")] io::Error),
    /// What came is no task.
    NoTask(#[expect(dead_code, reason = "shown by main's Debug")] Vec<u8>),
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One task: its id and its data, as JSON text.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) data: String,
}

/// Both descriptors.
pub(crate) struct Link {
    requests: BufReader<File>,
    replies: Option<File>,
    frames: bool,
}

impl Link {
    pub(crate) fn open() -> Result<Self, LinkError> {
        let frames = std::env::var("POOLCTL_FRAMING").is_ok_and(|framing| framing == "frame");
        Ok(Self { requests: BufReader::new(duplicate(3)?), replies: Some(duplicate(4)?), frames })
    }

    pub(crate) fn hello(&mut self, caps: &[String]) -> Result<(), LinkError> {
        let caps: Vec<String> = caps.iter().map(|cap| format!("\"{cap}\"")).collect();
        let hello = format!("{{\"poolctl\":1,\"caps\":[{}],\"functions\":[]}}", caps.join(","));
        let bytes = if self.frames { frame(0, 0, hello.as_bytes()) } else { line(&hello) };
        self.put(&bytes)
    }

    /// The next task; none at end of file. Cancels are left unheard.
    pub(crate) fn receive(&mut self) -> Result<Option<Task>, LinkError> {
        loop {
            let received = if self.frames { self.receive_frame()? } else { self.receive_line()? };
            match received {
                Received::Task(task) => return Ok(Some(task)),
                Received::Other => {}
                Received::End => return Ok(None),
            }
        }
    }

    pub(crate) fn answer(&mut self, task: &Task) -> Result<(), LinkError> {
        let bytes = self.reply(task.id, &task.data);
        self.put(&bytes)
    }

    /// The bytes of an `ok` reply.
    pub(crate) fn reply(&self, id: u64, data: &str) -> Vec<u8> {
        if self.frames {
            frame(2, id, data.as_bytes())
        } else {
            line(&format!("{{\"id\":{id},\"ok\":{data}}}"))
        }
    }

    /// Puts any bytes on descriptor 4.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        match &mut self.replies {
            Some(replies) => Ok(replies.write_all(bytes)?),
            None => Ok(()),
        }
    }

    /// Closes descriptor 4 (and 3, which is the same socket where frames are spoken).
    pub(crate) fn close_replies(&mut self) -> Result<(), LinkError> {
        self.replies = None;
        nix::unistd::close(4).map_err(io::Error::from)?;
        if self.frames {
            nix::sys::socket::shutdown(3, nix::sys::socket::Shutdown::Both).map_err(io::Error::from)?;
        }
        Ok(())
    }

    fn receive_line(&mut self) -> Result<Received, LinkError> {
        let mut text = Vec::new();
        self.requests.read_until(b'\n', &mut text)?;
        if text.is_empty() {
            return Ok(Received::End);
        }
        let Ok(value) = serde_json::from_slice::<Value>(&text) else { return Err(LinkError::NoTask(text)) };
        match (value.get("id").and_then(Value::as_u64), value.get("data")) {
            (Some(id), Some(data)) => Ok(Received::Task(Task { id, data: data.to_string() })),
            _ => Ok(Received::Other),
        }
    }

    fn receive_frame(&mut self) -> Result<Received, LinkError> {
        let mut header = [0; 16];
        match self.requests.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Received::End),
            other => other?,
        }
        let [a, b, c, d, kind, _, m0, m1, id @ ..] = header;
        let mut body = vec![0; u32::from_le_bytes([a, b, c, d]) as usize];
        self.requests.read_exact(&mut body)?;
        if kind != 1 {
            return Ok(Received::Other);
        }
        let data = body.split_off(usize::from(u16::from_le_bytes([m0, m1])));
        match String::from_utf8(data) {
            Ok(data) => {
                Ok(Received::Task(Task { id: u64::from_le_bytes(id), data: data.trim_end().to_owned() }))
            }
            Err(error) => Err(LinkError::NoTask(error.into_bytes())),
        }
    }
}

enum Received {
    Task(Task),
    Other,
    End,
}

fn line(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(b'\n');
    bytes
}

fn frame(kind: u8, id: u64, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small payload");
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend([kind, 0, 0, 0]);
    bytes.extend(id.to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// A copy of one of our own descriptors, known by its number alone, without unsafe code.
fn duplicate(number: i32) -> Result<File, LinkError> {
    let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(io::Error::from)?;
    let copy = pidfd_getfd(own, number, PidfdGetfdFlags::empty()).map_err(io::Error::from)?;
    Ok(File::from(copy))
}
