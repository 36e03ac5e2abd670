//! What a started program finds, and what a failed start says.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use poolctl_types::Exit;

use super::testing::{SH, shell_with};
use super::*;
use crate::{pipe, transfer};

/// What `sh -c script` writes to its standard output.
fn output_of(script: &str) -> String {
    let (read, write) = pipe::pair().unwrap();
    let child = shell_with(script, &[(write.as_fd(), 1)]);
    drop(write);
    let text = read_to_end(&read);
    child.wait_for_end(None).unwrap();
    child.reap().unwrap();
    text
}

fn read_to_end(end: &OwnedFd) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match transfer::read(end.as_fd(), &mut buffer).unwrap() {
            0 => return String::from_utf8(text).unwrap(),
            n => text.extend_from_slice(&buffer[..n]),
        }
    }
}

fn command<'a>(path: &'a CStr, argv: &'a [&'a CStr]) -> Command<'a> {
    Command {
        path,
        argv,
        env: &[],
        cwd: None,
        fds: &[],
        nice: None,
        open_files: None,
        die_with_parent: false,
    }
}

fn failure_of(command: &Command<'_>) -> (Stage, i32) {
    let error = Spawner::new().unwrap().spawn(command).unwrap_err();
    (error.stage, error.errno())
}

fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

#[test]
fn the_child_has_the_listed_descriptors_and_no_others() {
    let (_read, leaky) = pipe::pair().unwrap();
    rustix::io::fcntl_setfd(&leaky, rustix::io::FdFlags::empty()).unwrap();

    // 3 is the directory that `ls` itself reads.
    assert_eq!(output_of("ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
}

#[test]
fn descriptors_not_given_are_the_null_device() {
    let text = output_of("readlink /proc/self/fd/0; readlink /proc/self/fd/2; cat; echo end");

    assert_eq!(text, "/dev/null\n/dev/null\nend\n");
}

#[test]
fn the_child_leads_a_group_of_its_own() {
    let text = output_of("echo $$; cut -d' ' -f5 /proc/$$/stat");

    let (pid, group) = text.trim().split_once('\n').unwrap();
    assert_eq!(pid, group);
}

#[test]
fn a_child_in_the_background_leads_a_session() {
    let (read, write) = pipe::pair().unwrap();
    let argv = [SH, c"-c", c"cut -d' ' -f1,5,6 /proc/$$/stat >&3"];
    let child = Spawner::new()
        .unwrap()
        .in_own_session()
        .spawn(&Command { fds: &[(write.as_fd(), 3)], env: &[c"PATH=/usr/bin:/bin"], ..command(SH, &argv) })
        .unwrap();
    drop(write);

    let text = read_to_end(&read);
    child.wait_for_end(None).unwrap();

    let pid = child.pid();
    assert_eq!(text, format!("{pid} {pid} {pid}\n"));
    child.reap().unwrap();
}

#[test]
fn signals_are_default_and_unblocked_whatever_they_are_here() {
    let thread = std::thread::spawn(|| {
        signals::block_all().unwrap();
        output_of("grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t\\n'")
    });

    // This process ignores SIGPIPE, as Rust programs do.
    assert_eq!(thread.join().unwrap(), "SigBlk:0000000000000000SigIgn:0000000000000000");
}

#[test]
fn the_mask_of_the_parent_is_as_before() {
    let before = nix::sys::signal::SigSet::thread_get_mask().unwrap();

    assert_eq!(output_of("echo x"), "x\n");

    assert_eq!(nix::sys::signal::SigSet::thread_get_mask().unwrap(), before);
}

/// Gives every pair of pipes a message and lets the child read it at the number it was given.
fn messages_by_target(order: &[usize]) -> String {
    let (ends, writers): (Vec<_>, Vec<_>) = order.iter().map(|_| pipe::pair().unwrap()).unzip();
    let numbers: Vec<i32> = ends.iter().map(AsRawFd::as_raw_fd).collect();
    let fds: Vec<(BorrowedFd<'_>, i32)> =
        ends.iter().zip(order).map(|(end, i)| (end.as_fd(), numbers[*i])).collect();
    for (i, writer) in writers.into_iter().enumerate() {
        transfer::write(writer.as_fd(), format!("{i}\n").as_bytes()).unwrap();
    }
    let (read, write) = pipe::pair().unwrap();
    let mut script = String::new();
    for number in &numbers {
        script.push_str(&format!("read -r line </proc/self/fd/{number}; echo $line >&1; "));
    }
    let mut all = fds.clone();
    all.push((write.as_fd(), 1));
    let child = shell_with(&script, &all);
    drop(write);
    let text = read_to_end(&read);
    child.wait_for_end(None).unwrap();
    child.reap().unwrap();
    text
}

#[test]
fn descriptors_may_trade_places() {
    assert_eq!(messages_by_target(&[0, 1, 2]), "0\n1\n2\n");
    assert_eq!(messages_by_target(&[1, 0, 2]), "1\n0\n2\n");
    assert_eq!(messages_by_target(&[1, 2, 0]), "2\n0\n1\n");
}

#[test]
fn one_descriptor_may_have_several_numbers() {
    let (read, write) = pipe::pair().unwrap();

    let child = shell_with(
        "echo a; echo b >&2; echo c >&9",
        &[(write.as_fd(), 1), (write.as_fd(), 2), (write.as_fd(), 9)],
    );
    drop(write);

    assert_eq!(read_to_end(&read), "a\nb\nc\n");
    child.wait_for_end(None).unwrap();
    child.reap().unwrap();
}

#[test]
fn a_number_given_twice_is_refused() {
    let (_read, write) = pipe::pair().unwrap();
    let fds = [(write.as_fd(), 5), (write.as_fd(), 5)];

    assert_eq!(failure_of(&Command { fds: &fds, ..command(SH, &[SH]) }), (Stage::Prepare, libc::EINVAL));
}

#[test]
fn a_missing_program_is_enoent_at_exec() {
    assert_eq!(failure_of(&command(c"/nonexistent/program", &[c"x"])), (Stage::Exec, libc::ENOENT));
}

#[test]
fn a_program_without_permission_or_form_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    std::fs::write(&path, b"neither script nor binary").unwrap();

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(failure_of(&command(&c_path(&path), &[c"x"])), (Stage::Exec, libc::EACCES));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(failure_of(&command(&c_path(&path), &[c"x"])), (Stage::Exec, libc::ENOEXEC));
    assert_eq!(failure_of(&command(&c_path(directory.path()), &[c"x"])), (Stage::Exec, libc::EACCES));
}

#[test]
fn too_many_arguments_are_e2big_at_exec() {
    let long = CString::new(vec![b'x'; 100 * 1024]).unwrap();
    let argv = vec![long.as_c_str(); 40];

    assert_eq!(failure_of(&command(SH, &argv)), (Stage::Exec, libc::E2BIG));
}

#[test]
fn a_missing_directory_says_so() {
    let found = failure_of(&Command { cwd: Some(c"/nonexistent"), ..command(SH, &[SH]) });

    assert_eq!(found, (Stage::Directory, libc::ENOENT));
}

#[test]
fn a_failed_start_leaves_no_child_and_no_descriptor() {
    let mut spawner = Spawner::new().unwrap();
    let command = command(c"/nonexistent/program", &[c"x"]);

    let numbers: Vec<i32> = (0..20)
        .map(|_| {
            spawner.spawn(&command).unwrap_err();
            std::fs::File::open("/dev/null").unwrap().as_raw_fd()
        })
        .collect();

    // Other tests run beside this one, so the numbers may move, but not by one for each failure.
    assert!(numbers[19] < numbers[0] + 20, "{numbers:?}");
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    assert_eq!(children, "", "this thread's, zombies included");
}

#[test]
fn environment_directory_and_limits_are_as_asked() {
    let (read, write) = pipe::pair().unwrap();
    let argv = [SH, c"-c", c"pwd; echo $COLOUR; nice; ulimit -Sn"];
    let fds = [(write.as_fd(), 1)];
    let command = Command {
        cwd: Some(c"/usr"),
        env: &[c"COLOUR=blue", c"PATH=/usr/bin:/bin"],
        nice: Some(7),
        open_files: Some(99),
        fds: &fds,
        ..command(SH, &argv)
    };

    let child = Spawner::new().unwrap().spawn(&command).unwrap();
    drop(write);

    assert_eq!(read_to_end(&read), "/usr\nblue\n7\n99\n");
    child.wait_for_end(None).unwrap();
    child.reap().unwrap();
}

#[test]
fn a_child_bound_to_its_parent_dies_with_the_thread_that_spawned_it() {
    let thread = std::thread::spawn(|| {
        let argv = [SH, c"-c", c"while :; do sleep 100; done"];
        let command = Command { die_with_parent: true, env: &[c"PATH=/usr/bin:/bin"], ..command(SH, &argv) };
        Spawner::new().unwrap().spawn(&command).unwrap()
    });
    let child = thread.join().unwrap();

    let ended = child.wait_for_end(Some(std::time::Duration::from_secs(10))).unwrap();

    assert!(ended);
    assert_eq!(child.peek_exit().unwrap().unwrap().0, Exit::Signal(libc::SIGKILL));
    child.signal_group(libc::SIGKILL).unwrap();
    child.reap().unwrap();
}

#[test]
fn a_large_process_spawns_as_a_small_one_does() {
    // A fork would have to copy the page tables of this, and fail outright where memory is not overcommitted.
    let mut large = vec![0_u8; 512 * 1024 * 1024];
    large.iter_mut().step_by(4096).for_each(|byte| *byte = 1);

    assert_eq!(output_of("echo spawned"), "spawned\n");

    assert_eq!(large[4096], 1);
}

#[test]
fn many_threads_spawn_at_once() {
    let threads: Vec<_> =
        (0..8).map(|i| std::thread::spawn(move || output_of(&format!("echo {i}")))).collect();

    for (i, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap(), format!("{i}\n"));
    }
}
