//! `CLIENT` on other clients: `LIST` and `KILL`, for the clients of the pool on all workers; and the settings that are
//! fixed in a proxy.

use std::collections::HashSet;
use std::fmt::Write;

use bytes::{Bytes, BytesMut};

use crate::net::PeerKey;
use crate::protocol::redis::acl::users::Users;
use crate::protocol::redis::capability::blocking;
use crate::protocol::redis::local::outcome::Outcome;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::client_registry::{Details, Entry};
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::{Span, UnblockReason};
use crate::topology::ServerId;

/// `CLIENT INFO`: the line of this client.
pub(crate) fn info(client: &Client, reply: &mut Reply<'_>) {
    let mut text = String::new();
    write_line(client.entry(), Some("client|info"), &mut text);
    reply.verbatim(&text);
}

/// `CLIENT LIST [TYPE type | ID id ...]`.
pub(crate) fn list(args: Args<'_>, client: &Client, settings: &Settings, reply: &mut Reply<'_>) {
    let words: Vec<&[u8]> = args.skip(2).collect();
    let mut wanted_type = None;
    match words.as_slice() {
        [] => {}
        [option, name] if option.eq_ignore_ascii_case(b"TYPE") => {
            let Some(found) = Type::named(name) else {
                return reply.error_line(&[b"ERR Unknown client type '", name, b"'"]);
            };
            wanted_type = Some(found);
        }
        [option, numbers @ ..] if !numbers.is_empty() && option.eq_ignore_ascii_case(b"ID") => {
            let numbers: Option<Vec<i64>> =
                numbers.iter().map(|id| number::parse_integer(id)).collect();
            let Some(numbers) = numbers else {
                return reply.error("Invalid client ID");
            };
            return reply.verbatim(&lines_of(&numbers, client, settings));
        }
        _ => return reply.error("syntax error"),
    }
    let mut text = String::new();
    for entry in settings.shared.clients.all() {
        if wanted_type.is_none_or(|wanted| wanted == Type::of(&entry.details())) {
            let command = (entry.id == client.id()).then_some("client|list");
            write_line(&entry, command, &mut text);
        }
    }
    reply.verbatim(&text);
}

/// The lines of the clients with these IDs, in this order. A repeated ID counts once: otherwise a small request could
/// produce gigabytes.
fn lines_of(numbers: &[i64], client: &Client, settings: &Settings) -> String {
    let mut seen = HashSet::new();
    let mut text = String::new();
    for id in numbers.iter().filter_map(|id| u64::try_from(*id).ok()) {
        if seen.insert(id)
            && let Some(entry) = settings.shared.clients.find(id)
        {
            let command = (id == client.id()).then_some("client|list");
            write_line(&entry, command, &mut text);
        }
    }
    text
}

/// `CLIENT KILL address`, or `CLIENT KILL` with filters. A client that kills itself gets its reply first.
pub(crate) fn kill(
    args: Args<'_>,
    client: &Client,
    settings: &Settings,
    reply: &mut Reply<'_>,
) -> Outcome {
    let words: Vec<&[u8]> = args.skip(2).collect();
    let filter = match Filter::read(&words, &settings.shared.users.load()) {
        Ok(filter) => filter,
        Err(FilterError::Syntax) => {
            reply.error("syntax error");
            return Outcome::Stay;
        }
        Err(FilterError::Id) => {
            reply.error("client-id should be greater than 0");
            return Outcome::Stay;
        }
        Err(FilterError::Type(name)) => {
            reply.error_line(&[b"ERR Unknown client type '", name, b"'"]);
            return Outcome::Stay;
        }
        Err(FilterError::User(name)) => {
            reply.error_line(&[b"ERR No such user '", name, b"'"]);
            return Outcome::Stay;
        }
    };
    let mut outcome = Outcome::Stay;
    let mut count = 0_usize;
    settings.shared.clients.kill(|entry| {
        let is_me = entry.id == client.id();
        if !filter.chooses(entry) || is_me && filter.skips_me {
            return false;
        }
        count += 1;
        if is_me {
            outcome = Outcome::Close;
        }
        !is_me
    });
    match (words.len(), count) {
        (1, 0) => reply.error("No such client"),
        (1, _) => reply.simple("OK"),
        _ => reply.integer(count),
    }
    outcome
}

/// `CLIENT UNBLOCK id [TIMEOUT | ERROR]` of a client that is not blocked, or with invalid arguments.
pub(crate) fn unblock(args: Args<'_>, reply: &mut Reply<'_>) {
    match Unblock::read(args) {
        Ok(_) => reply.integer(0),
        Err(error) => reply.error(error),
    }
}

/// The plan for the client that `CLIENT UNBLOCK` names.
pub(crate) enum UnblockPlan {
    /// It is not blocked, or the arguments are invalid.
    NotBlocked,
    /// It waited in the proxy itself.
    Unblocked,
    /// Its server does not support it.
    Unsupported,
    /// Each of these servers gets its part of the output buffer.
    PerServer(Vec<(ServerId, Span)>),
}

/// Writes the requests that unblock a client on its servers.
pub(crate) fn write_unblock(
    args: Args<'_>,
    settings: &Settings,
    out: &mut BytesMut,
) -> UnblockPlan {
    let unblock = Unblock::read(args);
    let target = unblock.as_ref().ok().and_then(|unblock| {
        let id = u64::try_from(unblock.id).ok()?;
        Some((id, unblock.reason))
    });
    let Some((id, reason)) = target else {
        return UnblockPlan::NotBlocked;
    };
    let clients = &settings.shared.clients;
    if clients.unblock(id, reason) {
        return UnblockPlan::Unblocked;
    }
    let blocked_on = clients.blocked_on(id);
    if blocked_on.is_empty() {
        return UnblockPlan::NotBlocked;
    }
    let part = |(server, server_client_id): (ServerId, Bytes)| {
        let start = out.len();
        let is_known = blocking::write_unblock(&server_client_id, reason, out);
        let end = out.len();
        is_known.then_some((server, Span { start, end }))
    };
    let parts: Option<Vec<_>> = blocked_on.into_iter().map(part).collect();
    parts.map_or(UnblockPlan::Unsupported, UnblockPlan::PerServer)
}

/// Returns true if the client that `original` names is still blocked where `part` was to unblock it: its server has not
/// yet received the blocking request, or its reply is still in flight. Both take only a moment.
pub(crate) fn is_still_blocked(original: &[u8], part: &[u8], settings: &Settings) -> bool {
    let Ok(Unblock { id, reason }) = Unblock::read(Args::new(original)) else {
        return false;
    };
    let blocked_on = settings
        .shared
        .clients
        .blocked_on(u64::try_from(id).unwrap_or_default());
    blocked_on.iter().any(|(_, server_client_id)| {
        let mut out = BytesMut::new();
        blocking::write_unblock(server_client_id, reason, &mut out) && out == part
    })
}

/// The arguments of `CLIENT UNBLOCK`.
#[derive(Debug)]
struct Unblock {
    id: i64,
    reason: UnblockReason,
}

impl Unblock {
    fn read(args: Args<'_>) -> Result<Self, &'static str> {
        let words: Vec<&[u8]> = args.skip(2).collect();
        let (id, reason) = match words[..] {
            [id] => (id, UnblockReason::Timeout),
            [id, reason] if reason.eq_ignore_ascii_case(b"TIMEOUT") => (id, UnblockReason::Timeout),
            [id, reason] if reason.eq_ignore_ascii_case(b"ERROR") => (id, UnblockReason::Error),
            [_, _] => return Err("CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
            _ => {
                return Err(
                    "unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.",
                );
            }
        };
        let id = number::parse_integer(id).ok_or("value is not an integer or out of range")?;
        Ok(Self { id, reason })
    }
}

/// `CLIENT NO-EVICT`: the proxy never evicts clients, so both settings hold already.
pub(crate) fn no_evict(args: Args<'_>, reply: &mut Reply<'_>) {
    match switch(args) {
        Some(_) => reply.simple("OK"),
        None => reply.error("syntax error"),
    }
}

/// `CLIENT NO-TOUCH`: servers do not distinguish between clients.
pub(crate) fn no_touch(args: Args<'_>, reply: &mut Reply<'_>) {
    match switch(args) {
        Some(false) => reply.simple("OK"),
        Some(true) => {
            reply
                .error("unsupported option ON of 'CLIENT NO-TOUCH': server connections are shared");
        }
        None => reply.error("syntax error"),
    }
}

/// `CLIENT TRACKING`: always off.
pub(crate) fn tracking(args: Args<'_>, reply: &mut Reply<'_>) {
    let options: [&[u8]; 4] = [b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP"];
    let is_known = args.clone().skip(3).all(|word| {
        let mut known = options.iter();
        known.any(|option| option.eq_ignore_ascii_case(word))
    });
    match switch(args) {
        Some(true) => reply.error(
            "unsupported option ON of 'CLIENT TRACKING': server connections are shared, so a server \
             cannot tell whose keys to track; turn client-side caching off",
        ),
        Some(false) if is_known => reply.simple("OK"),
        _ => reply.error("syntax error"),
    }
}

/// `CLIENT CACHING`, as in a Redis with tracking off.
pub(crate) fn caching(reply: &mut Reply<'_>) {
    reply.error(
        "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT \
         mode enabled",
    );
}

/// `CLIENT TRACKINGINFO`, as in a Redis with tracking off.
pub(crate) fn tracking_info(reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk("flags");
    reply.set(1);
    reply.bulk("off");
    reply.bulk("redirect");
    reply.integer(-1);
    reply.bulk("prefixes");
    reply.array(0);
}

/// The third argument, if it is `ON` or `OFF`.
fn switch(mut args: Args<'_>) -> Option<bool> {
    let word = args.nth(2)?;
    let is_on = word.eq_ignore_ascii_case(b"ON");
    (is_on || word.eq_ignore_ascii_case(b"OFF")).then_some(is_on)
}

/// Redis's client types. A proxy has no replicas and no master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Normal,
    PubSub,
    Master,
    Replica,
}

impl Type {
    fn named(name: &[u8]) -> Option<Self> {
        let names: [(&[u8], Self); 5] = [
            (b"normal", Self::Normal),
            (b"pubsub", Self::PubSub),
            (b"master", Self::Master),
            (b"replica", Self::Replica),
            (b"slave", Self::Replica),
        ];
        names
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, found)| found)
    }

    fn of(details: &Details) -> Self {
        if details.subscriptions == [0; 3] {
            Self::Normal
        } else {
            Self::PubSub
        }
    }
}

/// The filters of `CLIENT KILL`. If one is given twice, the last one counts, as in Redis.
#[derive(Debug)]
struct Filter<'w> {
    id: Option<u64>,
    address: Option<&'w [u8]>,
    local: Option<&'w [u8]>,
    wanted_type: Option<Type>,
    user: Option<u64>,
    skips_me: bool,
}

/// The reason why a filter is invalid.
#[derive(Debug)]
enum FilterError<'w> {
    Syntax,
    Id,
    Type(&'w [u8]),
    User(&'w [u8]),
}

impl<'w> Filter<'w> {
    fn read(words: &[&'w [u8]], users: &Users) -> Result<Self, FilterError<'w>> {
        let mut filter = Self {
            id: None,
            address: None,
            local: None,
            wanted_type: None,
            user: None,
            skips_me: true,
        };
        if let [address] = words {
            filter.address = Some(address);
            filter.skips_me = false;
            return Ok(filter);
        }
        for pair in words.chunks(2) {
            let [option, value] = *pair else {
                return Err(FilterError::Syntax);
            };
            let is = |name: &str| name.as_bytes().eq_ignore_ascii_case(option);
            if is("ID") {
                let id = number::parse_integer(value).and_then(|id| u64::try_from(id).ok());
                filter.id = Some(id.filter(|id| *id > 0).ok_or(FilterError::Id)?);
            } else if is("TYPE") {
                filter.wanted_type = Some(Type::named(value).ok_or(FilterError::Type(value))?);
            } else if is("ADDR") {
                filter.address = Some(value);
            } else if is("LADDR") {
                filter.local = Some(value);
            } else if is("USER") {
                let user = users.get(value).ok_or(FilterError::User(value))?;
                filter.user = Some(user.identity());
            } else if is("SKIPME") && value.eq_ignore_ascii_case(b"yes") {
                filter.skips_me = true;
            } else if is("SKIPME") && value.eq_ignore_ascii_case(b"no") {
                filter.skips_me = false;
            } else {
                return Err(FilterError::Syntax);
            }
        }
        Ok(filter)
    }

    fn chooses(&self, entry: &Entry) -> bool {
        self.id.is_none_or(|wanted| wanted == entry.id)
            && self
                .address
                .is_none_or(|wanted| wanted == entry.arrival.peer.as_bytes())
            && self
                .local
                .is_none_or(|wanted| wanted == entry.arrival.local.as_bytes())
            && self
                .wanted_type
                .is_none_or(|wanted| wanted == Type::of(&entry.details()))
            && self
                .user
                .is_none_or(|wanted| wanted == entry.details().user)
    }
}

/// One line, with the fields that apply to a proxy. The last command and its time are known only for the client that
/// sends the request.
pub(crate) fn write_line(entry: &Entry, command: Option<&str>, text: &mut String) {
    let id = entry.id;
    let details = entry.details();
    let [channels, patterns, shards] = details.subscriptions;
    let flags = match Type::of(&details) {
        _ if details.is_monitor => 'O',
        Type::PubSub => 'P',
        _ if details.is_blocked() => 'b',
        _ => 'N',
    };
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "id={id} addr={} laddr={} name={} age={} ",
        entry.arrival.peer,
        entry.arrival.local,
        details.name.escape_ascii(),
        entry.since.elapsed().as_secs(),
    );
    if command.is_some() {
        text.push_str("idle=0 ");
    }
    let _ = write!(
        text,
        "flags={flags} db={} sub={channels} psub={patterns} ssub={shards} ",
        details.db,
    );
    if let Some(command) = command {
        let _ = write!(text, "cmd={command} ");
    }
    let _ = write!(
        text,
        "user={} redir=-1 resp={} lib-name={} lib-ver={}",
        details.user_name.escape_ascii(),
        details.resp.number(),
        details.library.escape_ascii(),
        details.version.escape_ascii(),
    );
    // Not in Redis, where all clients of a unix socket look the same.
    if let Some(PeerKey::Uid(uid)) = entry.arrival.key {
        let _ = write!(text, " uid={uid}");
    }
    text.push('\n');
}
