//! What the proxy remembers of one client. An idle client costs few bytes: names are allocated when they are set.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Reply, Resp, Settings};
use crate::protocol::Lane;
use crate::protocol::redis::{Args, lane};

/// Bytes of a name at the most: what a client may make the proxy keep.
const NAME_BYTES: usize = 1024;

/// The state of one connection.
#[derive(Debug)]
pub struct Client {
    id: u64,
    authenticated: bool,
    resp: Resp,
    db: u32,
    lane: Lane,
    names: Option<Box<Names>>,
}

#[derive(Debug, Default)]
struct Names {
    client: Box<[u8]>,
    library: Box<[u8]>,
    version: Box<[u8]>,
}

impl Client {
    /// A client that has just connected; its number is unique in this process.
    pub fn new(settings: &Settings) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            authenticated: settings.auth.is_none(),
            resp: Resp::default(),
            db: settings.db,
            lane: Lane::FIRST,
            names: None,
        }
    }

    /// Its number, counted from 1.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Whether it gave the password, or needs none.
    #[inline]
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    pub(super) const fn set_authenticated(&mut self, authenticated: bool) {
        self.authenticated = authenticated;
    }

    /// The version of the protocol in which it wants its replies.
    #[inline]
    pub const fn resp(&self) -> Resp {
        self.resp
    }

    pub(super) fn set_resp(&mut self, resp: Resp, settings: &Settings) {
        self.resp = resp;
        self.lane = lane::of(self.resp, self.db, settings);
    }

    /// Goes over to a database that the pool offers.
    pub(super) fn select(&mut self, db: u32, settings: &Settings) {
        self.db = db;
        self.lane = lane::of(self.resp, self.db, settings);
    }

    /// Where its requests travel.
    #[inline]
    pub const fn lane(&self) -> Lane {
        self.lane
    }

    /// As if it had just connected; the number stays.
    pub(super) fn reset(&mut self, settings: &Settings) {
        self.authenticated = settings.auth.is_none();
        self.resp = Resp::default();
        self.db = settings.db;
        self.lane = Lane::FIRST;
        self.names = None;
    }

    pub(super) fn set_name(&mut self, name: &[u8], reply: &mut Reply<'_>) {
        if self.rename(name, reply) {
            reply.simple("OK");
        }
    }

    /// Takes the name or writes the error; an empty one unsets it.
    pub(super) fn rename(&mut self, name: &[u8], reply: &mut Reply<'_>) -> bool {
        let ok = is_word(name);
        if ok {
            self.names.get_or_insert_default().client = name.into();
        } else {
            reply.error("Client names cannot contain spaces, newlines or special characters.");
        }
        ok
    }

    pub(super) fn set_info(&mut self, mut args: Args<'_>, reply: &mut Reply<'_>) {
        let attribute = args.nth(2).unwrap_or_default();
        let value = args.next().unwrap_or_default();
        let is_library = attribute.eq_ignore_ascii_case(b"LIB-NAME");
        if !is_library && !attribute.eq_ignore_ascii_case(b"LIB-VER") {
            return reply.error_line(&[b"ERR Unrecognized option '", attribute, b"'"]);
        }
        if !is_word(value) {
            let attribute = attribute.to_ascii_lowercase();
            let rest = b" cannot contain spaces, newlines or special characters.";
            return reply.error_line(&[b"ERR ", &attribute, rest]);
        }
        let names = self.names.get_or_insert_default();
        if is_library {
            names.library = value.into();
        } else {
            names.version = value.into();
        }
        reply.simple("OK");
    }

    pub(super) fn write_name(&self, reply: &mut Reply<'_>) {
        match self.names.as_deref() {
            Some(names) if !names.client.is_empty() => reply.bulk(&names.client),
            _ => reply.null(),
        }
    }

    /// The fields of `CLIENT INFO` that mean something at a proxy.
    pub(super) fn write_info(&self, reply: &mut Reply<'_>) {
        let empty = Names::default();
        let names = self.names.as_deref().unwrap_or(&empty);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "id={} name={} flags=N db={} sub=0 psub=0 ssub=0 multi=-1 cmd=client|info user=default \
             redir=-1 resp={} lib-name={} lib-ver={}",
            self.id,
            names.client.escape_ascii(),
            self.db,
            self.resp.number(),
            names.library.escape_ascii(),
            names.version.escape_ascii(),
        );
        reply.verbatim(&text);
    }
}

/// `CLIENT NO-EVICT`: the proxy never drops a client for want of memory, so both settings hold already.
pub(super) fn no_evict(mut args: Args<'_>, reply: &mut Reply<'_>) {
    let setting = args.nth(2).unwrap_or_default();
    if setting.eq_ignore_ascii_case(b"ON") || setting.eq_ignore_ascii_case(b"OFF") {
        reply.simple("OK");
    } else {
        reply.error("syntax error");
    }
}

/// What Redis takes as a name: printable ASCII without spaces.
fn is_word(name: &[u8]) -> bool {
    name.len() <= NAME_BYTES && name.iter().all(u8::is_ascii_graphic)
}
