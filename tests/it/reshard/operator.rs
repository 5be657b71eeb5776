//! What an operator sees of a move, and does to it, from another machine than the coordinator's.

use serde_json::Value;

use super::{Files, START, all_contents, fill, guarded};
use crate::mover::keys::{ask, assert_same, contents, server};
use crate::support::{Pool, Process, Proxy, RedisServer, array_items, eventually};

const STATUS: &str = "reshard status -c old.yml";
const PAUSE: &str = "reshard pause -c old.yml";
const RESUME: &str = "reshard resume -c old.yml";

/// A move to a second server that is being copied, slowly.
fn begun(servers: &[RedisServer; 2]) -> (Files, Process) {
    let files = Files::of(&guarded(&servers[..1]), &guarded(servers));
    fill(&Pool::of(&servers[..1]), 60);
    let process = files.start(&format!("{START} --rate 100"));
    eventually("keys are copied", || {
        (servers[1].keys().len() > 5).then_some(())
    });
    (files, process)
}

/// Of the coordinator that has said something last.
fn copies(status: &Value) -> u64 {
    let said = &status["sources"][0]["coordinator"];
    said["copies"].as_u64().unwrap_or_default()
}

/// The alarm that has these words.
fn alarm(status: &Value, words: &str) -> Option<String> {
    let alarms = status["alarms"].as_array().unwrap().iter();
    let mut alarms = alarms.map(|alarm| alarm.as_str().unwrap());
    alarms
        .find(|alarm| alarm.contains(words))
        .map(str::to_owned)
}

#[test]
fn paused_move_copies_nothing_until_it_is_resumed() {
    let servers = [server(), server()];
    let (files, process) = begun(&servers);
    let expected = all_contents(&servers[..1]);
    let text = files.succeed(PAUSE);
    assert!(text.contains("until 'ringroad reshard resume'"), "{text}");
    let paused_at = servers[1].keys().len();
    // Its feed goes on.
    servers[0].ask("SET written:while:paused v");
    let status = eventually("it says that it waits", || {
        let status = files.status();
        status["sources"][0]["coordinator"]["waiting"]
            .as_str()
            .is_some_and(|text| text.contains("it is paused"))
            .then_some(status)
    });
    assert_eq!(status["paused"], true, "{status}");
    assert!(status["next"].as_str().unwrap().contains("resume"));
    assert!(files.run(STATUS).1.contains("is armed and paused"));
    assert_eq!(servers[1].keys().len(), paused_at);

    // Nobody takes over meanwhile.
    let (code, text) = files.run("reshard run -c old.yml --yes");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the move is paused"), "{text}");
    process.kill();
    let (code, text) = files.run("reshard run -c old.yml --yes");
    assert_eq!(code, Some(1), "{text}");

    let text = files.succeed(RESUME);
    assert!(text.contains("no coordinator is at work"), "{text}");
    files.succeed("reshard run -c old.yml --yes");
    files.succeed("verify -c new.yml");
    let mut all = all_contents(&servers);
    assert!(all.remove(&b"written:while:paused"[..]).is_some());
    assert_same(&all, &expected);
}

#[test]
fn resumed_coordinator_goes_on_by_itself() {
    let servers = [server(), server()];
    let (files, process) = begun(&servers);
    files.succeed(PAUSE);
    let before = copies(&files.status());
    let text = files.succeed(RESUME);
    assert!(text.contains("the move goes on"), "{text}");
    eventually("it copies", || {
        (copies(&files.status()) > before).then_some(())
    });
    process.kill();
    files.succeed("reshard abort -c old.yml");
    assert!(contents(&servers[1], 0).is_empty());
    // There is none any more.
    for command in [
        PAUSE,
        RESUME,
        "reshard abort -c old.yml",
        "reshard run -c old.yml",
    ] {
        let (code, text) = files.run(command);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("the last move was taken back"), "{text}");
    }
}

#[test]
fn status_tells_keys_holds_and_proxies() {
    let servers = [server(), server()];
    let (small, large) = (guarded(&servers[..1]), guarded(&servers));
    let proxy = Proxy::ringroad(&small);
    let mut client = proxy.client();
    for n in 0..300 {
        client.ask(&format!("SET k{n} v"));
    }
    let files = Files::of(&small, &large);
    let process = files.start(&format!("{START} --rate 100"));
    let status = eventually("the coordinator has said what it does", || {
        let status = files.status();
        (status["sources"][0]["keys"][0]["keys"].as_u64()? > 0).then_some(status)
    });
    let source = &status["sources"][0];
    assert_eq!(source["keys"][0]["to"], "s1", "{status}");
    assert_eq!(source["coordinator"]["phase"], "copying", "{status}");
    assert_eq!(status["alarms"], serde_json::json!([]), "{status}");
    let proxies = status["proxies"].as_array().unwrap();
    assert_eq!(proxies.len(), 1, "{status}");
    assert!(proxies[0]["connections"].as_u64() > Some(0), "{status}");
    // A frozen proxy is an alarm.
    files.succeed(PAUSE);
    proxy.process().freeze();
    let alarm = eventually("the proxy is missed", || {
        alarm(&files.status(), "has not been heard of")
    });
    assert!(
        alarm.contains(proxies[0]["id"].as_str().unwrap()),
        "{alarm}"
    );
    proxy.process().signal(rustix::process::Signal::CONT);
    files.succeed(RESUME);
    assert_eq!(process.exit().code(), Some(0), "{}", process.output());

    let status = files.status();
    let source = &status["sources"][0];
    let holds = &source["coordinator"]["holds"];
    assert!(holds["committed"].as_u64() > Some(10), "{status}");
    assert!(holds["max_us"].as_u64() >= holds["p50_us"].as_u64());
    assert_eq!(source["keys"][0]["left"], 0, "{status}");
    assert_eq!(source["moved_buckets"].as_str().unwrap(), "f".repeat(256));
    let (_, text) = files.run(STATUS);
    for words in [
        "from  to  keys  left",
        " holds, p50 ",
        "give the new file to all proxies",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn copies_that_others_change_are_an_alarm() {
    let servers = [server(), server()];
    let (files, process) = begun(&servers);
    for key in servers[1].keys() {
        ask(&mut servers[1].client(), &[b"DEL", key.as_slice()]);
    }
    eventually("the copies that are gone are told", || {
        alarm(&files.status(), "were evicted at their destinations")
    });
    drop(process);
    files.succeed("reshard run -c old.yml --yes");
    files.succeed("verify -c new.yml");
}

#[test]
fn stale_writer_is_an_alarm() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    fill(&Pool::of(&servers[..1]), 100);
    let process = files.start(START);
    eventually("some buckets have moved", || {
        let moved = servers[1].ask("HGET ringroad:mark:p:0 moved@s0");
        let digits = moved.split(|byte| *byte == b'\n').nth(1)?;
        let some = digits
            .iter()
            .filter(|digit| b"123456789abcdef".contains(digit));
        (some.count() > 7).then_some(())
    });
    process.kill();
    assert!(files.status()["sources"][0]["left"].as_u64() > Some(0));
    let _process = files.start("reshard run -c old.yml --yes --rate 50 --allow 127.0.0.1");
    eventually("the next coordinator copies the rest", || {
        let status = files.status();
        (status["sources"][0]["coordinator"]["phase"] == "copying").then_some(())
    });
    let mut stranger = servers[0].client();
    for key in contents(&servers[1], 0).keys() {
        ask(&mut stranger, &[b"SET", key.as_slice(), b"v"]);
    }
    let alarm = eventually("it is told", || {
        alarm(&files.status(), "were written there after they had moved")
    });
    assert!(alarm.contains("such as k"), "{alarm}");
}

#[test]
fn finish_cleans_up_and_forgets_when_all_agree() {
    let servers = [server(), server()];
    let (small, large) = (guarded(&servers[..1]), guarded(&servers));
    fill(&Pool::of(&servers[..1]), 20);
    let expected = all_contents(&servers);
    let files = Files::of(&small, &large);
    // Without a yes the end is missing: nothing is saved there.
    files.succeed("reshard plan -c old.yml --to new.yml");
    let mut terminal =
        crate::support::Terminal::run(files.dir.path(), "reshard start -c old.yml --to new.yml");
    terminal.type_in("y\n");
    let (code, text) = terminal.end();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("it saves nothing"), "{text}");
    let (_, text) = files.run(STATUS);
    assert!(
        text.contains("'ringroad reshard finish' cleans up"),
        "{text}"
    );
    let text = files.succeed("reshard finish -c old.yml --yes");
    assert!(
        text.contains("nothing is left of it but its marks"),
        "{text}"
    );
    files.succeed("verify -c new.yml");
    files.succeed("reshard finish -c old.yml");

    let proxy = Proxy::ringroad(&large);
    let mut client = proxy.client();
    assert_eq!(client.ask("SET k v"), b"+OK\r\n");
    // A server that has only another address in the file: the marks say where it is.
    let spare = server();
    let elsewhere = guarded([&servers[0], &spare]);
    let told = proxy.reload_text(&elsewhere.yaml(proxy.address()));
    assert!(
        told.contains("the marks at its servers say that server 's1' is at"),
        "{told}"
    );
    let forget = |file: &str| files.run(&format!("reshard finish -c {file} --forget --yes"));
    let (code, text) = forget("old.yml");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("the file places keys otherwise"), "{text}");
    let mut stranger = servers[0].client();
    stranger.ask("GET x");
    let (code, text) = forget("new.yml");
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("is no connection of a guarded proxy"),
        "{text}"
    );
    drop(stranger);
    eventually("the marks are forgotten", || {
        (forget("new.yml").0 == Some(0)).then_some(())
    });
    for server in &servers {
        assert_eq!(server.ask("KEYS ringroad:*"), b"*0\r\n");
    }
    // The proxy, which knew of the move, has looked since, and wrote none again.
    for server in &servers {
        let before = looks(server);
        eventually("the mark is looked for", || {
            (looks(server) > before + 2).then_some(())
        });
        assert_eq!(server.ask("KEYS ringroad:*"), b"*0\r\n");
    }
    proxy.reload(&elsewhere);
    for n in 0..50 {
        assert_eq!(proxy.ask(&format!("SET n{n} v")), b"+OK\r\n");
    }
    assert!(!spare.keys().is_empty());
    proxy.reload(&large);
    // The proxy goes on, over new connections too, and takes part in the next move.
    servers[1].ask("CLIENT KILL TYPE normal");
    for n in 0..50 {
        assert_eq!(proxy.client().ask(&format!("SET n{n} v")), b"+OK\r\n");
    }
    let back = Files::of(&large, &small);
    back.succeed(START);
    let mut all = all_contents(&servers);
    all.retain(|key, _| expected.contains_key(key));
    assert_same(&all, &expected);
    assert_eq!(client.ask("GET n7"), b"$1\r\nv\r\n");
}

/// How often the mark of a server was read.
fn looks(server: &RedisServer) -> u64 {
    let stats = String::from_utf8(server.ask("INFO commandstats")).unwrap();
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_hgetall:calls="));
    let calls = line.and_then(|line| line.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[test]
fn proxy_that_missed_the_removal_writes_no_marks() {
    let servers = [server(), server()];
    let (small, large) = (guarded(&servers[..1]), guarded(&servers));
    let files = Files::of(&small, &large);
    let proxy = Proxy::ringroad(&large);
    files.succeed(START);
    assert_eq!(proxy.ask("SET k v"), b"+OK\r\n");
    // It knows the marks of both.
    for server in &servers {
        let before = looks(server);
        eventually("the proxy looks", || {
            (looks(server) > before + 1).then_some(())
        });
    }
    proxy.process().freeze();
    for server in &servers {
        for kind in ["normal", "pubsub"] {
            server.ask(&format!("CLIENT KILL TYPE {kind}"));
        }
    }
    eventually("the marks are forgotten", || {
        let (code, _) = files.run("reshard finish -c new.yml --forget --yes");
        (code == Some(0)).then_some(())
    });
    proxy.process().signal(rustix::process::Signal::CONT);
    for server in &servers {
        let before = looks(server);
        eventually("the mark is looked for", || {
            (looks(server) > before + 4).then_some(())
        });
        assert_eq!(server.ask("KEYS ringroad:*"), b"*0\r\n");
    }
    assert_eq!(proxy.client().ask("GET k"), b"$1\r\nv\r\n");
}

#[test]
fn server_that_was_removed_may_be_switched_off() {
    let servers = [server(), server()];
    let (large, small) = (guarded(&servers), guarded(&servers[..1]));
    fill(&Pool::of(&servers), 20);
    let files = Files::of(&large, &small);
    files.succeed(START);
    let proxy = Proxy::ringroad(&small);
    let keys = array_items(&proxy.ask("KEYS *")).len();
    assert_eq!(proxy.ask("DBSIZE"), format!(":{keys}\r\n").as_bytes());
    servers[1].kill();
    let status = files.status();
    assert_eq!(status["alarms"], serde_json::json!([]));
    let fault = status["faults"][0].as_str().unwrap();
    assert!(fault.ends_with("(it is not in use any more)"), "{fault}");
    // Whatever it knows.
    assert_eq!(files.run(STATUS).0, Some(0));
    let text = files.succeed("reshard finish -c new.yml");
    assert!(
        text.contains("nothing is left of it but its marks"),
        "{text}"
    );
    let (_, text) = files.run("reshard run -c new.yml");
    assert!(text.contains("the last move is done"), "{text}");
    eventually("the marks are forgotten", || {
        let (code, _) = files.run("reshard finish -c new.yml --forget --yes");
        (code == Some(0)).then_some(())
    });
    assert_eq!(servers[0].ask("KEYS ringroad:*"), b"*0\r\n");
}

#[test]
fn finish_moves_no_bucket() {
    let servers = [server(), server()];
    let (files, process) = begun(&servers);
    process.kill();
    let (code, text) = files.run("reshard finish -c old.yml --yes");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("1024 buckets have not moved yet"), "{text}");
    let (code, text) = files.run("reshard finish -c old.yml --forget --yes");
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn abort_that_a_server_has_not_heard_of_is_completed() {
    let servers = [server(), server()];
    let expected = {
        let (files, process) = begun(&servers);
        process.kill();
        // As if the source was down in the moment of the abort.
        servers[1].ask("HSET ringroad:mark:p:0 state aborted");
        let status = files.status();
        let next = status["next"].as_str().unwrap();
        assert!(
            next.contains("'ringroad reshard abort' once more"),
            "{next}"
        );
        let (code, text) = files.run(STATUS);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("is being taken back"), "{text}");
        assert!(!text.contains("was taken back"), "{text}");
        all_contents(&servers[..1])
    };
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    for command in ["run", "abort", "finish"] {
        for server in &servers {
            server.ask("HSET ringroad:mark:p:0 state aborted");
        }
        servers[0].ask("HSET ringroad:mark:p:0 state armed");
        servers[1].ask("SET copy v");
        assert_eq!(files.run(STATUS).0, Some(1));
        let text = files.succeed(&format!("reshard {command} -c old.yml"));
        assert!(text.contains("the move is taken back"), "{text}");
        assert!(contents(&servers[1], 0).is_empty(), "{command}");
        let text = files.succeed(STATUS);
        assert!(text.contains("the move was taken back"), "{text}");
    }
    assert_same(&all_contents(&servers), &expected);
    files.succeed(START);
    assert_same(&all_contents(&servers), &expected);
}

#[test]
fn status_that_a_server_does_not_confirm_says_so() {
    let servers = [server(), server(), server()];
    let files = Files::of(&guarded(&servers[..2]), &guarded(&servers));
    files.succeed(STATUS);
    fill(&Pool::of(&servers[..2]), 5);
    files.succeed(START);
    files.succeed(STATUS);
    // It may know of another move by now.
    servers[1].kill();
    let (code, text) = files.run(STATUS);
    assert_eq!(code, Some(1), "{text}");
    for words in ["is done", "1 server does not answer", "server 's1'"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let status = files.status();
    assert_eq!(
        (&status["over"], &status["missing"]),
        (&false.into(), &1.into())
    );
    assert!(
        status["next"]
            .as_str()
            .unwrap()
            .contains("may know of more")
    );
    // Nor do the others know of a move then.
    for server in [&servers[0], &servers[2]] {
        server.ask("DEL ringroad:mark:p:0");
    }
    let (code, text) = files.run(STATUS);
    assert_eq!(code, Some(1), "{text}");
    for words in [
        "no move at the servers that answer",
        "1 server does not answer",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn destination_that_is_lost_is_replaced_by_an_empty_one() {
    let mut servers = [server(), server()];
    let (files, process) = begun(&servers);
    process.kill();
    let expected = all_contents(&servers[..1]);
    servers[1].kill();
    for command in ["run", "abort"] {
        let (code, text) = files.run(&format!("reshard {command} -c old.yml"));
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("server 's1'"), "{text}");
    }
    servers[1].restart();
    let text = files.succeed("reshard abort -c old.yml");
    assert!(text.contains("the move is taken back"), "{text}");
    files.succeed(STATUS);
    files.succeed(START);
    assert_same(&all_contents(&servers), &expected);
}
