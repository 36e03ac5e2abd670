//! The stock worker: small useful functions for `poolctl map FUNCTION`, and for trying pools out.

#![forbid(unsafe_code)]

mod functions;
mod json;

use std::io::{self, Write};
use std::process::ExitCode;

use poolctl_worker::entries;

/// What a wrong use of a command line ends with.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    poolctl::init();
    // Whoever reads this is a person, or nobody: a text that cannot be written has no other place to go.
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        drop(tell(&mut io::stdout()));
        return ExitCode::SUCCESS;
    }
    drop(tell(&mut io::stderr()));
    ExitCode::from(USAGE)
}

/// Says what this program is to who has started it by hand.
fn tell(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "pool-worker is the stock worker of poolctl: it runs the functions below, and is started by poolctl, not by hand.\n\
         Try:  seq 10 | poolctl map square\n\nfunctions:"
    )?;
    let shown: Vec<_> =
        entries().map(|entry| (format!("{}{}", entry.name, &entry.signature[2..]), entry.doc)).collect();
    let width = shown.iter().map(|(head, _)| head.len()).max().unwrap_or(0);
    for (head, doc) in shown {
        writeln!(out, "  {head:width$}  {doc}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_told_in_one_line() {
        let mut out = Vec::new();

        tell(&mut out).unwrap();

        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("  square(i64) -> Result<i64, Overflow> "), "{text}");
        for entry in entries() {
            assert!(entry.doc.ends_with('.') && entry.doc.len() > 10, "{}: {:?}", entry.name, entry.doc);
        }
    }
}
