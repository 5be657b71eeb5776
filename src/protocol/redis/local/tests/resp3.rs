//! The proxy's own replies after `HELLO 3`.

use crate::protocol::redis::Resp;
use crate::protocol::redis::local::tests::*;

#[test]
fn resp3_types_are_used_with_resp3() {
    let settings = settings(None, 0);
    let mut client = Client::new(&settings);
    let id = client.id();
    let hello = format!(
        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n\
         $2\r\nid\r\n:{id}\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
         $7\r\nmodules\r\n*0\r\n"
    );
    for (line, expected) in [
        ("HELLO 3", hello.as_str()),
        ("HELLO", &hello),
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n"),
        ("HELLO", &hello),
        ("CLIENT GETNAME", "_\r\n"),
        ("CONFIG GET save", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CONFIG GET nosuch", "%0\r\n"),
        (
            "INFO cluster",
            "=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n",
        ),
        (
            "COMMAND INFO get nosuch",
            "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n\
             ~3\r\n+@read\r\n+@string\r\n+@fast\r\n~0\r\n~1\r\n%3\r\n$5\r\nflags\r\n~2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n%2\r\n\
             $4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n%1\r\n$5\r\nindex\r\n:1\r\n\
             $9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n%3\r\n\
             $7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n~0\r\n_\r\n",
        ),
        ("COMMAND DOCS nosuch", "%0\r\n"),
        (
            "COMMAND DOCS ping",
            "%1\r\n$4\r\nping\r\n%4\r\n$7\r\nsummary\r\n$29\r\nAnswers PONG, or its argument\r\n\
             $5\r\nsince\r\n$5\r\n1.0.0\r\n$5\r\ngroup\r\n$10\r\nconnection\r\n\
             $9\r\narguments\r\n*1\r\n%3\r\n$4\r\nname\r\n$7\r\nmessage\r\n\
             $4\r\ntype\r\n$6\r\nstring\r\n$5\r\nflags\r\n~1\r\n+optional\r\n",
        ),
        ("PING", "+PONG\r\n"),
        ("ECHO a", "$1\r\na\r\n"),
        ("COMMAND GETKEYS MGET a b", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
    ] {
        assert_eq!(say(&settings, &mut client, line).0, expected, "{line}");
    }
    let info = say(&settings, &mut client, "CLIENT INFO").0;
    assert!(
        info.starts_with('=') && info.contains("\r\ntxt:id="),
        "{info}"
    );
    assert!(info.contains(" resp=3 "), "{info}");
    let config = say(&settings, &mut client, "COMMAND INFO config").0;
    assert!(config.contains("~0\r\n~0\r\n*4\r\n*10\r\n"), "{config}");
}

#[test]
fn hello_2_and_reset_return_to_resp2() {
    for back in ["HELLO 2", "RESET"] {
        let settings = settings(None, 0);
        let mut client = Client::new(&settings);
        assert!(say(&settings, &mut client, "HELLO 3").0.starts_with('%'));
        assert_eq!(client.resp(), Resp::Three);
        assert!(!say(&settings, &mut client, back).0.starts_with('-'));
        assert_eq!(client.resp(), Resp::Two, "{back}");
        assert_eq!(say(&settings, &mut client, "CLIENT GETNAME").0, "$-1\r\n");
        assert_eq!(say(&settings, &mut client, "CONFIG GET nosuch").0, "*0\r\n");
    }
}
