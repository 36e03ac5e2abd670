//! Each example prints what `expected/` says, ends with 0, and leaves nothing behind.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use poolctl_testkit::Sandbox;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A test for each example, and the list of their names.
macro_rules! examples {
    ($($name:ident),+ $(,)?) => {
        const EXAMPLES: &[&str] = &[$(stringify!($name)),+];

        mod prints_what_it_should_and_leaves_nothing {
            $(
                #[test]
                fn $name() {
                    super::run(stringify!($name), env!(concat!("CARGO_BIN_EXE_", stringify!($name))));
                }
            )+
        }
    };
}

examples!(
    first_steps,
    squares,
    results,
    process,
    pipe,
    producer_consumer,
    sum_array,
    downloads,
    gather,
    background,
    worker_state,
    nested,
    shared_counter,
    one_file,
    semaphore,
    event,
    condition,
    barrier,
    deadlock,
    owner_died,
    publish,
    attach,
);

fn run(name: &str, program: &str) {
    let wanted = fs::read(folder().join("expected").join(format!("{name}.txt"))).expect("its output");
    let sandbox = Sandbox::new();

    let finished = sandbox.peer(program).run();

    finished.expect_code(0).expect_stdout(wanted);
    sandbox.expect_nothing_left();
}

#[test]
fn every_example_is_run_and_described() {
    let readme = fs::read_to_string(folder().join("README.md")).expect("there is a README.md");
    let files = fs::read_dir(folder()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let sources = files.filter(|path| path.extension() == Some(OsStr::new("rs")));
    let names: BTreeSet<String> =
        sources.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();

    let undescribed: Vec<_> =
        names.iter().filter(|name| !readme.contains(&format!("[{name}.rs]({name}.rs)"))).collect();

    assert_eq!(names, EXAMPLES.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(undescribed, [""; 0]);
}
