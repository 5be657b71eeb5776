//! Through the proxy, with one server and with four, a client reads the replies of one memcached.

use super::fleet::{Fleet, compare, fence, replies_before};
use super::generator::Generator;
use crate::support::{Memcached, show};

const REQUESTS: usize = 4000;
const LONGEST_BATCH: usize = 40;

/// Requests and their replies; each line is independent, except for effects that later lines show.
const SPOKEN: &[(&str, &str)] = &[
    ("get a\r\n", "END\r\n"),
    ("set a 5 0 3\r\none\r\n", "STORED\r\n"),
    ("get a\r\n", "VALUE a 5 3\r\none\r\nEND\r\n"),
    (
        "get b a c a b\r\n",
        "VALUE a 5 3\r\none\r\nVALUE a 5 3\r\none\r\nEND\r\n",
    ),
    ("add a 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
    ("add b 4294967295 0 0\r\n\r\n", "STORED\r\n"),
    (
        "get c b a\r\n",
        "VALUE b 4294967295 0\r\n\r\nVALUE a 5 3\r\none\r\nEND\r\n",
    ),
    ("replace c 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
    ("append a 0 0 4\r\n two\r\n", "STORED\r\n"),
    ("prepend a 0 0 5\r\nzero \r\n", "STORED\r\n"),
    ("get a\r\n", "VALUE a 5 12\r\nzero one two\r\nEND\r\n"),
    ("cas c 0 0 1 1\r\nx\r\n", "NOT_FOUND\r\n"),
    ("cas a 0 0 1 99999999999\r\nx\r\n", "EXISTS\r\n"),
    (
        "set n 0 0 2\r\n10\r\nincr n 5\r\ndecr n 6\r\n",
        "STORED\r\n15\r\n9\r\n",
    ),
    ("get n\r\n", "VALUE n 0 2\r\n9 \r\nEND\r\n"),
    (
        "incr none 1\r\ndecr none 1\r\n",
        "NOT_FOUND\r\nNOT_FOUND\r\n",
    ),
    (
        "incr a 1\r\n",
        "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
    ),
    (
        "incr n x\r\n",
        "CLIENT_ERROR invalid numeric delta argument\r\n",
    ),
    ("touch a 0\r\ntouch none 0\r\n", "TOUCHED\r\nNOT_FOUND\r\n"),
    ("touch a x\r\n", "CLIENT_ERROR invalid exptime argument\r\n"),
    (
        "gat 0 none a n a\r\n",
        "VALUE a 5 12\r\nzero one two\r\nVALUE n 0 2\r\n9 \r\nVALUE a 5 12\r\nzero one two\r\nEND\r\n",
    ),
    ("set gone 0 -1 1\r\nx\r\nget gone\r\n", "STORED\r\nEND\r\n"),
    (
        "gat -1 n\r\nget n\r\n",
        "VALUE n 0 2\r\n9 \r\nEND\r\nEND\r\n",
    ),
    (
        "delete a\r\ndelete a\r\ndelete b 0\r\n",
        "DELETED\r\nNOT_FOUND\r\nDELETED\r\n",
    ),
    (
        "set a 0 0 1 noreply\r\n1\r\nincr a 1 noreply\r\nget a\r\n",
        "VALUE a 0 1\r\n2\r\nEND\r\n",
    ),
    (
        "touch a 0 noreply\r\ndelete a noreply\r\nget a\r\n",
        "END\r\n",
    ),
    ("ms a 2 F3 T0\r\nhi\r\n", "HD\r\n"),
    ("mg a v f s k O77\r\n", "VA 2 f3 s2 ka O77\r\nhi\r\n"),
    ("mg a\r\nmg none\r\n", "HD\r\nEN\r\n"),
    ("mg a v q\r\nmg none v q\r\nmn\r\n", "VA 2\r\nhi\r\nMN\r\n"),
    (
        "ms a 2 q\r\nho\r\nms a 2 q MR\r\nhu\r\nmd a q\r\nmn\r\n",
        "MN\r\n",
    ),
    ("ms a 1 ME\r\nx\r\nms a 1 ME\r\nx\r\n", "HD\r\nNS\r\n"),
    (
        "ms a2V5 1 b\r\nv\r\nget key\r\n",
        "HD\r\nVALUE key 0 1\r\nv\r\nEND\r\n",
    ),
    ("mg a2V5 b k v\r\n", "VA 1 ka2V5 b\r\nv\r\n"),
    ("md a2V5 b\r\nget key\r\n", "HD\r\nEND\r\n"),
    (
        "ma m\r\nma m N0 J7 v\r\nma m D3 v\r\nma m MD v\r\n",
        "NF\r\nVA 1\r\n7\r\nVA 2\r\n10\r\nVA 1\r\n9\r\n",
    ),
    (
        "ma fresh N0 J5 q\r\nma fresh N0 q\r\nma fresh N0 v q\r\nma other q N0 v\r\nmn\r\n",
        "HD\r\nVA 1\r\n0\r\nMN\r\n",
    ),
    (
        "ma bmV3 b N0 q O1\r\nma bmV3 b N0 q O2\r\nget new\r\n",
        "HD O1\r\nVALUE new 0 1\r\n1\r\nEND\r\n",
    ),
    (
        "md a\r\nmd a\r\nmd a q\r\nmn\r\n",
        "HD\r\nNF\r\nNF\r\nMN\r\n",
    ),
    ("me none\r\n", "EN\r\n"),
    ("version\r\n", "VERSION $\r\n"),
    ("verbosity 0\r\n", "OK\r\n"),
    (
        "set a 0 0 1\r\n1\r\nflush_all\r\nget a\r\n",
        "STORED\r\nOK\r\nEND\r\n",
    ),
    (
        "flush_all 0\r\nflush_all noreply\r\nflush_all 0 noreply\r\nmn\r\n",
        "OK\r\nMN\r\n",
    ),
    (
        "nonsense\r\nGET a\r\nget\r\nmn\r\n",
        "ERROR\r\nERROR\r\nERROR\r\nMN\r\n",
    ),
    ("mn\n", "MN\r\n"),
    ("get none a\n", "END\r\n"),
    (
        "set  a  0  0  1 \r\n1\r\n get  a \r\n",
        "STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n",
    ),
];

#[test]
fn every_command_answers_as_in_memcached() {
    let alone = Memcached::start();
    let version = alone.ask("version");
    let version = show(&version).replace("VERSION ", "").replace("\\r\\n", "");
    let spoken: Vec<_> = SPOKEN
        .iter()
        .map(|(sent, reply)| (*sent, reply.replace('$', &version)))
        .collect();
    let spoken: Vec<_> = spoken.iter().map(|(s, r)| (*s, r.as_str())).collect();
    alone.client().chat(&spoken);
    for count in [1, 4] {
        Fleet::of(count).client().chat(&spoken);
    }
}

#[test]
fn quit_closes_after_pending_replies() {
    for request in ["quit\r\n", "quit now\r\n"] {
        let fleet = Fleet::of(4);
        let mut client = fleet.client();
        client.chat(&[("set a 0 0 1\r\n1\r\n", "STORED\r\n")]);
        client.send(format!("get a\r\nget b\r\n{request}get a\r\n").as_bytes());
        let all = client.read_to_close();
        assert_eq!(show(&all), show(b"VALUE a 0 1\r\n1\r\nEND\r\nEND\r\n"));
    }
}

#[test]
fn generated_conversations_with_one_server() {
    converse(1);
}

#[test]
fn generated_conversations_with_four_servers() {
    converse(4);
}

#[test]
fn cas_lets_one_writer_succeed() {
    let fleet = Fleet::of(4);
    let (mut one, mut two) = (fleet.client(), fleet.client());
    for n in 0..40 {
        one.chat(&[(&format!("set key-{n} 0 0 1\r\na\r\n"), "STORED\r\n")]);
        let read = [
            unique(&one.say(&format!("gets key-{n}"))),
            unique(&two.say(&format!("gats 0 none key-{n} other"))),
        ];
        let meta = two.say(&format!("mg key-{n} c"));
        assert_eq!(show(&meta), format!("HD c{}\\r\\n", read[0]));
        assert_eq!(read[0], read[1]);
        let cas = format!("cas key-{n} 0 0 1 {}\r\nb\r\n", read[0]);
        one.chat(&[(&cas, "STORED\r\n")]);
        two.chat(&[(&cas, "EXISTS\r\n")]);
        let now = unique(&one.say(&format!("gets key-{n}")));
        assert_ne!(now, read[0]);
        one.chat(&[(&format!("ms key-{n} 1 C{now}\r\nc\r\n"), "HD\r\n")]);
        two.chat(&[(&format!("md key-{n} C{now}\r\n"), "EX\r\n")]);
    }
}

#[test]
fn me_describes_the_item_on_any_server() {
    let fleet = Fleet::of(4);
    let mut client = fleet.client();
    for n in 0..20 {
        let name = format!("key-{n}");
        client.chat(&[(&format!("set {name} 0 0 5\r\nvalue\r\n"), "STORED\r\n")]);
        let answer = String::from_utf8(client.say(&format!("me {name}"))).unwrap();
        assert!(
            answer.starts_with(&format!("ME {name} exp=-1 ")),
            "{answer}"
        );
        assert!(
            answer.contains(" fetch=no ") && answer.ends_with("\r\n"),
            "{answer}"
        );
    }
}

fn converse(count: usize) {
    let seed = std::env::var("SEED").map_or(20_260_703, |seed| seed.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut generator = Generator::whole(seed ^ 1);
    let alone = Memcached::start();
    let fleet = Fleet::of(count);
    let (mut there, mut here) = (alone.client(), fleet.client());
    let mut sent = 0;
    while sent < REQUESTS {
        let batch: Vec<_> = (0..random.usize(1..=LONGEST_BATCH))
            .map(|_| generator.request())
            .collect();
        sent += batch.len();
        let (end, reply) = fence(sent);
        let bytes = [batch.concat(), end].concat();
        let most_bytes = [1, 7, 100, 1500, 1 << 20][random.usize(..5)];
        there.send(&bytes);
        here.send_in_pieces(&bytes, most_bytes, &mut random);
        let expected = masked(replies_before(&mut there, &reply));
        let found = masked(replies_before(&mut here, &reply));
        let context = format!("seed {seed}, {count} servers, {sent} requests");
        compare(&context, &batch, &expected, &found);
    }
    let figure = |server: &Memcached| server.figure("cmd_set");
    let sets: Vec<_> = fleet.servers.iter().map(figure).collect();
    assert!(sets.iter().all(|count| *count > 0), "{sets:?}");
}

/// The replies without the parts that differ between two memcacheds: cas uniques and remaining times to live.
fn masked(replies: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    replies.into_iter().map(|reply| mask(&reply)).collect()
}

fn mask(reply: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = reply;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end - 1]).into_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let data = match words[0] {
            "VALUE" => words[3].parse::<usize>().unwrap() + 2,
            "VA" => words[1].parse::<usize>().unwrap() + 2,
            _ => 0,
        };
        for (nth, word) in words.iter().enumerate() {
            let digits = word
                .get(1..)
                .is_some_and(|rest| rest.parse::<u64>().is_ok());
            let is_flag = matches!(words[0], "VA" | "HD") && word.starts_with(['c', 't']);
            let is_unique = words[0] == "VALUE" && nth == 4;
            out.extend_from_slice(match (is_unique, is_flag && digits) {
                (false, false) => word.as_bytes(),
                _ => b"*",
            });
            out.push(b' ');
        }
        let next = end + 1 + data;
        out.extend_from_slice(&rest[end..next]);
        rest = &rest[next..];
    }
    out
}

/// The cas unique of the only value in a reply.
fn unique(reply: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(reply);
    let line = text.lines().next().unwrap();
    let last = line.rsplit(' ').next().unwrap();
    assert_eq!(line.split(' ').count(), 5, "{text}");
    last.parse().unwrap()
}
