//! Clients that send garbage, too much, too little or too slowly get a clear error, keep the connection if possible,
//! and do not affect other clients.

use super::fleet::{Fleet, pool};
use crate::support::{Client, Ended, Memcached, Proxy, eventually, show};

/// The state of the connection afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    GoesOn,
    Closes,
}

/// `$K` stands for a key of 251 bytes, `$L` for a line of 3000, `$M` for a value over a megabyte. Errors are recognized
/// by their beginnings.
const NONSENSE: &[(&str, &[&str], After)] = {
    use After::{Closes, GoesOn};
    &[
        ("nonsense\r\n", &["ERROR"], GoesOn),
        ("\r\n", &["ERROR"], GoesOn),
        ("SET a 0 0 1\r\n", &["ERROR"], GoesOn),
        ("gets\r\n", &["ERROR"], GoesOn),
        ("set a 0 0\r\n", &["CLIENT_ERROR"], Closes),
        ("incr a\r\n", &["ERROR"], GoesOn),
        ("get $K\r\n", &["CLIENT_ERROR"], GoesOn),
        ("get a $K b\r\n", &["CLIENT_ERROR"], GoesOn),
        ("delete $K\r\n", &["CLIENT_ERROR"], GoesOn),
        ("touch $K 0\r\n", &["CLIENT_ERROR"], GoesOn),
        ("mg $K v\r\n", &["CLIENT_ERROR"], GoesOn),
        ("md $K q\r\n", &["CLIENT_ERROR"], GoesOn),
        ("set $K 0 0 5\r\nget a\r\n", &["CLIENT_ERROR"], GoesOn),
        ("ms $K 5\r\nget a\r\n", &["CLIENT_ERROR"], GoesOn),
        ("mg **** b v\r\n", &["CLIENT_ERROR"], GoesOn),
        ("get a\rb\r\n", &["CLIENT_ERROR"], GoesOn),
        ("get a\0b\r\n", &["CLIENT_ERROR"], GoesOn),
        ("set a\0b 0 0 5\r\nget a\r\n", &["CLIENT_ERROR"], GoesOn),
        ("set a x 0 5\r\nget a\r\n", &["CLIENT_ERROR"], GoesOn),
        ("set a -1 0 5\r\nget a\r\n", &["CLIENT_ERROR"], GoesOn),
        (
            "set a 4294967296 0 5\r\nget a\r\n",
            &["CLIENT_ERROR"],
            GoesOn,
        ),
        ("set a 0 x 5\r\nget a\r\n", &["CLIENT_ERROR"], GoesOn),
        ("cas a 0 0 5 x\r\nget a\r\n", &["CLIENT_ERROR"], GoesOn),
        (
            "set a 0 0 1\r\nabcdef\r\n",
            &["CLIENT_ERROR bad data chunk"],
            GoesOn,
        ),
        (
            "set a 0 0 5\r\nab\r\nab\r\n",
            &["CLIENT_ERROR bad data chunk"],
            GoesOn,
        ),
        (
            "ms a 1\r\nabcdef\r\n",
            &["CLIENT_ERROR bad data chunk"],
            GoesOn,
        ),
        (
            "set a 0 0 $M",
            &["SERVER_ERROR object too large for cache"],
            GoesOn,
        ),
        (
            "ms a $M",
            &["SERVER_ERROR object too large for cache"],
            GoesOn,
        ),
        ("set a 0 0 abc\r\n", &["CLIENT_ERROR"], Closes),
        ("set a 0 0 -1\r\n", &["CLIENT_ERROR"], Closes),
        ("set a 0 0 1x\r\n", &["CLIENT_ERROR"], Closes),
        ("ms a x\r\n", &["CLIENT_ERROR"], Closes),
        (
            "set a 0 0 99999999999999999999999\r\n",
            &["CLIENT_ERROR", "SERVER_ERROR"],
            Closes,
        ),
        (
            "set a 0 0 18446744073709551617\r\n",
            &["CLIENT_ERROR", "SERVER_ERROR"],
            Closes,
        ),
        ("set $L 0 0 1\r\n", &["CLIENT_ERROR", "ERROR"], Closes),
        ("$L$L$L", &["CLIENT_ERROR", "ERROR"], Closes),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &["ERROR"], Closes),
        ("shutdown\r\n", &["ERROR", "CLIENT_ERROR"], GoesOn),
        ("watch\r\n", &["ERROR", "CLIENT_ERROR"], GoesOn),
        ("stats items\r\n", &["CLIENT_ERROR"], GoesOn),
        ("slabs reassign 1 2\r\n", &["ERROR", "CLIENT_ERROR"], GoesOn),
        (
            "lru_crawler metadump all\r\n",
            &["ERROR", "CLIENT_ERROR"],
            GoesOn,
        ),
        ("flush_all x\r\n", &["CLIENT_ERROR"], GoesOn),
        (
            "delete a 7\r\n",
            &["CLIENT_ERROR bad command line format"],
            GoesOn,
        ),
        (
            "touch a x\r\n",
            &["CLIENT_ERROR invalid exptime argument"],
            GoesOn,
        ),
        (
            "incr a -5\r\n",
            &["CLIENT_ERROR invalid numeric delta argument"],
            GoesOn,
        ),
        ("mg a v v\r\n", &["CLIENT_ERROR"], GoesOn),
        ("mg a ?\r\n", &["CLIENT_ERROR"], GoesOn),
        ("ms a 5 MZ\r\nget a\r\n", &["CLIENT_ERROR"], GoesOn),
    ]
};

#[test]
fn invalid_request_gets_one_error_and_harms_no_others() {
    for count in [1, 4] {
        let fleet = Fleet::of(count);
        let mut bystander = fleet.client();
        for (request, errors, after) in NONSENSE {
            let bytes = spelled(request);
            let mut client = fleet.client();
            client.chat(&[("set mine 0 0 4\r\nmine\r\n", "STORED\r\n")]);
            bystander.send(b"set other 9 0 5\r\nother\r\nget other\r\n");
            // The proxy may answer and close before all is sent.
            let _ = client.try_send(&bytes);
            let answer = client.answer();
            let answer = show(&answer);
            let context = format!("{}: {answer}", show(request.as_bytes()));
            assert!(
                errors.iter().any(|error| answer.starts_with(error)),
                "{context}"
            );
            match after {
                After::GoesOn => {
                    client.chat(&[("get mine\r\n", "VALUE mine 0 4\r\nmine\r\nEND\r\n")]);
                }
                After::Closes => client.expect_close(),
            }
            bystander.expect(&context, b"STORED\r\nVALUE other 9 5\r\nother\r\nEND\r\n");
        }
    }
}

/// memcached loses the binary flag of a key when its value grows, and always in `me`; it then writes the key as it is.
#[test]
fn keys_cannot_inject_lines_into_other_replies() {
    // It decodes to: `x`, a line end, `HD`, a line end, `HD`.
    const KEY: &str = "eA0KSEQNCkhE";
    const SHOWN: &str =
        "CLIENT_ERROR a key that contains a line feed cannot be returned: omit the flag k\r\n";
    let fleet = Fleet::of(1);
    let (mut client, mut bystander) = (fleet.client(), fleet.client());
    bystander.chat(&[("set other 9 0 5\r\nother\r\n", "STORED\r\n")]);
    for (grow, grown) in [
        (format!("ma {KEY} b v\r\n"), "VA 2\r\n10\r\n"),
        (format!("ms {KEY} 1 b MA\r\n9\r\n"), "HD\r\n"),
        (format!("md {KEY} b\r\nma {KEY} b N0\r\n"), "HD\r\nHD\r\n"),
    ] {
        client.chat(&[
            (&format!("ms {KEY} 1 b\r\n9\r\n"), "HD\r\n"),
            (&grow, grown),
        ]);
        for shows in [
            format!("mg {KEY} b k\r\n"),
            format!("mg {KEY} k b v\r\n"),
            format!("ma {KEY} b k\r\n"),
            format!("me {KEY} b\r\n"),
            format!("md {KEY} b k\r\n"),
        ] {
            client.send(shows.as_bytes());
            bystander.send(b"get other\r\nmg other f v\r\n");
            client.expect(&shows, SHOWN.as_bytes());
            bystander.expect(
                &shows,
                b"VALUE other 9 5\r\nother\r\nEND\r\nVA 5 f9\r\nother\r\n",
            );
        }
    }
}

#[test]
fn errors_come_in_the_order_of_the_requests() {
    let fleet = Fleet::of(4);
    let long = "k".repeat(251);
    let sent = format!(
        "set a 0 0 1\r\n1\r\nget {long}\r\nget a\r\nnonsense\r\nset b 0 0 1\r\nxx\r\nget a\r\nset {long} 0 0 1\r\n1\r\nmn\r\n"
    );
    let mut client = fleet.client();
    client.send_in_pieces(sent.as_bytes(), 3, &mut fastrand::Rng::with_seed(9));
    let begins = [
        "STORED",
        "CLIENT_ERROR",
        "VALUE a",
        "ERROR",
        "CLIENT_ERROR bad data chunk",
        "VALUE a",
        "CLIENT_ERROR",
        "MN",
    ];
    for begin in begins {
        let answer = show(&client.answer());
        assert!(answer.starts_with(begin), "{answer} instead of {begin}");
    }
}

#[test]
fn error_names_the_invalid_part() {
    let fleet = Fleet::of(1);
    for (request, name) in [
        ("get $K\r\n", "250"),
        ("set $K 0 0 1\r\n1\r\n", "250"),
        ("set a x 0 1\r\n1\r\n", "flags"),
        ("set a 0 x 1\r\n1\r\n", "exptime"),
        ("cas a 0 0 1 x\r\n1\r\n", "cas"),
        ("stats slabs\r\n", "server"),
    ] {
        let mut client = fleet.client();
        client.send(&spelled(request));
        let answer = show(&client.answer());
        assert!(answer.contains(name), "{request}: {answer}");
    }
}

#[test]
fn binary_protocol_gets_a_text_error() {
    let fleet = Fleet::of(1);
    let mut client = fleet.client();
    client.send(b"\x80\x0b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let answer = show(&client.read_to_close());
    assert!(
        answer.contains("CLIENT_ERROR") && answer.contains("binary"),
        "{answer}"
    );
}

#[test]
fn oversized_value_gets_the_server_error_and_blocks_no_others() {
    let server = Memcached::start_with(&["-I", "512k"]);
    let proxy = Proxy::ringroad(&pool(std::slice::from_ref(&server)));
    let mut bystander = proxy.client();
    let value = "x".repeat(600_000);
    for noreply in ["", " noreply"] {
        let mut client = proxy.client();
        client.send(format!("set a 0 0 600000{noreply}\r\n").as_bytes());
        bystander.chat(&[("get other\r\n", "END\r\n")]);
        client.send(format!("{value}\r\nmn\r\n").as_bytes());
        let expected: &[u8] = match noreply {
            "" => b"SERVER_ERROR object too large for cache\r\nMN\r\n",
            _ => b"MN\r\n",
        };
        client.expect("a value too large", expected);
        bystander.chat(&[("get other\r\n", "END\r\n")]);
    }
}

#[test]
fn partial_request_is_dropped_with_its_client() {
    let fleet = Fleet::of(1);
    let whole = b"set half 0 0 5\r\nvalue\r\n";
    for cut in 1..whole.len() {
        let mut client = fleet.client();
        client.send(&whole[..cut]);
        client.half_close();
        client.read_to_close();
    }
    assert_eq!(fleet.servers[0].ask("get half"), b"END\r\n");
    fleet.client().chat(&[("get half\r\n", "END\r\n")]);
}

#[test]
fn declared_length_reserves_no_memory() {
    let fleet = Fleet::of(1);
    let process = fleet.proxy.process();
    let before_bytes = process.memory_bytes("VmRSS");
    let mut waiting: Vec<Client> = (0..64).map(|_| fleet.client()).collect();
    for client in &mut waiting {
        client.send(b"set a 0 0 1000000\r\nsome of it");
    }
    fleet.client().chat(&[("mn\r\n", "MN\r\n")]);
    let grown_bytes = process.memory_bytes("VmRSS").saturating_sub(before_bytes);
    assert!(
        grown_bytes < 32 << 20,
        "64 declared lengths took {grown_bytes} bytes"
    );
}

#[test]
fn skipped_value_is_not_buffered() {
    const LEN: usize = 600 << 20;
    let fleet = Fleet::of(1);
    let process = fleet.proxy.process();
    let before_bytes = process.memory_bytes("VmHWM");
    let mut client = fleet.client();
    client.send(format!("set a 0 0 {LEN}\r\n").as_bytes());
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..LEN >> 20 {
        if client.try_send(&piece).is_err() {
            break;
        }
    }
    let _ = client.try_send(b"\r\n");
    let answer = show(&client.read_to_close_or_answer());
    assert!(
        answer.starts_with("SERVER_ERROR object too large for cache"),
        "{answer}"
    );
    let grown_bytes = process.memory_bytes("VmHWM").saturating_sub(before_bytes);
    assert!(
        grown_bytes < 64 << 20,
        "600 MiB to skip took {grown_bytes} bytes"
    );
}

#[test]
fn random_bytes_never_hang_or_kill_the_proxy() {
    let fleet = Fleet::of(2);
    let mut random = fastrand::Rng::with_seed(7);
    let parts: [&[u8]; 14] = [
        b"get ",
        b"set a 0 0 ",
        b"ms a ",
        b"mg a ",
        b"\r\n",
        b"\n",
        b" ",
        b"3",
        b"-1",
        b"noreply",
        b"q",
        b"\0",
        b"\x80",
        b"abc\r\n",
    ];
    for round in 0..300 {
        let mut client = fleet.client();
        let bytes: Vec<u8> = (0..random.usize(1..20))
            .flat_map(|_| parts[random.usize(..parts.len())].to_vec())
            .collect();
        if client.try_send(&bytes).is_ok() {
            client.half_close_quietly();
        }
        let all = client.read_to_close();
        assert!(
            all.len() < 4096,
            "round {round}: {} got {}",
            show(&bytes),
            show(&all)
        );
    }
    let mut client = fleet.client();
    client.chat(&[("mn\r\n", "MN\r\n")]);
    client.set_patience(std::time::Duration::from_millis(50));
    assert_eq!(
        client.try_answer(),
        Err(Ended::Silent),
        "nobody asked for more"
    );
    eventually("the clients are gone", || {
        (fleet.proxy.stat(&["client_connections"]) == 1).then_some(())
    });
}

fn spelled(request: &str) -> Vec<u8> {
    const LARGE: usize = (1 << 20) + 1;
    let large = format!("{LARGE}\r\n{}\r\n", "x".repeat(LARGE));
    request
        .replace("$K", &"k".repeat(251))
        .replace("$L", &"l".repeat(3000))
        .replace("$M", &large)
        .into_bytes()
}
