//! A panic in the middle of the loop: what the host below the pools does then.

use std::sync::Arc;
use std::thread;

use poolctl_supervisor::host::{Call, DeathPolicy, Host, Intent, Need, Refusal, Room, Settled};
use poolctl_supervisor::{
    ArgumentError, Block, CommandLine, CommandTemplate, Detail, EngineConfig, Item, PoolConfig, Slot, Target,
};
use poolctl_testkit::{MARK, Sandbox};

/// Makes a command that takes long, and panics at the item that says so.
struct Panicking;

impl CommandTemplate for Panicking {
    fn command(&self, _: Item, payload: &[u8], _: Slot) -> Result<CommandLine, ArgumentError> {
        assert_ne!(payload, b"panic", "a template that panics, as it should here");
        Ok(CommandLine { argv: vec![b"sleep".to_vec(), b"1000".to_vec()], stdin: None })
    }
}

fn host(sandbox: &Sandbox) -> Host {
    let config = PoolConfig {
        engine: EngineConfig { slots: 2, ..EngineConfig::default() },
        target: Target::Command(Box::new(Panicking)),
        detail: Detail::PerItem,
        env: vec![(MARK.into(), sandbox.mark().into())],
        cwd: None,
        nice: None,
        spawn_ahead: 0,
        max_rss: None,
        run_id: format!("test-{}", sandbox.mark()),
        keeper: std::env::current_exe().expect("the tests know where they are"),
        spill_dir: sandbox.work(),
        memory_per_output: 1 << 20,
    };
    let room = Room { items: 100, bytes: 1 << 20, parcels: 100 };
    Host::start(config, room, DeathPolicy::Replace).expect("a keeper can be had here")
}

fn block(item: &str) -> Block {
    let mut block = Block::new();
    block.push(item.as_bytes());
    block
}

fn is_broken(outcome: Option<Settled>) -> bool {
    matches!(outcome, Some(Settled::Refused { why: Refusal::Broken, .. }))
}

pub(crate) fn a_panic_in_the_loop_ends_every_wait() {
    let sandbox = Sandbox::new();
    let host = host(&sandbox);
    let handle = host.handle();
    let (long, bad) = (Call::new(), Call::new());
    handle.submit(&long, block("long"), Intent::Leave).expect("it is open");

    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| handle.wait(&long, Need::All, None).expect("this is the host's process"));
        }
        handle.submit(&bad, block("panic"), Intent::Wait).expect("it is open");
        handle.wait(&bad, Need::All, None).expect("this is the host's process");
    });

    assert!(is_broken(bad.take(0)) && is_broken(long.take(0)));
    let later = handle.submit(&Arc::clone(&bad), block("more"), Intent::Wait);
    assert!(matches!(later, Err(Refusal::Broken)));
    assert!(sandbox.processes().is_empty(), "its processes are gone");
}
