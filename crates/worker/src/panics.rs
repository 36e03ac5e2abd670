//! Panics of tasks: caught, and told to the caller with message, place and backtrace.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use poolctl_protocol::RemoteError;

thread_local! {
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic in a task of this thread was.
    static TRACE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// In which element of a slice it was.
    static ELEMENT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The element of a slice that a task runs on: told with its panic.
pub(crate) struct Element(pub(crate) u64);

impl Drop for Element {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            ELEMENT.set(Some(self.0));
        }
    }
}

/// From now on panics of tasks are not printed but kept for who catches them; all others go where they went.
///
/// It happens once for all workers that are threads of this process: while a hook is exchanged, a panic of another
/// thread would go to the standard one.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if IN_TASK.get() {
                TRACE.set(Some(trace_of(info)));
            } else {
                before(info);
            }
        }));
    });
}

/// Runs a task's code.
///
/// # Errors
/// It panicked.
pub(crate) fn caught<R>(work: impl FnOnce() -> R) -> Result<R, RemoteError> {
    TRACE.set(None);
    IN_TASK.set(true);
    // What a panic leaves half done is the task's own and its worker's state, which whoever wrote them answers for.
    let done = catch_unwind(AssertUnwindSafe(work));
    IN_TASK.set(false);
    done.map_err(|payload| {
        let msg = match ELEMENT.take() {
            Some(element) => format!("element {element}: {}", message_of(&*payload)),
            None => message_of(&*payload),
        };
        // A payload whose own drop panics is no reason to go down.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        RemoteError { type_name: "panic".to_owned(), msg, trace: TRACE.take(), retry: None, more: None }
    })
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic whose payload is no text").to_owned()
}

fn trace_of(info: &PanicHookInfo<'_>) -> String {
    let mut trace = info.location().map_or_else(String::new, |location| format!("at {location}"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        write!(trace, "\n{}", without_own_frames(&backtrace.to_string())).expect("a String takes everything");
    }
    trace
}

/// The part of a backtrace that is the task's: without the machinery of panics above and this crate's frames below.
fn without_own_frames(backtrace: &str) -> String {
    let frames = frames(backtrace);
    let is_entry = |frame: &str| frame.contains("rust_begin_unwind") || frame.contains("begin_panic::");
    let Some(entry) = frames.iter().position(|frame| is_entry(frame)) else {
        return backtrace.to_owned();
    };
    let machinery =
        frames[entry + 1..].iter().take_while(|frame| symbol(frame).starts_with("core::panicking::"));
    let first = entry + 1 + machinery.count();
    let own = frames[first..].iter().position(|frame| symbol(frame).contains("poolctl_worker::"));
    let last = own.map_or(frames.len(), |own| first + own);
    let mut text = String::new();
    for (number, frame) in frames[first..last].iter().enumerate() {
        let frame = frame.trim_start().split_once(": ").map_or(*frame, |(_, frame)| frame);
        write!(text, "{number:>4}: {frame}").expect("a String takes everything");
    }
    text.truncate(text.trim_end().len());
    text
}

/// A backtrace's frames, each with the line that says where.
fn frames(backtrace: &str) -> Vec<&str> {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in backtrace.split_inclusive('\n') {
        let number = line.trim_start().split_once(": ").map_or("", |(number, _)| number);
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([backtrace.len()]);
    starts.iter().zip(ends).map(|(start, end)| &backtrace[*start..end]).collect()
}

fn symbol(frame: &str) -> &str {
    let first = frame.lines().next().unwrap_or_default();
    first.trim_start().split_once(": ").map_or("", |(_, symbol)| symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKTRACE: &str = "   \
   0: std::backtrace_rs::backtrace::trace
             at /rustc/x/backtrace.rs:1:1
   1: poolctl_worker::panics::install_hook::{{closure}}
   2: std::panicking::rust_panic_with_hook
   3: __rustc::rust_begin_unwind
   4: core::panicking::panic_fmt
   5: core::option::unwrap_failed
   6: app::deeper
             at ./src/main.rs:3:5
   7: app::square::body
             at ./src/main.rs:9:5
   8: <app::square as poolctl_worker::task::Task>::call
   9: poolctl_worker::expansion::run_binary
  10: main
";

    #[test]
    fn a_trace_begins_where_the_task_panicked_and_ends_where_it_was_called() {
        let expected = "   0: core::option::unwrap_failed
   1: app::deeper
             at ./src/main.rs:3:5
   2: app::square::body
             at ./src/main.rs:9:5";

        assert_eq!(without_own_frames(BACKTRACE), expected);
        assert_eq!(without_own_frames("no frames"), "no frames");
    }

    #[test]
    fn a_panic_is_told_with_its_message_and_its_place() {
        install_hook();

        let text = caught(|| panic!("seven is too many: {}", 8)).unwrap_err();
        let bare = caught(|| std::panic::panic_any(7_u8)).unwrap_err();

        assert_eq!((text.type_name.as_str(), text.msg.as_str()), ("panic", "seven is too many: 8"));
        let trace = text.trace.unwrap();
        assert!(trace.starts_with(concat!("at ", file!(), ":")), "{trace}");
        assert_eq!(bare.msg, "a panic whose payload is no text");
        assert_eq!(caught(|| 7), Ok(7));
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_survived() {
        struct Grudge;
        impl Drop for Grudge {
            fn drop(&mut self) {
                panic!("once more");
            }
        }

        let error = caught(|| std::panic::panic_any(Grudge)).unwrap_err();

        assert_eq!(error.type_name, "panic");
    }
}
