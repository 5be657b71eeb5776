use crate::config::{Secret, ServerAuth};
use crate::protocol::redis::*;

#[test]
fn handshake_sends_auth_hello_select_in_order() {
    let auth = "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n";
    let hello = "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
    let select = "*2\r\n$6\r\nSELECT\r\n$2\r\n15\r\n";
    for (password, start, resp, db, expected) in [
        (None, 0, Resp::Two, 0, vec![]),
        (None, 0, Resp::Three, 0, vec![hello]),
        (None, 0, Resp::Two, 15, vec![select]),
        (Some("secret"), 15, Resp::Two, 15, vec![auth, select]),
        (
            Some("secret"),
            15,
            Resp::Three,
            15,
            vec![auth, hello, select],
        ),
        (Some("secret"), 15, Resp::Three, 0, vec![auth, hello]),
    ] {
        let settings = Settings {
            server_auth: password.map(|text: &str| ServerAuth {
                user: None,
                password: Secret::new(text.as_bytes()),
            }),
            db: start,
            ..Settings::new("alpha")
        };
        let mut out = BytesMut::new();
        let profile = profile::of(resp, db, &settings);
        let replies = Redis::write_handshake(&settings, profile, &mut out);
        assert_eq!(replies, expected.len());
        assert_eq!(out, expected.concat().as_bytes());
    }
}

#[test]
fn max_clients_reply_is_recognised() {
    assert!(Redis::classify(b"-ERR max number of clients reached\r\n").is_max_clients());
    assert!(!Redis::classify(b"-ERR max number\r\n").is_max_clients());
    assert!(!Redis::classify(b"+PONG\r\n").is_max_clients());
}

#[test]
fn handshake_reply_other_than_ok_is_a_refusal() {
    for (reply, expected) in [
        ("+OK\r\n", true),
        ("%7\r\n", true),
        ("-ERR unknown command\r\n", false),
        ("*14\r\n", false),
    ] {
        assert_eq!(
            Redis::classify(reply.as_bytes()).is_accepted(),
            expected,
            "{reply}"
        );
    }
}
