//! Configurations that cannot be used, and where they are looked for.

use poolctl_testkit::Sandbox;

use super::{configure, end};

/// A configuration and the place and words of the complaint about it.
const BAD: [(&str, &str, &str); 9] = [
    ("[service]\nmax_client = 2\n", "poold.toml:2:1", "unknown key `max_client`"),
    ("[service]\n  max_clients = \"x\"\n", "poold.toml:2:17", "invalid type"),
    (
        "[pools.a]\ntarget = { kind = \"native\", function = \"f\" }\nworker = 1\n",
        "poold.toml:3:1",
        "unknown key `worker`",
    ),
    (
        "[pools.a]\ntarget = { kind = \"native\", function = \"f\" }\n[pools.a]\n",
        "poold.toml:3:8",
        "`a` stands there twice",
    ),
    ("[pools.a.target]\nkind = \"nativ\"\n", "poold.toml:2:8", "unknown variant `nativ`"),
    ("[pools.a.target]\nkind = \"command\"\nargv = 5\n", "poold.toml:3:8", "invalid type"),
    ("[pools.a.target]\nkind = \"command\"\nargv = []\n", "poold.toml:3:8", "nothing says what to run"),
    (
        "[pools.\"../a\"]\ntarget = { kind = \"native\", function = \"f\" }\n",
        "poold.toml:1:8",
        "no pool can be called `../a`",
    ),
    ("[pools.a\n", "poold.toml:1:9", "it is no TOML"),
];

#[test]
fn a_configuration_that_cannot_be_used_is_78_with_file_line_and_column() {
    let sandbox = Sandbox::new();
    for (text, place, words) in BAD {
        configure(&sandbox, text);

        let checked = sandbox.poold(["--config", "poold.toml", "--check"]).run();
        let served = sandbox.poold(["--config", "poold.toml"]).run();

        for refused in [checked, served] {
            refused.expect_code(78).expect_stdout("").expect_words(&[place, words]);
        }
    }
}

#[test]
fn a_good_one_is_told_by_check() {
    let sandbox = Sandbox::new();
    let path = configure(&sandbox, super::POOLS);

    let checked = sandbox.poold(["--config", "poold.toml", "--check"]).run().expect_quiet();

    let expected = format!("{}: good; command, gate, lines, sqrt, square\n", path.display());
    checked.expect_stdout(&expected);
}

#[test]
fn the_nearest_file_holds() {
    let sandbox = Sandbox::new();
    let pool =
        |name: &str| format!("[pools.{name}]\ntarget = {{ kind = \"native\", function = \"square\" }}\n");
    let home = sandbox.path("config");
    std::fs::create_dir_all(home.join("poolctl")).expect("a directory of our own");
    std::fs::write(home.join("poolctl/poold.toml"), pool("home")).expect("a file of our own");
    let variable = sandbox.write("variable.toml", pool("variable"));
    sandbox.write("flag.toml", pool("flag"));
    let check = |arguments: &[&str]| sandbox.poold(["--check"]).args(arguments).env("XDG_CONFIG_HOME", &home);

    let far = check(&[]).run().expect_quiet();
    let near = check(&[]).env("POOLD_CONFIG", &variable).run().expect_quiet();
    let nearest = check(&["--config", "flag.toml"]).env("POOLD_CONFIG", &variable).run().expect_quiet();

    assert!(far.text().ends_with("poold.toml: good; home\n"), "{far}");
    assert!(near.text().ends_with("variable.toml: good; variable\n"), "{near}");
    assert!(nearest.text().ends_with("flag.toml: good; flag\n"), "{nearest}");
}

#[test]
fn without_a_configuration_clients_find_no_pools() {
    let sandbox = Sandbox::new();
    let service = sandbox.poold([""; 0]).start();
    service.wait_stderr(" serves no pools ");

    let shown = sandbox.poolctl(["status"]).run().expect_quiet();
    let refused = sandbox.poolctl(["map", "--pool", "a", "1"]).run();

    assert!(shown.text().ends_with("no pools\n"), "{shown}");
    refused.expect_code(2).expect_words(&["no pool is called `a`", "poold.toml describes them"]);
    end(service);
}
