//! One client's conversation, compared with that of one redis-server: transactions, watches, databases, RESP versions,
//! suppressed replies, blocking commands and subscriptions, in any order, in pipelines that are cut anywhere.

use crate::support::{Client, Kind, Launch, Pool, Proxy, RedisServer, words};

/// Conversations of each generated kind.
const ROUNDS: u64 = 400;

pub(super) const PASSWORD: &str = "secret";

/// Conversations that differed in the past.
const CASES: &[&str] = &[
    "CLIENT REPLY SKIP ; RESET ; PING",
    "CLIENT REPLY SKIP ; RESET ; RESET",
    "CLIENT REPLY OFF ; RESET ; PING",
    "CLIENT REPLY SKIP ; CLIENT REPLY OFF ; PING ; CLIENT REPLY ON ; PING",
    "CLIENT REPLY SKIP ; MULTI ; SET k 1 ; EXEC ; PING",
    "CLIENT REPLY OFF ; PING ; AUTH secret ; PING",
    "CLIENT REPLY SKIP ; SUBSCRIBE c ; RESET ; PING",
    "HELLO 3 AUTH default secret ; SUBSCRIBE c ; CLIENT REPLY SKIP ; RESET ; AUTH secret ; PING",
    "HELLO 3 AUTH default secret ; SUBSCRIBE c ; GET k ; HELLO 2",
    "HELLO 3 AUTH default secret ; SUBSCRIBE c ; GET k ; SELECT 3 ; GET k ; RESET ; PING",
    "EXEC",
    "MULTI ; SET k v ; EXEC ; EXEC now",
    "AUTH secret ; MULTI ; RESET ; EXEC",
    "AUTH secret ; RESET ; EXEC ; DISCARD",
];

/// Each kind of request, and how often it is drawn among twenty.
const WORDS: &[(usize, &[&str])] = &[
    (
        5,
        &[
            "SET k v",
            "GET k",
            "INCR n",
            "INCR k",
            "DEL k n",
            "MGET k n",
            "HGETALL h",
            "ZADD z 1.5 m",
            "NOSUCH a",
            "GET",
        ],
    ),
    (
        4,
        &[
            "MULTI",
            "EXEC",
            "DISCARD",
            "WATCH k",
            "WATCH n k",
            "UNWATCH",
            "WATCH",
            "EXEC x",
            "MULTI x",
        ],
    ),
    (
        3,
        &[
            "PING",
            "ECHO x",
            "RESET",
            "AUTH",
            "AUTH no",
            "AUTH secret",
            "CLIENT GETNAME",
            "CLIENT SETNAME b",
        ],
    ),
    (
        3,
        &[
            "SELECT 0",
            "SELECT 3",
            "SELECT x",
            "HELLO",
            "HELLO 2",
            "HELLO 3",
            "HELLO 4",
            "HELLO 3 AUTH default secret",
        ],
    ),
    (
        2,
        &[
            "CLIENT REPLY ON",
            "CLIENT REPLY OFF",
            "CLIENT REPLY SKIP",
            "CLIENT REPLY FOO",
        ],
    ),
    (
        2,
        &[
            "RPUSH l a b",
            "BLPOP l 0.01",
            "BRPOP none 0.01",
            "BLMOVE l l LEFT RIGHT 0.01",
            "BLPOP k 0.01",
            "BLPOP l x",
            "BZPOPMIN z 0.01",
        ],
    ),
    (
        1,
        &[
            "SUBSCRIBE c",
            "PSUBSCRIBE p*",
            "SSUBSCRIBE c",
            "UNSUBSCRIBE",
            "PUNSUBSCRIBE p*",
            "SUNSUBSCRIBE",
            "SUBSCRIBE",
        ],
    ),
];

/// The end of a conversation with a framing error.
const NONSENSE: &[&str] = &[
    "*1\r\n+x\r\n",
    "*1\r\n$-5\r\n",
    "*2x\r\n",
    "\"unbalanced\r\n",
];

#[test]
fn generated_session_matches_one_redis() {
    for password in [None, Some(PASSWORD)] {
        let comparison = Comparison::begin(password, &[]);
        for case in CASES {
            let requests: Vec<String> = case.split(" ; ").map(str::to_owned).collect();
            let mut random = fastrand::Rng::with_seed(comparison.seed);
            comparison.hold(&requests, "", &mut random);
        }
        (0..ROUNDS).for_each(|round| comparison.hold_generated(round));
    }
}

/// A redis-server, and another one behind a proxy, with the same conversations.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) proxy: Proxy,
    original: RedisServer,
    server: RedisServer,
    password: Option<&'static str>,
    seed: u64,
}

impl Comparison {
    /// Starts them, with this password and these arguments of the proxy.
    pub(super) fn begin(password: Option<&'static str>, args: &[&str]) -> Self {
        // The frequency per second at which a server checks for timeouts.
        let mut options = vec!["--hz", "500"];
        options.extend(
            password
                .into_iter()
                .flat_map(|password| ["--requirepass", password]),
        );
        let [original, server] = [(); 2].map(|()| RedisServer::start_with(&options));
        // Redis lets a client guess as often as it likes.
        let mut pool = Pool::of([&server]).with("client_address_auth_failures", 0);
        if let Some(password) = password {
            pool = pool.with("redis_auth", password);
        }
        let launch = Launch {
            args: args.iter().map(ToString::to_string).collect(),
            ..Launch::default()
        };
        Self {
            proxy: Proxy::start(Kind::Ringroad, &pool, &launch),
            original,
            server,
            password,
            seed: std::env::var("SEED").map_or(20_261_121, |seed| seed.parse().unwrap()),
        }
    }

    /// Holds a random conversation.
    pub(super) fn hold_generated(&self, round: u64) {
        let mut random = fastrand::Rng::with_seed(self.seed.wrapping_add(round));
        let requests = conversation(&mut random);
        let is_hushed = requests.iter().any(|request| request == "CLIENT REPLY OFF");
        // With replies off, Redis does not report this error either, and does not close.
        let end = match random.usize(..8) {
            0 if !is_hushed => NONSENSE[random.usize(..NONSENSE.len())],
            _ => "",
        };
        self.hold(&requests, end, &mut random);
    }

    /// Fails unless both have the same replies.
    fn hold(&self, requests: &[String], end: &str, random: &mut fastrand::Rng) {
        let batch: Vec<u8> = requests.iter().flat_map(|request| words(request)).collect();
        // The end of the input would end a blocking command if it arrives before its timeout: such a conversation closes
        // with its last request instead.
        let blocks = requests.iter().any(|request| request.ends_with(" 0.01"));
        let end = match end {
            "" if blocks => [words("RESET"), words("QUIT")].concat(),
            end => end.as_bytes().to_vec(),
        };
        let batch = [batch, end.clone()].concat();
        let most_bytes = [3, 40, 1 << 20][random.usize(..3)];
        let [expected, found] = [
            (&self.original, self.original.address()),
            (&self.server, self.proxy.address()),
        ]
        .map(|(server, address)| {
            let mut admin = server.client();
            admin.ask(&format!("AUTH {PASSWORD}"));
            admin.ask("FLUSHALL");
            let mut client = Client::connect(address);
            client.send_in_pieces(&batch, most_bytes, random);
            if !blocks {
                client.half_close_quietly();
            }
            without_ids(&client.read_to_close())
        });
        let context = format!(
            "seed {}, password {:?}: {} {}",
            self.seed,
            self.password,
            requests.join(" ; "),
            end.escape_ascii()
        );
        assert_eq!(expected, found, "{context}");
    }
}

/// Random requests, without intended differences: local commands cannot be queued, and a watch in one database or
/// version has no effect in another.
fn conversation(random: &mut fastrand::Rng) -> Vec<String> {
    let (mut queues, mut watches) = (false, false);
    let mut requests = Vec::new();
    for _ in 0..random.usize(2..25) {
        let mut drawn = random.usize(..20);
        let kind = WORDS.iter().find(|(share, _)| {
            let is_it = drawn < *share;
            drawn = drawn.saturating_sub(*share);
            is_it
        });
        let choices = kind.expect("the shares make twenty").1;
        let request = choices[random.usize(..choices.len())];
        let name = request.split(' ').next().unwrap_or_default();
        let is_own =
            ["SELECT", "HELLO", "CLIENT", "AUTH"].contains(&name) || name.ends_with("SUBSCRIBE");
        if queues && is_own || watches && ["SELECT", "HELLO"].contains(&name) {
            continue;
        }
        match request {
            "MULTI" => queues = true,
            // It may have failed; then the keys are still watched.
            "EXEC" | "DISCARD" => queues = false,
            "RESET" => (queues, watches) = (false, false),
            _ => watches |= name == "WATCH",
        }
        requests.push(request.to_owned());
    }
    requests
}

/// Replies, without the client IDs in those of `HELLO`.
fn without_ids(replies: &[u8]) -> String {
    let shown = replies.escape_ascii().to_string();
    let mut parts = shown.split("id\\r\\n:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| {
        whole + part.trim_start_matches(|digit: char| digit.is_ascii_digit())
    })
}

#[test]
fn framing_error_with_replies_off_closes_silently() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    for nonsense in NONSENSE {
        let mut client: Client = proxy.client();
        client.send(&[words("CLIENT REPLY OFF"), nonsense.as_bytes().to_vec()].concat());
        client.expect_close();
    }
}
