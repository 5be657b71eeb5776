//! Scripts and functions are loaded on all servers at once.

use super::{OK, four};
use crate::support::{Client, command, show};

const RETURN_1: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";

fn library(name: &str) -> String {
    let function =
        |n| format!("redis.register_function('{name}{n}', function(keys) return {n} end)\n");
    let functions: Vec<String> = (0..4).map(function).collect();
    format!("#!lua name={name}\n{}", functions.concat())
}

fn load(client: &mut Client, name: &str) {
    client.send(&command(&["FUNCTION", "LOAD", &library(name)]));
    client.expect(
        "FUNCTION LOAD",
        format!("${}\r\n{name}\r\n", name.len()).as_bytes(),
    );
}

#[test]
fn script_load_and_flush_reach_all_servers() {
    let (servers, proxy) = four();
    let mut client = proxy.client();
    let exists = format!("SCRIPT EXISTS {RETURN_1} {}", "0".repeat(40));
    client.converse(&[
        (&exists, "*2\r\n:0\r\n:0\r\n"),
        (
            "SCRIPT LOAD return(1)",
            "$40\r\n930269f31393d0be681588b6ab08dccee7d6bb67\r\n",
        ),
    ]);
    client.send(&command(&["SCRIPT", "LOAD", "return 1"]));
    client.expect("SCRIPT LOAD", format!("$40\r\n{RETURN_1}\r\n").as_bytes());
    client.converse(&[(&exists, "*2\r\n:1\r\n:0\r\n")]);
    for n in 0..20 {
        client.converse(&[(&format!("EVALSHA {RETURN_1} 1 k{n}"), ":1\r\n")]);
    }
    assert_eq!(servers[3].ask("SCRIPT FLUSH"), OK.as_bytes());
    client.converse(&[
        (&exists, "*2\r\n:0\r\n:0\r\n"),
        ("SCRIPT FLUSH", OK),
        (&exists, "*2\r\n:0\r\n:0\r\n"),
    ]);
    assert!(
        servers
            .iter()
            .all(|server| server.ask(&exists) == b"*2\r\n:0\r\n:0\r\n")
    );
}

#[test]
fn function_libraries_are_the_same_on_all_servers() {
    let (servers, proxy) = four();
    for version in ["2", "3"] {
        let mut client = proxy.client();
        client.ask(&format!("HELLO {version}"));
        let mut direct = servers[0].client();
        direct.ask(&format!("HELLO {version}"));
        client.converse(&[("FUNCTION LIST", "*0\r\n")]);
        for name in ["one", "two", "three", "four"] {
            load(&mut client, name);
        }
        for n in 0..20 {
            client.converse(&[(&format!("FCALL three2 1 k{n}"), ":2\r\n")]);
        }
        for request in [
            "FUNCTION LIST",
            "FUNCTION LIST WITHCODE",
            "FUNCTION LIST LIBRARYNAME t*",
            "FUNCTION STATS",
        ] {
            assert_eq!(
                show(&client.ask(request)),
                show(&direct.ask(request)),
                "{request}"
            );
        }
        let dump = client.ask("FUNCTION DUMP");
        let start = 1 + dump.iter().position(|byte| *byte == b'\n').unwrap();
        let dump = dump[start..dump.len() - 2].to_vec();
        client.converse(&[
            ("FUNCTION DELETE two", OK),
            ("FUNCTION FLUSH", OK),
            ("FUNCTION LIST", "*0\r\n"),
        ]);
        client.send(&command(&[b"FUNCTION".as_slice(), b"RESTORE", &dump]));
        client.expect("FUNCTION RESTORE", OK.as_bytes());
        for n in 0..20 {
            client.converse(&[(
                &format!("FCALL_RO two1 1 k{n}"),
                "-ERR Can not execute a script with write flag using *_ro command.\r\n",
            )]);
            client.converse(&[(&format!("FCALL two1 1 k{n}"), ":1\r\n")]);
        }
        assert_eq!(servers[2].ask("FUNCTION DELETE two"), OK.as_bytes());
        for request in ["FUNCTION LIST", "FUNCTION DUMP", "FUNCTION STATS"] {
            let reply = String::from_utf8_lossy(&client.ask(request)).into_owned();
            let expected =
                format!("-ERR {request}: servers 's0' and 's2' have different libraries");
            assert!(reply.starts_with(&expected), "{reply}");
        }
        client.converse(&[("FUNCTION FLUSH SYNC", OK)]);
    }
}
