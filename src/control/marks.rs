//! The watchers of the marks of a pool with `placement_guard`: they tell what they read to the pool's topology, and pass on
//! to the coordinator of a move what the workers vouch for.
//!
//! ```text
//! channel, each second, a connection that met news --> HGETALL, INFO --> TopologyStore: set_mark
//! Vouching: all workers have adopted a hold, and are quiet --> PUBLISH  (to the coordinator)
//! a hold is open for too long ------------------------------> EVAL: abort, unless it is decided
//! ```
//!
//! Invariants: one task a server and process reads its mark, one reading after another, so an old answer never follows a newer
//! one; a hold is let go only when its end was read.

use std::collections::HashMap;
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::config::PoolConfig;
use crate::control::conn::first_len;
use crate::net::{Dial, Stream};
use crate::protocol::UpstreamError;
use crate::protocol::redis::mark::{Change, Outcome, read, write_read};
use crate::protocol::redis::resp::encode::write_request;
use crate::topology::{Decision, Mark, PoolServer, SeenMark, ServerId, State, TopologyStore};

/// How often a mark is read without a reason. Notices may be lost with their connection.
const INTERVAL: Duration = Duration::from_secs(1);

/// The pause before another connection after one that has not lasted; doubled after each further one, up to [`INTERVAL`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The time for a reply.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time after which a hold is proposed to be aborted: its coordinator has crashed, or is too slow.
const ABORT_AFTER: Duration = Duration::from_secs(1);

/// The time for which a mark must be missing before it is written again. Less than [`INTERVAL`]: at the next look.
const RECALL_AFTER: Duration = Duration::from_millis(500);

/// The end of the notice of a mark that an operator removes: the name of that change.
const REMOVED: &[u8] = b"\r\nremove\r\n";

/// The longest reply: a mark with the placements of thousands of servers.
const REPLY_MAX_BYTES: usize = 64 << 20;

/// Watches the marks at all servers of a pool, as long as its configuration says so, until it is aborted.
pub async fn watch_marks(store: Arc<TopologyStore>) {
    let mut changes = store.changes();
    let mut tasks: HashMap<ServerId, AbortOnDropHandle<()>> = HashMap::new();
    loop {
        let topology = store.topology();
        let is_wanted = topology.config.placement_guard;
        tasks.retain(|server, _| is_wanted && topology.index_of(*server).is_some());
        if is_wanted {
            for server in topology.servers() {
                tasks.entry(server.id).or_insert_with(|| {
                    let watch = watch_mark(Arc::clone(&store), Arc::clone(server));
                    AbortOnDropHandle::new(tokio::spawn(watch))
                });
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Completes when the marks of all servers have been read once, or could not be: before that, clients would meet a move that
/// their proxy does not know. Completes at once in a pool without `placement_guard`, and after five seconds in any.
pub async fn marks_read(store: &TopologyStore) {
    let reading = async {
        loop {
            let topology = store.topology();
            let servers: Vec<_> = topology.servers().iter().map(|server| server.id).collect();
            if topology.config.placement_guard {
                store.mark_reading().all_tried(&servers).await;
            }
            // The first mark may name further servers.
            if store.epoch() == topology.epoch {
                return;
            }
        }
    };
    // Servers that hang must not keep the pool closed.
    let _ = timeout(PATIENCE, reading).await;
}

/// Watches the mark at one server until it is aborted.
async fn watch_mark(store: Arc<TopologyStore>, server: Arc<PoolServer>) {
    let mut is_failing = false;
    let mut pause = Duration::ZERO;
    loop {
        let config = Arc::clone(&store.topology().config);
        let begun = Instant::now();
        let Err(error) = follow(&store, &server, &config, &mut is_failing).await;
        store.mark_reading().set_tried(server.id);
        if !is_failing {
            let (pool, server) = (&config.name, &server.name);
            tracing::warn!(pool, server, reason = %error, "the mark cannot be read");
        }
        is_failing = true;
        // At once after a connection that has lasted: the keys of a server without a known mark may wait.
        pause = if begun.elapsed() >= INTERVAL {
            Duration::ZERO
        } else {
            (pause * 2).clamp(FIRST_PAUSE, INTERVAL)
        };
        sleep(pause).await;
    }
}

/// The reason why a mark cannot be read.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Connection(UpstreamError),
    #[error("the server said '{0}'")]
    Reply(String),
    #[error("other connections reach another process at its address")]
    Elsewhere,
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        Self::Connection(error)
    }
}

impl Failure {
    fn reply(reply: &[u8]) -> Self {
        Self::Reply(reply.trim_ascii_end().escape_ascii().to_string())
    }
}

/// Follows the mark at a server over a new connection.
async fn follow(
    store: &TopologyStore,
    server: &PoolServer,
    config: &PoolConfig,
    is_failing: &mut bool,
) -> Result<Infallible, Failure> {
    let key = Mark::key(&config.name, config.redis_db);
    store.mark_reading().forget(server.id);
    let mut conn = MarkConn::open(store, server, config, &key).await?;
    let Err(error) = follow_over(&mut conn, &key, (store, server, config), is_failing).await;
    // No other connection to this server hears that again.
    if conn.is_removed {
        store.forget_ended_move();
    }
    Err(error)
}

async fn follow_over(
    conn: &mut MarkConn,
    key: &str,
    (store, server, config): (&TopologyStore, &PoolServer, &PoolConfig),
    is_failing: &mut bool,
) -> Result<Infallible, Failure> {
    let mut hold = OpenHold::default();
    let mut met = None;
    let mut is_first = true;
    let mut missing_since: Option<Instant> = None;
    loop {
        let seen = conn.read(key).await?;
        *is_failing = false;
        hold.look(&seen);
        // The same process has lost it while nobody listened: it was asked to.
        conn.is_removed |= mem::take(&mut is_first) && store.lacks_ended_move(server, &seen);
        if store.set_mark(server, seen.clone()) {
            log_news(config, server, &seen);
        }
        store.mark_reading().set_tried(server.id);
        if met.take().is_some_and(|run_id| run_id != seen.run_id) {
            return Err(Failure::Elsewhere);
        }
        if mem::take(&mut conn.is_removed) {
            store.forget_ended_move();
        }
        let ended = store.ended_move(&server.name);
        if let Some(mark) = ended.filter(|_| seen.mark.is_none()) {
            // Another connection may be about to hear that all marks are removed.
            let since = *missing_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= RECALL_AFTER {
                missing_since = None;
                conn.recall(key, &mark).await?;
                continue;
            }
        } else {
            missing_since = None;
        }
        loop {
            tokio::select! {
                pushed = conn.pushed() => pushed?,
                () = sleep(INTERVAL) => {}
                run_id = store.mark_reading().wanted(server.id) => met = Some(run_id),
                ids = store.vouching().all_vouched(server.id, hold.number), if hold.needs_word => {
                    hold.needs_word = false;
                    let word = json!({
                        "proxy": store.proxy(),
                        "hold": hold.number,
                        "run": seen.run_id,
                        "ids": ids.iter().map(|id| String::from_utf8_lossy(id)).collect::<Vec<_>>(),
                    });
                    conn.vouch(config, &word.to_string()).await?;
                    continue;
                }
                () = sleep_until(hold.since + ABORT_AFTER), if hold.is_open => {
                    conn.abort(key, &hold.move_id, hold.number).await?;
                    hold.since = Instant::now();
                }
            }
            break;
        }
    }
}

/// The last hold at a server, as its watcher knows it.
struct OpenHold {
    move_id: String,
    number: u64,
    /// When it was first read, or last proposed to be aborted.
    since: Instant,
    /// It was not decided when the mark was read last, and the server may decide it.
    is_open: bool,
    /// The coordinator waits for what the workers vouch for.
    needs_word: bool,
}

impl Default for OpenHold {
    fn default() -> Self {
        Self {
            move_id: String::new(),
            number: 0,
            since: Instant::now(),
            is_open: false,
            needs_word: false,
        }
    }
}

impl OpenHold {
    fn look(&mut self, seen: &SeenMark) {
        // With another run id, nothing can be proposed there: a coordinator renews the mark, or it is that of the server which
        // this one is a replica of.
        let armed = seen
            .mark
            .as_deref()
            .filter(|mark| mark.state == State::Armed && mark.run_id == seen.run_id);
        let Some(mark) = armed else {
            (self.is_open, self.needs_word) = (false, false);
            return;
        };
        // After a restart a coordinator decides.
        self.is_open = mark.decision == Decision::Open && mark.run_id == seen.run_id;
        let is_new = self.number != mark.hold || self.move_id != mark.move_id;
        if is_new {
            self.move_id.clone_from(&mark.move_id);
            self.number = mark.hold;
            self.since = Instant::now();
        }
        self.needs_word = self.is_open && (is_new || self.needs_word);
    }
}

fn log_news(config: &PoolConfig, server: &PoolServer, seen: &SeenMark) {
    let (pool, server) = (&config.name, &server.name);
    if let Some(mark) = seen.mark.as_deref() {
        let (state, hold, decision) = (mark.state.name(), mark.hold, mark.decision.name());
        let (id, moved) = (&mark.move_id, mark.moved.len());
        tracing::debug!(pool, server, id, state, hold, decision, moved, "mark");
    } else {
        tracing::debug!(pool, server, "no mark");
    }
}

/// A connection for a mark: RESP3, so that notices come between replies.
struct MarkConn {
    stream: Stream,
    received: BytesMut,
    /// What is being received is a notice.
    is_push: bool,
    /// A notice has said that an operator removes the mark.
    is_removed: bool,
}

/// A reply, or a notice in between.
enum Message {
    Reply(Bytes),
    Notice,
}

impl MarkConn {
    async fn open(
        store: &TopologyStore,
        server: &PoolServer,
        config: &PoolConfig,
        key: &str,
    ) -> Result<Self, Failure> {
        let known = server.in_use().filter(|_| store.resolves());
        let dial = Dial {
            keepalive: true,
            tls: config.connector().map(|tls| &**tls),
        };
        let connecting = Stream::connect(&server.address, known, dial);
        let stream = timeout(PATIENCE, connecting).await;
        let stream = stream.map_err(|_| UpstreamError::TimedOut)?;
        let mut conn = Self {
            stream: stream.map_err(|error| UpstreamError::from(&error))?,
            received: BytesMut::new(),
            is_push: false,
            is_removed: false,
        };
        let name = Mark::other_name(&config.name, config.redis_db, store.proxy());
        let mut request = BytesMut::new();
        let mut replies = 2;
        if let Some(auth) = config.server_auth() {
            write_request(&auth.words(), &mut request);
            replies += 1;
        }
        write_request(&[b"HELLO", b"3"], &mut request);
        write_request(&[b"CLIENT", b"SETNAME", name.as_bytes()], &mut request);
        for reply in conn.call(&request, replies).await? {
            accepted(&reply)?;
        }
        let mut request = BytesMut::new();
        write_request(&[b"SUBSCRIBE", key.as_bytes()], &mut request);
        // Its confirmation is a notice.
        conn.call(&request, 0).await?;
        Ok(conn)
    }

    async fn read(&mut self, key: &str) -> Result<SeenMark, Failure> {
        let mut request = BytesMut::new();
        write_read(key, &mut request);
        let replies = self.call(&request, 2).await?;
        let [fields, info] = replies.as_slice() else {
            return Err(UpstreamError::BadReply.into());
        };
        read(fields, info).map_err(|reply| Failure::reply(&reply))
    }

    async fn vouch(&mut self, config: &PoolConfig, word: &str) -> Result<(), Failure> {
        let channel = Mark::acks_channel(&config.name, config.redis_db);
        let mut request = BytesMut::new();
        write_request(
            &[b"PUBLISH", channel.as_bytes(), word.as_bytes()],
            &mut request,
        );
        let replies = self.call(&request, 1).await?;
        replies.iter().try_for_each(accepted)
    }

    /// Writes the mark of a move that has ended and that the server has lost, as by FLUSHALL: a proxy that starts from an old
    /// file must find it.
    async fn recall(&mut self, key: &str, mark: &Mark) -> Result<(), Failure> {
        let mut request = BytesMut::new();
        Change::Recall(mark).write(key, &mut request);
        let replies = self.call(&request, 1).await?;
        let reply = replies.first().ok_or(UpstreamError::BadReply)?;
        match Outcome::read(reply) {
            Ok(outcome) => {
                tracing::info!(key, ?outcome, "mark of an ended move lost; written again");
            }
            // A server that takes no writes now may do so later.
            Err(reply) => {
                let reply = reply.escape_ascii();
                tracing::debug!(key, %reply, "mark of an ended move lost");
            }
        }
        Ok(())
    }

    /// Proposes to abort a hold. What was decided is read afterwards.
    async fn abort(&mut self, key: &str, move_id: &str, hold: u64) -> Result<(), Failure> {
        let mut request = BytesMut::new();
        Change::Abort { move_id, hold }.write(key, &mut request);
        let replies = self.call(&request, 1).await?;
        let reply = replies.first().ok_or(UpstreamError::BadReply)?;
        let outcome = Outcome::read(reply).map_err(|reply| Failure::reply(&reply))?;
        tracing::info!(
            key,
            hold,
            ?outcome,
            "hold open for too long; proposed to abort it"
        );
        // If it is lost, or its server was restarted, a coordinator renews the mark.
        Ok(())
    }

    /// Sends requests, and returns their replies. Notices between them are dropped: what they are about is read anyway.
    async fn call(&mut self, requests: &[u8], count: usize) -> Result<Vec<Bytes>, Failure> {
        let exchange = async {
            let written = self.stream.write_all(requests).await;
            written.map_err(|error| UpstreamError::from(&error))?;
            let mut replies = Vec::with_capacity(count);
            while replies.len() < count {
                if let Message::Reply(reply) = self.next().await? {
                    replies.push(reply);
                }
            }
            Ok::<_, UpstreamError>(replies)
        };
        let replies = timeout(PATIENCE, exchange).await;
        Ok(replies.unwrap_or(Err(UpstreamError::TimedOut))?)
    }

    /// Waits for a notice. Cancel safe.
    async fn pushed(&mut self) -> Result<(), Failure> {
        match self.next().await? {
            Message::Notice => Ok(()),
            Message::Reply(_) => Err(UpstreamError::BadReply.into()),
        }
    }

    /// The next reply or notice. Cancel safe: what has arrived is kept.
    async fn next(&mut self) -> Result<Message, UpstreamError> {
        loop {
            // A notice has the form of an array, and becomes one: the scanner knows replies only.
            if let Some(first @ b'>') = self.received.first_mut() {
                *first = b'*';
                self.is_push = true;
            }
            if let Some(len) = first_len(&self.received)? {
                let message = self.received.split_to(len).freeze();
                return Ok(if mem::take(&mut self.is_push) {
                    self.is_removed |= message.ends_with(REMOVED);
                    Message::Notice
                } else {
                    Message::Reply(message)
                });
            }
            if self.received.len() > REPLY_MAX_BYTES {
                return Err(UpstreamError::BadReply);
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(UpstreamError::Closed),
                Ok(_) => {}
                Err(error) => return Err(UpstreamError::from(&error)),
            }
        }
    }
}

fn accepted(reply: &Bytes) -> Result<(), Failure> {
    if reply.starts_with(b"-") {
        return Err(Failure::reply(reply));
    }
    Ok(())
}
