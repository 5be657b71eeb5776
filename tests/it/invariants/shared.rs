//! Requests that a server treats as a framing error must not reach it: it would close the connection that all clients
//! share.

use crate::support::{Ended, Pool, Proxy, RedisServer, show};

#[test]
fn odd_number_formats_do_not_close_the_shared_connection() {
    let requests: [&[u8]; 6] = [
        b"*2\r\n$3\r\nGET\r\n$03\r\nfoo\r\n",
        b"*2\r\n$03\r\nGET\r\n$3\r\nfoo\r\n",
        b"*02\r\n$3\r\nGET\r\n$3\r\nfoo\r\n",
        b"*2\r\n$3\r\nGET\r\n$-0\r\n\r\n",
        b"*2\r\n$3\r\nGET\r\n$00\r\n\r\n",
        b"*3\r\n$4\r\nMGET\r\n$01\r\na\r\n$01\r\nb\r\n",
    ];
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    proxy.client().converse(&[("SET foo 1", "+OK\r\n")]);
    for request in requests {
        let mut client = proxy.client();
        client.send(request);
        match client.try_reply() {
            Ok(reply) => assert!(
                reply.starts_with(b"-ERR Protocol error"),
                "{}",
                show(&reply)
            ),
            Err(ended) => assert_eq!(ended, Ended::Closed),
        }
        assert_eq!(
            proxy.stat(&["s0", "server_eof"]),
            0,
            "after {}",
            show(request)
        );
        assert_eq!(
            proxy.stat(&["s0", "server_err"]),
            0,
            "after {}",
            show(request)
        );
        client.expect_close();
    }
}
