//! The exchanges of `tests/golden/client`, played against a real server.

use std::fs;
use std::path::Path;

use poolctl_testkit::Sandbox;
use serde_json::{Value, json};

use super::{Client, Reply, kind};

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A client that has nothing to read but this.
fn reader(bytes: &[u8]) -> Client {
    let (near, _far) = std::os::unix::net::UnixStream::pair().expect("descriptors are left");
    let mut client = Client::over(near);
    client.bytes.extend(bytes);
    client
}

/// All that comes until the end, but for what differs from run to run: processes come and go, and the server has a version.
fn told(client: &mut Client) -> Vec<Reply> {
    std::iter::from_fn(|| client.next())
        .filter(|reply| reply.kind != kind::EVENT)
        .map(|reply| match reply.kind {
            kind::HELLO => Reply { payload: without_version(&reply.json()), ..reply },
            _ => reply,
        })
        .collect()
}

fn without_version(hello: &Value) -> Vec<u8> {
    let mut hello = hello.clone();
    hello["server"] = json!("poolctl");
    hello.to_string().into_bytes()
}

#[test]
fn a_real_server_answers_as_the_files_say() {
    let manifest: Value = serde_json::from_slice(&golden("manifest.json")).expect("a manifest");
    for session in manifest["client_sessions"].as_array().expect("a list") {
        let name = session["name"].as_str().expect("a name");
        let sandbox = Sandbox::new();
        let serve = sandbox.poolctl(["serve"]).open_input().start();
        let mut serve = serve;

        serve.write(golden(&format!("{name}.requests")));
        let expected = golden(&format!("{name}.replies"));

        // The last request of each closes the service.
        let finished = serve.wait_ended().expect_code(0);
        assert_eq!(told(&mut reader(&finished.stdout)), told(&mut reader(&expected)), "{name}");
    }
}
