//! Reading a stream on a thread of its own, so that whoever writes it is never blocked by a test that looks away.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::DEADLINE;

/// What has been read of a stream so far, by a thread of its own.
#[derive(Debug, Clone)]
pub(crate) struct Capture(Arc<(Mutex<Captured>, Condvar)>);

#[derive(Debug, Default)]
struct Captured {
    bytes: Vec<u8>,
    ended: bool,
}

/// The condition did not come to hold.
#[derive(Debug)]
pub(crate) struct GaveUp;

impl Capture {
    pub(crate) fn ended() -> Self {
        Self(Arc::new((Mutex::new(Captured { bytes: Vec::new(), ended: true }), Condvar::new())))
    }

    pub(crate) fn of(mut stream: impl Read + Send + 'static) -> Self {
        let capture = Self(Arc::default());
        let shared = Arc::clone(&capture.0);
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            loop {
                let count = match stream.read(&mut buffer) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => 0,
                };
                let mut captured = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                captured.bytes.extend_from_slice(&buffer[..count]);
                captured.ended = count == 0;
                shared.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        capture
    }

    pub(crate) fn so_far(&self) -> Vec<u8> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).bytes.clone()
    }

    pub(crate) fn wait(&self, condition: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, GaveUp> {
        self.wait_for(|captured| condition(&captured.bytes))
    }

    pub(crate) fn wait_end(&self) -> Result<Vec<u8>, GaveUp> {
        self.wait_for(|captured| captured.ended)
    }

    fn wait_for(&self, condition: impl Fn(&Captured) -> bool) -> Result<Vec<u8>, GaveUp> {
        let end = Instant::now() + DEADLINE;
        let mut captured = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if condition(&captured) {
                return Ok(captured.bytes.clone());
            }
            let left = end.saturating_duration_since(Instant::now());
            if captured.ended || left.is_zero() {
                return Err(GaveUp);
            }
            (captured, _) = self.0.1.wait_timeout(captured, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
