//! Upgrades while keys are moved to a third server.

use std::process::Command;
use std::time::Duration;

use super::site::{Site, binary};
use crate::books::Load;
use crate::support::{Process, RedisServer, words};

/// Keys of 1 KiB: the move takes a few upgrades.
const KEYS: u32 = 20_000;

#[test]
fn upgrades_during_a_move_lose_and_double_nothing() {
    let (site, third) = (Site::start(), RedisServer::start());
    site.rewrite_conf(|yaml| {
        yaml.replace("redis: true\n", "redis: true\n  placement_guard: true\n")
    });
    site.ctl(&["reload"]);
    let yaml = std::fs::read_to_string(site.dir().join("pool.yml")).unwrap();
    let added = format!(":1 s1\n    - {}:1 s2\nmc:", third.address());
    std::fs::write(
        site.dir().join("to.yml"),
        yaml.replace(":1 s1\nmc:", &added),
    )
    .unwrap();
    let value = "v".repeat(1 << 10);
    let mut client = site.client();
    for n in 0..KEYS {
        client.send(&words(&format!("SET k{n} {value}")));
    }
    for _ in 0..KEYS {
        assert_eq!(client.reply(), b"+OK\r\n");
    }
    let load = Load::start([site.address()]);
    load.begin(1, &mut client);
    load.wait_for_rounds(30);

    let mut command = ringroad(
        &site,
        &[
            "reshard", "start", "-c", "pool.yml", "--pool", "cache", "--to", "to.yml",
        ],
    );
    command.arg("--yes");
    let coordinator = Process::spawn(command);
    let (mut upgrades, mut attempts) = (0, 0);
    let status = loop {
        if let Some(status) = coordinator.exit_within(Duration::ZERO) {
            break status;
        }
        let output = site.run(&["upgrade"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let is_too_soon = stderr.contains("still handing over its clients");
        // The file of before is no longer true.
        let is_moved = stderr.contains("the file says otherwise");
        assert!(
            output.status.success() || is_too_soon || is_moved,
            "{stderr}"
        );
        upgrades += u32::from(output.status.success());
        attempts += 1;
        load.wait_for_rounds(5);
        assert!(attempts < 500, "it goes on: {}", coordinator.output());
    };
    assert_eq!(status.code(), Some(0), "{}", coordinator.output());
    assert!(
        upgrades > 1,
        "the move was too short for {upgrades} upgrades"
    );

    load.wait_for_rounds(30);
    load.check(&mut client);
    load.end();
    let verified = ringroad(&site, &["verify", "-c", "to.yml", "--pool", "cache"])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    for n in (0..KEYS).step_by(97) {
        assert_eq!(client.ask(&format!("STRLEN k{n}")), b":1024\r\n", "k{n}");
    }
    assert!(third.ask("DBSIZE") != b":0\r\n", "nothing was moved");
}

fn ringroad(site: &Site, words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(site.dir()).args(words);
    command
}
