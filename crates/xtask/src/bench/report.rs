//! The tables of `docs/performance.md`, and the same words on the terminal.

use std::fmt::Write;

use super::cases::{Case, Target, Unit};
use super::figures::{Figures, Verdict, times_better, verdict};

/// The section of one case: heading, table, target.
pub(crate) fn section(case: &Case, figures: &[Figures]) -> String {
    let best = |index: usize| figures.get(index).and_then(|figures| figures.best(case.unit));
    let mut text = format!("### {}\n\n| | best | median | poolctl is |\n|---|---:|---:|---:|\n", case.title);
    for (index, (runner, figures)) in case.runners.iter().zip(figures).enumerate() {
        let name = runner.name.replace('|', "\\|");
        let (Some(own_best), Some(median)) = (best(index), figures.median()) else {
            line(&mut text, format_args!("| {name} | not measured: not installed | | |"));
            continue;
        };
        let times = match best(0) {
            Some(ours) if index > 0 => times(times_better(case.unit, ours, own_best)),
            _ => String::new(),
        };
        let (own_best, median) = (shown(case.unit, own_best), shown(case.unit, median));
        line(&mut text, format_args!("| {name} | {own_best} | {median} | {times} |"));
    }
    line(&mut text, format_args!("\n{}\n", target(case, best(0), best(1))));
    text
}

/// One sentence: what was asked for, what there is, and whether that is enough.
pub(crate) fn target(case: &Case, ours: Option<f64>, second: Option<f64>) -> String {
    let asked = match case.target {
        Target::RatioToSecond(most) => format!("at most {most} × the floor"),
        Target::RateToSecond(least) => format!("at least {least} × the second"),
        Target::AtLeast(least) => format!("at least {}", shown(case.unit, least)),
        Target::AtMost(most) => format!("at most {}", shown(case.unit, most)),
        Target::Done => "done".to_owned(),
    };
    let got = match (case.target, ours, second) {
        (Target::RatioToSecond(_) | Target::RateToSecond(_), Some(ours), Some(second)) => {
            format!("{:.2} ×", ours / second)
        }
        (_, Some(ours), _) => shown(case.unit, ours),
        _ => "not measured".to_owned(),
    };
    let verdict = match verdict(case.target, ours, second) {
        Verdict::Met => "met",
        Verdict::Missed => "**not met**",
        Verdict::Unknown => "unknown",
    };
    format!("Target: {asked}. Measured: {got}. {verdict}.")
}

/// A ratio, to the digits that mean something.
fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2} × as good") } else { format!("{ratio:.0} × as good") }
}

/// A figure with its unit.
fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::MicrosecondsPerItem => format!("{value:.0} µs an item"),
        Unit::ItemsPerSecond if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
        Unit::ItemsPerSecond if value >= 1e4 => format!("{:.0} k/s", value / 1e3),
        Unit::ItemsPerSecond => format!("{value:.0} /s"),
        Unit::Microseconds => format!("{value:.2} µs"),
        Unit::GigabytesPerSecond => format!("{value:.2} GB/s"),
        Unit::Count => format!("{value:.0}"),
        Unit::Milliseconds => format!("{value:.1} ms"),
        Unit::Mebibytes => format!("{value:.1} MiB"),
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::super::cases::{Runner, Taken};
    use super::*;

    #[test]
    fn a_section_shows_each_runner_and_the_target() {
        let case = Case {
            name: "x",
            title: "X",
            unit: Unit::MicrosecondsPerItem,
            taken: Taken::WallTime,
            target: Target::RatioToSecond(1.35),
            times: 1,
            runners: &[
                Runner { name: "ours", line: "", items: 1, output: "" },
                Runner { name: "floor", line: "", items: 1, output: "" },
                Runner { name: "a | b", line: "", items: 1, output: "" },
            ],
        };
        let mut figures = vec![Figures::default(); 3];
        figures[0].push(300.0);
        figures[0].push(260.0);
        figures[1].push(200.0);

        let text = section(&case, &figures);

        assert_eq!(
            text,
            "### X\n\n| | best | median | poolctl is |\n|---|---:|---:|---:|\n\
             | ours | 260 µs an item | 260 µs an item |  |\n\
             | floor | 200 µs an item | 200 µs an item | 0.77 × as good |\n\
             | a \\| b | not measured: not installed | | |\n\n\
             Target: at most 1.35 × the floor. Measured: 1.30 ×. met.\n\n"
        );
    }
}
