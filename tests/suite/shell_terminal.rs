//! `poolctl lock` at a terminal: who may read there, and whom Ctrl-C and Ctrl-Z reach.
//!
//! What a test types is on the screen too, so a word that is waited for is never one that was typed as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use poolctl_testkit::{DEADLINE, Process, Sandbox, Terminal, poolctl_binary, wait_until};

/// A shell with job control at a terminal, which knows the binary as `$P`; and a sandbox to keep.
fn at_a_shell() -> (Sandbox, Terminal) {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.shell();
    terminal.press(&format!("P='{}'; echo rea''dy\n", poolctl_binary().display()));
    terminal.wait_screen("ready\n");
    (sandbox, terminal)
}

/// The process that runs exactly this command line, once there is one.
#[track_caller]
fn running(sandbox: &Sandbox, command: &str) -> u32 {
    let mut found = None;
    wait_until(DEADLINE, &format!("`{command}` runs"), || {
        found = sandbox.processes().into_iter().find(|process| process.command == command);
        found.is_some()
    });
    found.expect("it was waited for").pid
}

#[track_caller]
fn wait_for_foreground(terminal: &Terminal, group: u32) {
    wait_until(DEADLINE, &format!("group {group} has the terminal"), || terminal.foreground() == Some(group));
}

#[track_caller]
fn wait_stopped(pid: u32) {
    wait_until(DEADLINE, &format!("{pid} is stopped"), || {
        Process::look(pid).is_some_and(|process| process.state == 'T')
    });
}

/// Waits for what a shell that reads says in a trap. It does so between two lines, which are given to it.
#[track_caller]
fn wait_for_trap(terminal: &mut Terminal, text: &str) {
    wait_until(DEADLINE, &format!("the trap says {text:?}"), || {
        terminal.press("\n");
        terminal.screen().contains(text)
    });
}

#[track_caller]
fn leave(mut terminal: Terminal) {
    terminal.press("exit\n");
    let finished = terminal.wait();
    assert_eq!(finished.signal(), None, "{finished}");
}

#[test]
fn a_command_reads_from_the_terminal_and_the_shell_after_it() {
    let (sandbox, mut terminal) = at_a_shell();

    terminal.press("$P lock db -- cat; echo status:$?\n");
    wait_for_foreground(&terminal, running(&sandbox, "cat"));
    terminal.press("through\n");
    terminal.wait_screen("through\nthrough\n");
    terminal.press("\x04");

    terminal.wait_screen("status:0\n");
    terminal.press("echo $((6 * 7))\n");
    terminal.wait_screen("42\n");
    leave(terminal);
}

#[test]
fn a_command_has_the_terminal_from_its_first_instruction() {
    let (_sandbox, mut terminal) = at_a_shell();
    let script = r#"import os; print("front:", os.tcgetpgrp(0) == os.getpgrp())"#;

    terminal.press(&format!("$P lock db -- python3 -c '{script}'\n"));

    terminal.wait_screen("front: True\n");
    leave(terminal);
}

#[test]
fn in_a_script_the_command_reads_and_so_does_the_script_after_it() {
    let (sandbox, mut terminal) = at_a_shell();
    let script = "$P lock db -- cat; read line; echo \"script:$line\"\n";
    sandbox.write("script", script);

    terminal.press("export P; sh script\n");
    wait_for_foreground(&terminal, running(&sandbox, "cat"));
    terminal.press("first\n");
    terminal.wait_screen("first\nfirst\n");
    terminal.press("\x04");
    wait_until(DEADLINE, "the lock is given back", || {
        sandbox.processes().iter().all(|process| !process.command.contains(" lock "))
    });
    terminal.press("second\n");

    terminal.wait_screen("script:second\n");
    leave(terminal);
}

#[test]
fn a_neighbour_in_a_pipeline_keeps_the_terminal() {
    let (sandbox, mut terminal) = at_a_shell();
    sandbox.fifo("gate");

    // The neighbour reads once the command runs.
    let neighbour = "{ read go; read line < /dev/tty; echo \"neighbour:$line\"; cat; }";
    terminal.press(&format!("$P lock db -- sh -c 'echo go; cat gate' | {neighbour}\n"));
    running(&sandbox, "cat gate");
    terminal.press("typed\n");
    terminal.wait_screen("neighbour:typed\n");

    sandbox.release("gate");
    leave(terminal);
}

#[test]
fn a_command_that_cannot_start_leaves_the_terminal_to_the_rest_of_the_job() {
    let (sandbox, mut terminal) = at_a_shell();
    let plain = sandbox.write("plain", "");
    fs::set_permissions(plain, fs::Permissions::from_mode(0o755)).expect("a file of ours");

    // The neighbour reads once the descriptor 9 of the first is closed.
    terminal.press(
        "$P lock db -- ./plain 9>&1 > /dev/tty | { cat; read line < /dev/tty; echo \"rest:$line\"; }\n",
    );
    terminal.wait_screen("hint: a script needs");
    terminal.press("typed\n");

    terminal.wait_screen("rest:typed\n");
    leave(terminal);
}

#[test]
fn interrupt_reaches_the_command_as_often_as_it_is_typed() {
    let (sandbox, mut terminal) = at_a_shell();
    let script = "n=0; trap 'n=$((n+1)); echo caught:$n' INT; echo up:$$; while [ $n -lt 3 ]; do read x; done; exit 5\n";
    sandbox.write("script", script);

    terminal.press("$P lock db -- sh script; echo status:$?\n");
    terminal.wait_screen("up:");
    for count in 1..=3 {
        terminal.press("\x03");
        wait_for_trap(&mut terminal, &format!("caught:{count}\n"));
    }

    terminal.wait_screen("status:5\n");
    leave(terminal);
}

#[test]
fn an_interrupt_that_ends_the_command_ends_the_script_around_it() {
    let (sandbox, mut terminal) = at_a_shell();
    sandbox.write("script", "$P lock db -- cat; echo script:$((1 + 1))\n");

    terminal.press("export P; sh script\n");
    wait_for_foreground(&terminal, running(&sandbox, "cat"));
    terminal.press("\x03");
    // What is typed before the shell has seen the end of the script is lost.
    wait_until(DEADLINE, "the shell tells the status", || {
        terminal.press("echo status:$?\n");
        terminal.screen().contains("status:130\n")
    });

    let screen = terminal.screen();
    assert!(!screen.contains("script:2"), "{screen}");
    leave(terminal);
}

#[test]
fn an_interrupt_reaches_a_script_and_a_command_that_asks_for_nothing_alike() {
    let (sandbox, mut terminal) = at_a_shell();
    sandbox.fifo("never");
    sandbox.write("command", "trap 'echo command:$((1 + 1)); exit 0' INT; cat never");
    sandbox.write(
        "script",
        "trap 'echo script:$((1 + 1))' INT; $P lock db -- sh command; echo after:$((1 + 1))",
    );

    terminal.press("export P; sh script\n");
    running(&sandbox, "cat never");
    terminal.press("\x03");

    terminal.wait_screen("command:2\nscript:2\nafter:2\n");
    leave(terminal);
}

#[test]
fn a_suspended_command_goes_on_in_the_foreground() {
    suspend_and_go_on("$P lock db -- cat");
}

#[test]
fn a_command_under_two_locks_goes_on_as_well() {
    suspend_and_go_on("$P lock outer -- $P lock inner -- cat");
}

#[track_caller]
fn suspend_and_go_on(line: &str) {
    let (sandbox, mut terminal) = at_a_shell();
    terminal.press(&format!("{line}\n"));
    let cat = running(&sandbox, "cat");
    wait_for_foreground(&terminal, cat);

    for word in ["once", "twice"] {
        terminal.press("\x1a");
        wait_stopped(cat);
        wait_stopped(Process::look(cat).expect("it is stopped").parent);
        terminal.press(&format!("echo sh''ell-{word}\n"));
        terminal.wait_screen(&format!("shell-{word}\n"));
        terminal.press("fg\n");
        wait_for_foreground(&terminal, cat);
        terminal.press(&format!("{word}\n"));
        terminal.wait_screen(&format!("{word}\n{word}\n"));
    }

    terminal.press("\x04");
    leave(terminal);
}

#[test]
fn a_command_that_went_on_has_the_interrupts_to_itself_as_before() {
    let (sandbox, mut terminal) = at_a_shell();
    sandbox.fifo("never");
    let script = "n=0; trap 'n=$((n+1)); echo caught:$n' INT; until [ $n = 2 ]; do cat never; done; exit 5\n";
    sandbox.write("command", script);
    terminal.press("$P lock db -- sh command\n");
    let command = running(&sandbox, "sh command");
    running(&sandbox, "cat never");

    terminal.press("\x1a");
    wait_stopped(command);
    terminal.press("echo sh''ell; fg\n");
    terminal.wait_screen("shell\n");
    wait_for_foreground(&terminal, command);
    for count in 1..=2 {
        // The shell sees to its trap when what it waits for has ended, so that must be there to be ended.
        running(&sandbox, "cat never");
        terminal.press("\x03");
        terminal.wait_screen(&format!("caught:{count}\n"));
    }

    wait_until(DEADLINE, "the shell tells the status", || {
        terminal.press("echo status:$?\n");
        terminal.screen().contains("status:5\n")
    });
    leave(terminal);
}

#[test]
fn a_suspended_script_stops_as_a_whole() {
    let (sandbox, mut terminal) = at_a_shell();
    sandbox.write("script", "$P lock db -- cat; echo script:$((1 + 1))\n");
    terminal.press("export P; sh script\n");
    let cat = running(&sandbox, "cat");
    wait_for_foreground(&terminal, cat);

    terminal.press("\x1a");
    wait_stopped(cat);
    wait_stopped(Process::look(cat).expect("it is stopped").parent);
    terminal.press("echo sh''ell\n");
    terminal.wait_screen("shell\n");
    terminal.press("fg\n");
    wait_for_foreground(&terminal, cat);
    terminal.press("again\n");
    terminal.wait_screen("again\nagain\n");
    terminal.press("\x04");

    terminal.wait_screen("script:2\n");
    leave(terminal);
}

#[test]
fn a_command_in_the_background_stops_when_it_reads_and_goes_on_in_the_foreground() {
    let (sandbox, mut terminal) = at_a_shell();

    terminal.press("$P lock db -- cat &\n");
    let cat = running(&sandbox, "cat");
    wait_stopped(cat);
    let ours = Process::look(cat).expect("it is stopped").parent;
    wait_stopped(ours);
    terminal.press("bg; echo sh''ell\n");
    terminal.wait_screen("shell\n");
    wait_until(DEADLINE, "the shell says that it stopped again", || {
        terminal.press("jobs\n");
        terminal.screen().rsplit("shell\n").next().is_some_and(|rest| rest.contains("Stopped"))
    });
    terminal.press("fg\n");
    wait_for_foreground(&terminal, cat);
    terminal.press("typed\n");
    terminal.wait_screen("typed\ntyped\n");

    terminal.press("\x04");
    leave(terminal);
}

#[test]
fn where_no_shell_could_continue_it_nothing_is_suspended() {
    let sandbox = Sandbox::new();
    let binary = poolctl_binary();
    let binary = binary.to_str().expect("a path of ours");
    let script = "trap 'echo went:on' CONT; echo up; until [ typed = \"$x\" ]; do read x; done; echo got:$x";
    let mut terminal = sandbox.terminal(binary, &["lock", "db", "--", "sh", "-c", script]);
    terminal.wait_screen("up\n");

    terminal.press("\x1a");
    wait_for_trap(&mut terminal, "went:on\n");
    terminal.press("typed\n");

    terminal.wait_screen("got:typed\n");
    terminal.wait().expect_code(0);
}
