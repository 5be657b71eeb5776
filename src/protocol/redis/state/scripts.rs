//! The scripts that went through the proxy: the source of the EVAL fallback if a server does not know the script of an
//! `EVALSHA`.
//!
//! A server may lack a script that its clients rely on: it was restarted, it was down when the script was loaded, or a
//! client ran `EVAL` once on the server of another key. The bodies of `SCRIPT LOAD` and of `EVAL` are cached, as Redis
//! caches both. One cache per pool, shared by its workers, and bounded: the least recently used bodies of `EVAL` are
//! evicted first, since programs that write their arguments into the body make a new one each time.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use sha1_smol::Sha1;

use crate::protocol::ScriptOp;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::encode::{write_bulk, write_request};
use crate::protocol::redis::resp::error_line::UNKNOWN_SCRIPT;

/// The maximum length of a cached body.
const BODY_BYTES: usize = 1 << 20;

/// The maximum size of all bodies of one pool.
const ALL_BYTES: usize = 16 << 20;

/// The maximum number of bodies of one pool.
const BODIES: usize = 4096;

/// The number of slots of [`RecentEvals`].
const RECENT: usize = 256;

/// The scripts of one pool.
#[derive(Default)]
pub struct Scripts {
    store: Mutex<ScriptStore>,
    /// Changes when bodies are removed: the contents of [`RecentEvals`] are then invalid.
    epoch: AtomicU64,
    /// The number of times that the servers were sent `SCRIPT FLUSH`.
    flushes: AtomicU64,
}

#[derive(Default)]
struct ScriptStore {
    bodies: HashMap<[u8; 20], Entry>,
    /// The digests by [`Entry::rank`]: the first is evicted next, without a search.
    ranks: BTreeMap<Rank, [u8; 20]>,
    bytes: usize,
    uses: u64,
}

struct Entry {
    body: Bytes,
    rank: Rank,
}

/// The order of eviction: bodies of `EVAL` first, and the least recently used of them before all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// True if it was loaded by `SCRIPT LOAD`.
    loaded: bool,
    /// The number of its last use.
    used: u64,
}

/// The bodies of `EVAL` that one worker recently gave to [`Scripts`]: a repeated body costs neither its digest nor a
/// lock.
#[derive(Debug)]
pub struct RecentEvals(Box<[Cell<u64>]>);

impl Scripts {
    /// Caches a body that all servers have loaded.
    pub(crate) fn on_load(&self, body: &[u8]) {
        self.cache(body, true);
    }

    /// Records a command about scripts; `body` is that of an EVAL.
    pub(crate) fn on_script(&self, op: ScriptOp, body: &[u8], recent: &RecentEvals) {
        match op {
            ScriptOp::Eval => self.on_eval(body, recent),
            ScriptOp::EvalSha => {}
            ScriptOp::Flush => self.on_flush(),
        }
    }

    /// Caches a body that is sent to one server.
    pub(crate) fn on_eval(&self, body: &[u8], recent: &RecentEvals) {
        let fingerprint = fingerprint(body, self.epoch.load(Ordering::Relaxed));
        let slot = usize::try_from(fingerprint % RECENT as u64).unwrap_or(0);
        let Some(slot) = recent.0.get(slot) else {
            return;
        };
        if slot.replace(fingerprint) != fingerprint {
            self.cache(body, false);
        }
    }

    /// Removes all scripts.
    pub(crate) fn on_flush(&self) {
        *self.store() = ScriptStore::default();
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.flushes.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of flushes.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// The body with this digest, in hexadecimal of any case.
    pub(crate) fn find(&self, digest: &[u8]) -> Option<Bytes> {
        let digest = read_digest(digest)?;
        self.store().use_body(&digest, false)
    }

    fn cache(&self, body: &[u8], loaded: bool) {
        if body.len() > BODY_BYTES {
            return;
        }
        let digest = Sha1::from(body).digest().bytes();
        let mut store = self.store();
        if store.use_body(&digest, loaded).is_some() {
            return;
        }
        while store.bodies.len() >= BODIES || store.bytes + body.len() > ALL_BYTES {
            store.evict_one();
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
        store.insert(digest, body, loaded);
    }

    /// A panic elsewhere while the lock was held leaves a consistent store: it is used as it is.
    fn store(&self) -> MutexGuard<'_, ScriptStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScriptStore {
    /// The body with this digest, which becomes the most recently used.
    fn use_body(&mut self, digest: &[u8; 20], loaded: bool) -> Option<Bytes> {
        let used = self.next_use();
        let entry = self.bodies.get_mut(digest)?;
        self.ranks.remove(&entry.rank);
        entry.rank.used = used;
        entry.rank.loaded |= loaded;
        self.ranks.insert(entry.rank, *digest);
        Some(entry.body.clone())
    }

    fn insert(&mut self, digest: [u8; 20], body: &[u8], loaded: bool) {
        let used = self.next_use();
        let rank = Rank { loaded, used };
        self.bytes += body.len();
        self.ranks.insert(rank, digest);
        let body = Bytes::copy_from_slice(body);
        self.bodies.insert(digest, Entry { body, rank });
    }

    const fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn evict_one(&mut self) {
        let next = self.ranks.pop_first();
        match next.and_then(|(_, digest)| self.bodies.remove(&digest)) {
            Some(entry) => self.bytes -= entry.body.len(),
            None => self.bytes = 0,
        }
    }
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripts").finish_non_exhaustive()
    }
}

impl Default for RecentEvals {
    fn default() -> Self {
        Self((0..RECENT).map(|_| Cell::new(0)).collect())
    }
}

/// Returns true if a reply contains the error of a server that does not know a script.
pub(crate) fn contains_noscript(reply: &[u8]) -> bool {
    memchr::memmem::find(reply, UNKNOWN_SCRIPT).is_some()
}

/// Writes an `EVALSHA` as `EVAL`. Returns false if the body is unknown.
pub(crate) fn write_eval(scripts: &Scripts, frame: &[u8], out: &mut BytesMut) -> bool {
    let mut args = Args::new(frame);
    let (Some(name), Some(digest)) = (args.next_span(), args.next_span()) else {
        return false;
    };
    let Some(body) = scripts.find(digest.key.of(frame)) else {
        return false;
    };
    let only_reads = name.key.of(frame).len() > b"EVALSHA".len();
    out.put_slice(frame.get(..name.unit.start).unwrap_or_default());
    write_bulk(if only_reads { b"EVAL_RO" } else { b"EVAL" }, out);
    write_bulk(&body, out);
    out.put_slice(frame.get(digest.unit.end..).unwrap_or_default());
    true
}

/// Writes the request that loads the script with this digest. Returns false if the body is unknown.
pub(crate) fn write_load(scripts: &Scripts, digest: &[u8], out: &mut BytesMut) -> bool {
    let Some(body) = scripts.find(digest) else {
        return false;
    };
    write_request(&[b"SCRIPT", b"LOAD", &body], out);
    true
}

/// Returns true if a script cannot access any key: it calls no command, and cannot obtain a function that does. This
/// must be obvious from its text; in doubt it is not pure.
pub(crate) fn is_pure(body: &[u8]) -> bool {
    const WAYS: [&[u8]; 6] = [b"server", b"load", b"_G", b"fenv", b"require", b"pairs"];
    const HARMLESS: [&[u8]; 6] = [
        b".sha1hex",
        b".status_reply",
        b".error_reply",
        b".log",
        b".LOG_",
        b".setresp",
    ];
    let is_clean = |way: &&[u8]| memchr::memmem::find(body, way).is_none();
    let is_harmless = |at: usize| {
        let rest = body.get(at + b"redis".len()..).unwrap_or_default();
        HARMLESS.iter().any(|name| rest.starts_with(name))
    };
    WAYS.iter().all(is_clean) && memchr::memmem::find_iter(body, b"redis").all(is_harmless)
}

/// A fingerprint that bodies do not share by accident. Whoever makes it collide only prevents that his own script is
/// cached.
fn fingerprint(body: &[u8], epoch: u64) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let (words, rest) = body.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let start = epoch.wrapping_add(body.len() as u64).wrapping_mul(FACTOR);
    let mixed = words
        .iter()
        .chain([&last])
        .fold(start, |fingerprint, word| {
            (fingerprint.rotate_left(29) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR)
        });
    (mixed ^ (mixed >> 32)) | 1
}

fn read_digest(hex: &[u8]) -> Option<[u8; 20]> {
    let mut digest = [0; 20];
    let (pairs, []) = hex.as_chunks::<2>() else {
        return None;
    };
    if pairs.len() != digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reply of redis-server 7.0.15 to `SCRIPT LOAD "return 1"`.
    const RETURN_1: &[u8] = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db";

    #[test]
    fn script_is_found_by_sha_in_any_case_until_flushed() {
        let (scripts, recent) = (Scripts::default(), RecentEvals::default());
        assert_eq!(scripts.find(RETURN_1), None);
        for round in 0..2 {
            scripts.on_eval(b"return 1", &recent);
            assert_eq!(scripts.find(RETURN_1).unwrap(), "return 1", "{round}");
            let upper = RETURN_1.to_ascii_uppercase();
            assert_eq!(scripts.find(&upper).unwrap(), "return 1");
            scripts.on_flush();
            assert_eq!(scripts.find(RETURN_1), None);
        }
        for digest in [&b""[..], b"e0", &[b'x'; 40], &[b'a'; 41]] {
            assert_eq!(scripts.find(digest), None);
        }
    }

    #[test]
    fn eval_bodies_are_bounded_and_never_evict_loaded_ones() {
        let (scripts, recent) = (Scripts::default(), RecentEvals::default());
        scripts.on_load(b"return 1");
        for n in 0..2 * BODIES {
            scripts.on_eval(format!("return '{n}'").as_bytes(), &recent);
        }
        let large = vec![b' '; BODY_BYTES];
        for n in 0..2 * (ALL_BYTES / BODY_BYTES) {
            let mut body = large.clone();
            body[n] = b'\n';
            scripts.on_eval(&body, &recent);
        }
        scripts.on_load(&vec![b' '; BODY_BYTES + 1]);
        let store = scripts.store();
        assert!(store.bodies.len() <= BODIES && store.bytes <= ALL_BYTES);
        let sum: usize = store.bodies.values().map(|entry| entry.body.len()).sum();
        assert_eq!(store.bytes, sum);
        assert_eq!(store.ranks.len(), store.bodies.len());
        drop(store);
        assert_eq!(scripts.find(RETURN_1).unwrap(), "return 1");
    }

    #[test]
    fn evicted_script_is_remembered_when_seen_again() {
        let (scripts, recent) = (Scripts::default(), RecentEvals::default());
        scripts.on_eval(b"return 1", &recent);
        for n in 0..BODIES {
            scripts.on_load(format!("return '{n}'").as_bytes());
        }
        assert_eq!(scripts.find(RETURN_1), None);
        scripts.on_eval(b"return 1", &recent);
        assert_eq!(scripts.find(RETURN_1).unwrap(), "return 1");
    }

    #[test]
    fn the_least_recently_used_eval_is_evicted_first() {
        let (scripts, recent) = (Scripts::default(), RecentEvals::default());
        let other = b"return 'other'";
        let digest = Sha1::from(other).digest().to_string();
        scripts.on_eval(b"return 1", &recent);
        scripts.on_eval(other, &recent);
        for n in 2..BODIES {
            scripts.on_load(format!("return '{n}'").as_bytes());
        }
        assert!(scripts.find(RETURN_1).is_some());
        scripts.on_load(b"return 2");
        assert_eq!(scripts.find(digest.as_bytes()), None);
        assert!(scripts.find(RETURN_1).is_some());
    }

    #[test]
    fn evalsha_is_rewritten_as_eval() {
        let scripts = Scripts::default();
        scripts.on_load(b"return 1");
        let digest = str::from_utf8(RETURN_1).unwrap();
        for (name, expected) in [("EVALSHA", "$4\r\nEVAL"), ("evalsha_ro", "$7\r\nEVAL_RO")] {
            let rest = "$1\r\n1\r\n$1\r\nk\r\n";
            let frame = format!(
                "*4\r\n${}\r\n{name}\r\n$40\r\n{digest}\r\n{rest}",
                name.len()
            );
            let mut out = BytesMut::new();
            assert!(write_eval(&scripts, frame.as_bytes(), &mut out));
            assert_eq!(out, format!("*4\r\n{expected}\r\n$8\r\nreturn 1\r\n{rest}"));
        }
    }

    #[test]
    fn script_is_pure_only_if_obviously_so() {
        for (body, expected) in [
            ("return 10", true),
            ("return {KEYS[1], ARGV[1]}", true),
            ("return redis.sha1hex(ARGV[1])", true),
            ("return cjson.encode({1, 2})", true),
            (
                "redis.log(redis.LOG_NOTICE, 'x') return redis.error_reply('x')",
                true,
            ),
            ("return redis.call('get', 'x')", false),
            ("return redis.pcall('get', 'x')", false),
            ("return redis[ARGV[1]]('get', 'x')", false),
            ("local r = redis; return r.call('get', 'x')", false),
            ("return server.call('get', 'x')", false),
            ("return _G['re' .. 'dis'].call('get', 'x')", false),
            ("return loadstring(ARGV[1])()", false),
            ("return getfenv()['re' .. 'dis'].call('get', 'x')", false),
        ] {
            assert_eq!(is_pure(body.as_bytes()), expected, "{body}");
        }
    }
}
