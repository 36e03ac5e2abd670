//! Replacement strings and input sources, held against GNU parallel.

use poolctl_testkit::Sandbox;

use crate::peer::is_installed;

const PATHS: &str = "a.txt\ndir/b.tar.gz\n/abs/dir/c\nno-extension\n.hidden\ndir.d/file\ntrailing/\nx y.z\n";

/// Both with the same arguments and input, jobs in order; asserts equal output.
fn both(arguments: &[&str], input: &str) {
    if !is_installed("parallel") {
        return;
    }
    let sandbox = Sandbox::new();
    let peer = sandbox.peer("parallel").args(["--will-cite", "-k"]).args(arguments).input(input).run();
    let mut ours: Vec<&str> = Vec::new();
    let flags = arguments.iter().take_while(|argument| argument.starts_with("--")).count();
    ours.extend(&arguments[..flags]);
    ours.push("--");
    ours.extend(&arguments[flags..]);

    let ours = sandbox.map(ours).input(input).run();

    ours.expect_code(0).expect_stdout(peer.stdout);
}

#[test]
fn each_replacement_string_means_what_it_means_in_gnu_parallel() {
    for replacement in ["{}", "{.}", "{/}", "{//}", "{/.}", "{#}"] {
        both(&["echo", replacement], PATHS);
    }
}

#[test]
fn replacement_strings_may_stand_inside_words_and_more_than_once() {
    both(&["echo", "pre{}post", "{.}.out", "{#}:{/}", "{}{}"], PATHS);
}

#[test]
fn an_argv_without_a_place_for_the_item_gets_it_at_its_end() {
    both(&["echo", "first"], PATHS);
}

#[test]
fn several_sources_give_the_product() {
    both(&["echo", "{1}-{2}", ":::", "a", "b", "c", ":::", "1", "2"], "");
    both(&["echo", "{2}", "{1}", "{1.}", "{2/}", ":::", "a.x", "b.y", ":::", "d/1", "2"], "");
    both(&["echo", ":::", "a", "b", ":::", "1", "2"], "");
}

#[test]
fn linked_sources_give_the_zip() {
    both(&["--link", "echo", "{1}-{2}", ":::", "a", "b", "c", ":::", "1", "2", "3"], "");
    both(&["--link", "echo", "{1}-{2}", ":::", "a", "b", "c", ":::", "1"], "");
}

#[test]
fn items_come_from_files_behind_four_colons() {
    if !is_installed("parallel") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("one", "a\nb\n");
    sandbox.write("two", "1\n2\n");
    let arguments = ["echo", "{1}{2}", "::::", "one", "two"];
    let peer = sandbox.peer("parallel").args(["--will-cite", "-k"]).args(arguments).run();

    let ours = sandbox.map(["--"]).args(arguments).run();

    ours.expect_code(0).expect_stdout(peer.stdout);
}

#[test]
fn the_slot_is_a_number_from_one_to_the_jobs() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-j", "2", "--", "echo", "{%}", ":::", "a", "b", "c", "d", "e", "f"]).run();

    let slots = ours.expect_quiet().lines();
    assert_eq!(slots.len(), 6);
    assert!(slots.iter().all(|slot| slot == "1" || slot == "2"), "{slots:?}");
}

#[test]
fn another_string_may_stand_for_the_item() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-I", "@@", "--", "echo", "{}", "<@@>", ":::", "a"]).run();

    ours.expect_quiet().expect_stdout("{} <a>\n");
}

#[test]
fn columns_have_numbers_and_names() {
    let sandbox = Sandbox::new();
    let table = "name,size\n\"a, b\",1\nc,2\n";

    let named = sandbox.map(["--csv", "--header", "--", "echo", "{size}:{name}"]).input(table).run();
    let numbered = sandbox.map(["--colsep", "\\t", "--", "echo", "{2}:{1}"]).input("x\t1\ny z\t2\n").run();

    named.expect_quiet().expect_stdout("1:a, b\n2:c\n");
    numbered.expect_quiet().expect_stdout("1:x\n2:y z\n");
}
