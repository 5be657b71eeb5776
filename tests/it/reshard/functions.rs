//! Function libraries at servers that a move adds.

use super::{Files, START, guarded};
use crate::mover::keys::{ask, server};
use crate::support::{Client, Proxy, RedisServer, eventually};

/// Loads a library with one function, of the same name, that returns this number.
fn load(client: &mut Client, name: &str, number: u32) -> Vec<u8> {
    let code = format!(
        "#!lua name={name}\nredis.register_function('{name}', function(keys, args) return {number} end)"
    );
    ask(client, &["FUNCTION", "LOAD", "REPLACE", &code])
}

fn call(server: &RedisServer, name: &str) -> String {
    String::from_utf8(server.ask(&format!("FCALL {name} 1 k"))).unwrap()
}

#[test]
fn added_server_gets_the_libraries_of_the_others() {
    let servers = [server(), server(), server()];
    let (small, large) = (guarded(&servers[..2]), guarded(&servers));
    let proxy = Proxy::ringroad(&small);
    let mut client = proxy.client();
    load(&mut client, "one", 1);
    load(&mut client, "two", 2);
    for n in 0..200 {
        client.ask(&format!("SET k{n} v"));
    }
    let files = Files::of(&small, &large);
    let process = files.start(&format!("{START} --rate 100"));
    eventually("the libraries are there before any key has moved", || {
        (call(&servers[2], "two") == ":2\r\n").then_some(())
    });
    assert!(servers[2].keys().len() < 100);
    // One that is loaded meanwhile, and one that is replaced, go there by the proxy.
    load(&mut client, "three", 3);
    load(&mut client, "two", 22);
    assert_eq!(call(&servers[2], "three"), ":3\r\n");
    assert_eq!(process.exit().code(), Some(0), "{}", process.output());
    for n in 0..200 {
        for (name, reply) in [("one", ":1\r\n"), ("two", ":22\r\n"), ("three", ":3\r\n")] {
            let found = client.ask(&format!("FCALL {name} 1 k{n}"));
            assert_eq!(found, reply.as_bytes(), "{name} k{n}");
        }
    }
    assert_eq!(call(&servers[2], "one"), ":1\r\n");
}

#[test]
fn libraries_that_differ_are_an_obstacle() {
    let servers = [server(), server(), server()];
    let files = Files::of(&guarded(&servers[..2]), &guarded(&servers));
    load(&mut servers[0].client(), "one", 1);
    load(&mut servers[2].client(), "own", 5);
    let plan = "reshard plan -c old.yml --to new.yml";
    let (code, text) = files.run(plan);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("have different function libraries (one)"),
        "{text}"
    );
    load(&mut servers[1].client(), "one", 1);
    let text = files.succeed(plan);
    assert!(text.contains("the others stay"), "{text}");
    files.succeed(START);
    assert_eq!(call(&servers[2], "one"), ":1\r\n");
    assert_eq!(call(&servers[2], "own"), ":5\r\n");
}
