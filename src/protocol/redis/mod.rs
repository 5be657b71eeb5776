//! RESP2 and RESP3: the protocol of Redis (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! Each RESP version in each database is a connection profile: a server replies in the version that a connection's
//! handshake negotiated, from the database that it selected.
//!
//! ```text
//! client bytes --request--> Request --plan--> local reply | one server | several (merge)
//! server bytes --reply----> forwarded unchanged
//! ```

pub mod acl;
pub(crate) mod capability;
pub(crate) mod client_state;
pub mod command;
pub(crate) mod error;
pub(crate) mod local;
pub mod mark;
pub(crate) mod merge;
pub(crate) mod monitor_line;
pub(crate) mod observed;
pub(crate) mod observer;
pub(crate) mod plan;
pub(crate) mod resp;
pub mod state;
pub(crate) mod survey;

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::redis::capability::{blocking, failover, handshake, pubsub, transactions};
use crate::protocol::redis::command::Command;
use crate::protocol::redis::resp::encode::{write_error_line, write_header, write_request};
use crate::protocol::redis::resp::{glob, inline, inspect};
use crate::protocol::redis::state::{profile, scripts};
use crate::protocol::{
    BadReply, BlockedOn, Blocking, ChannelKind, ConnProfile, Connections, Effect, ErrorCode,
    ErrorReplies, Greeting, InMove, KeyEvent, KeySpan, Limits, Merge, Part, Passed, Placement,
    PlanOf, Protocol, ProtocolTypes, ProxyReply, PubSub, PubSubMessage, ReplicaWait, ReplyClass,
    Scan, ScriptOp, Scripts as ScriptCapability, ServerCommand, Span, SubscriptionChange,
    SubscriptionCount, Survey, Surveys, Transactions, TryResult, UnblockReason, UpstreamError,
    WorkerTurns,
};
use crate::stats::{CommandId, CommandTable};
use crate::topology::ServerId;

pub use crate::protocol::redis::command::SetJoin;
pub use crate::protocol::redis::command::request::{Form, Request, RequestScanner};
pub use crate::protocol::redis::merge::context::{MergeContext, MergeSpec, SubscriberCount};
pub use crate::protocol::redis::resp::{args::Args, error_line::ErrorAuthor, reply::ReplyScanner};
pub use crate::protocol::redis::resp::{scan_error::ScanError, version::Resp};
pub use crate::protocol::redis::state::scripts::{RecentEvals, Scripts};
pub use crate::protocol::redis::state::{client::Client, settings::Settings};

/// The protocol of Redis.
#[derive(Debug)]
pub struct Redis;

impl ProtocolTypes for Redis {
    type Settings = Settings;
    type Client = Client;
    type RequestScanner = RequestScanner;
    type ReplyScanner = ReplyScanner;
    type Request = Request;
    type Expect = ErrorAuthor;
    type MergeSpec = MergeSpec;
    type MergeContext = MergeContext;
    type ScanError = ScanError;
}

impl Protocol for Redis {
    type Stateful = Self;
    type Clients = Self;
    type Merge = Self;
    type Errors = Self;
    type Observer = Self;

    /// The key that Twemproxy routes such requests by.
    const PLACEHOLDER: &'static [u8] = b"placeholder";
    const HANDSHAKE: ErrorAuthor = ErrorAuthor::Server;

    const COMMANDS: CommandTable = &command::ids::COMMANDS;

    #[inline]
    fn command(request: &Request, frame: &[u8]) -> CommandId {
        request.id(frame)
    }

    fn scan_request(
        scanner: &mut RequestScanner,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Scan<Request>, ScanError> {
        scanner.scan(bytes, limits)
    }

    #[inline]
    fn canonicalize(
        request: &Request,
        frame: &[u8],
        out: &mut BytesMut,
    ) -> Result<bool, ScanError> {
        if request.form != Form::Inline {
            return Ok(false);
        }
        inline::canonicalize(frame, out).map(|()| true)
    }

    fn plan(
        request: &Request,
        frame: &[u8],
        client: &mut Client,
        settings: &Settings,
        keys: &mut Vec<KeySpan>,
        out: &mut BytesMut,
    ) -> PlanOf<Self> {
        plan::plan(request, frame, client, settings, keys, out)
    }

    /// Nothing: `CLIENT REPLY`, which would suppress a server's replies, is not forwarded.
    #[inline]
    fn stripped(_request: &Request) -> Span {
        Span::default()
    }

    fn scan_reply(
        scanner: &mut ReplyScanner,
        bytes: &[u8],
        author: ErrorAuthor,
    ) -> Result<Passed, BadReply> {
        scanner.scan(bytes, author)
    }

    const PING: &'static [u8] = b"*1\r\n$4\r\nPING\r\n";

    /// AUTH, then HELLO, then SELECT. In any other order Redis rejects the commands before the password, and data could be written
    /// to database 0. The password goes by AUTH in every profile, so that a server accepts or rejects it in all alike.
    fn write_handshake(settings: &Settings, profile: ConnProfile, out: &mut BytesMut) -> usize {
        handshake::write(settings, profile, out)
    }

    fn classify(reply: &[u8]) -> ReplyClass {
        inspect::classify(reply)
    }
}

impl Transactions<Self> for Redis {
    fn set_in_multi(client: &mut Client, queues: bool) {
        client.set_in_multi(queues);
    }

    fn write_server_command(command: ServerCommand, out: &mut BytesMut) {
        transactions::write_server_command(command, out);
    }

    fn write_proxy_reply(reply: ProxyReply, out: &mut BytesMut) {
        transactions::write_proxy_reply(reply, out);
    }

    fn write_nil(client: &Client, out: &mut BytesMut) {
        resp::encode::write_null_array(client.resp(), out);
    }

    fn write_exec_abort(cause: &[u8], reply: &[u8], out: &mut BytesMut) -> bool {
        transactions::explain(cause, reply, out)
    }

    fn write_abort_cause(reply: &[u8], out: &mut BytesMut) -> bool {
        transactions::write_cause(reply, out)
    }

    fn rights_changed(client: &Client) -> bool {
        client.rights_changed()
    }

    fn write_lost_right(
        client: &Client,
        settings: &Settings,
        request: &[u8],
        out: &mut BytesMut,
    ) -> bool {
        plan::gate::write_lost_right(request, client, settings, out)
    }

    fn exec_elements(reply: &[u8]) -> Option<Vec<Span>> {
        inspect::element_spans(reply)
    }

    fn write_array_header(count: usize, out: &mut BytesMut) {
        write_header(b'*', count, out);
    }

    fn is_abort(reply: &[u8]) -> bool {
        transactions::is_abort(reply)
    }
}

impl ScriptCapability<Self> for Redis {
    fn on_script(op: ScriptOp, frame: &[u8], settings: &Settings) {
        let scripts = &settings.shared.scripts;
        scripts.on_script(op, Self::script_sha(frame), &settings.recent_evals);
    }

    fn is_noscript(reply: &[u8]) -> bool {
        inspect::classify(reply) == ReplyClass::Error(ErrorCode::NoScript)
    }

    fn write_eval(settings: &Settings, frame: &[u8], out: &mut BytesMut) -> bool {
        scripts::write_eval(&settings.shared.scripts, frame, out)
    }

    fn contains_noscript(reply: &[u8]) -> bool {
        scripts::contains_noscript(reply)
    }

    fn flush_epoch(settings: &Settings) -> u64 {
        settings.shared.scripts.flushes()
    }

    fn script_sha(frame: &[u8]) -> &[u8] {
        Args::new(frame).nth(1).unwrap_or_default()
    }

    fn write_script_load(settings: &Settings, sha: &[u8], out: &mut BytesMut) -> bool {
        scripts::write_load(&settings.shared.scripts, sha, out)
    }
}

impl Blocking<Self> for Redis {
    fn set_blocked_on(client: &Client, blocked_on: BlockedOn) {
        client.set_blocked_on(blocked_on);
    }

    fn try_result(reply: &[u8]) -> TryResult<'_> {
        transactions::tried(reply)
    }

    fn reads_latest(request: &[u8]) -> bool {
        blocking::reads_latest(request)
    }

    fn write_shortened(request: &[u8], waited: Duration, out: &mut BytesMut) -> Option<Duration> {
        blocking::write_shortened(request, waited, out)
    }

    fn write_unblock(id: &[u8], reason: UnblockReason, out: &mut BytesMut) -> bool {
        blocking::write_unblock(id, reason, out)
    }

    fn unblock_raced(settings: &Settings, original: &[u8], part: &[u8], reply: &[u8]) -> bool {
        reply == b":0\r\n" && local::clients::is_still_blocked(original, part, settings)
    }

    fn restore_popped(request: &[u8], reply: &[u8], out: &mut BytesMut) -> Option<Span> {
        blocking::restore_popped(request, reply, out)
    }
}

impl Connections<Self> for Redis {
    const CLOSES_OTHERS: bool = true;

    fn write_close_other(address: &str, out: &mut BytesMut) {
        write_request(&[b"CLIENT", b"KILL", b"ADDR", address.as_bytes()], out);
    }

    fn write_guard(at: (&Settings, ConnProfile), names: [&str; 2], out: &mut BytesMut) -> usize {
        mark::write_guard(at, names, out)
    }

    fn write_move_refusal(refused: InMove<CommandId>, out: &mut BytesMut) -> bool {
        mark::write_refusal(refused.map(Command::by_id), out)
    }

    fn read_guard(replies: &[Bytes]) -> Result<Greeting, Bytes> {
        mark::read_guard(replies)
    }

    fn is_primary(reply: &[u8]) -> bool {
        failover::is_primary(reply)
    }

    fn only_reads(command: CommandId) -> bool {
        Command::by_id(command).is_some_and(failover::only_reads)
    }

    fn effect(request: &[u8], author: ErrorAuthor, reply: &[u8]) -> Effect {
        failover::effect(request, author, reply)
    }
}

impl Surveys<Self> for Redis {
    fn survey(
        command: CommandId,
        frame: &[u8],
        client: &Client,
        settings: &Settings,
    ) -> Option<Box<dyn Survey>> {
        survey::survey(Command::by_id(command), frame, client, settings)
    }

    fn event(message: &[u8]) -> Option<KeyEvent> {
        pubsub::event(message)
    }
}

impl ReplicaWait<Self> for Redis {
    fn markers(split: MergeSpec) -> &'static [ServerCommand] {
        blocking::markers(split.kind)
    }
}

impl PubSub<Self> for Redis {
    fn write_subscription(kind: ChannelKind, name: &[u8], on: bool, out: &mut BytesMut) {
        pubsub::write_subscription(kind, name, on, out);
    }

    fn write_heartbeat(out: &mut BytesMut) {
        pubsub::write_heartbeat(out);
    }

    fn scan_push(bytes: &[u8]) -> Result<Scan<PubSubMessage>, BadReply> {
        pubsub::scan(bytes)
    }

    fn push_prefix(profile: ConnProfile) -> u8 {
        pubsub::push_prefix(profile::resp(profile))
    }

    fn write_confirmation(
        profile: ConnProfile,
        change: SubscriptionChange,
        name: Option<&[u8]>,
        count: SubscriptionCount,
        out: &mut BytesMut,
    ) {
        pubsub::write_confirmation(profile::resp(profile), change, name, count, out);
    }

    fn placement<'n>(settings: &Settings, kind: ChannelKind, name: &'n [u8]) -> Placement<'n> {
        pubsub::placement(settings, kind, name)
    }

    fn may_subscribe(client: &mut Client, kind: ChannelKind, name: &[u8]) -> bool {
        client.follow_users();
        client.user().may_subscribe(kind, name)
    }

    fn set_subscriptions(client: &mut Client, count: SubscriptionCount) {
        client.set_subscriptions(count);
    }

    fn on_subscriptions(settings: &Settings, client: u64, count: SubscriptionCount) {
        settings.shared.clients.set_subscriptions(client, count);
    }

    fn on_shared_subscriber(settings: &Settings, kind: ChannelKind, name: &[u8], more: bool) {
        settings
            .shared
            .pubsub_stats
            .local_subscribers
            .note(kind, name, more);
    }

    fn turns(settings: &Settings) -> Option<(&Arc<WorkerTurns>, usize)> {
        Some((&settings.shared.pubsub_stats.turns, settings.worker))
    }

    fn announce(settings: &Settings, place: (ServerId, ChannelKind, &[u8])) -> u64 {
        settings.shared.pubsub_stats.announced.add(place)
    }

    fn end_announcement(settings: &Settings, place: (ServerId, ChannelKind, &[u8]), ticket: u64) {
        settings.shared.pubsub_stats.announced.remove(place, ticket);
    }

    fn last_announcement(settings: &Settings) -> u64 {
        settings.shared.pubsub_stats.announced.last_ticket()
    }

    fn awaits_subscriber(
        settings: &Settings,
        place: (ServerId, ChannelKind, &[u8]),
        until: u64,
        waker: impl FnOnce() -> Waker,
    ) -> bool {
        let announced = &settings.shared.pubsub_stats.announced;
        announced.delays(place, until, waker)
    }
}

/// Returns true if a key matches a pattern, as one of `KEYS`.
#[must_use]
pub fn key_matches(pattern: &[u8], key: &[u8]) -> bool {
    glob::matches(pattern, key)
}

impl Merge<Self> for Redis {
    fn begin_fragment(split: MergeSpec, _frame: &[u8], part: Part, out: &mut BytesMut) {
        merge::begin_fragment(split, part, out);
    }

    fn end_fragment(_split: MergeSpec, _out: &mut BytesMut) {}

    fn merge_context(
        split: MergeSpec,
        frame: &[u8],
        _keys: &[KeySpan],
        settings: &Settings,
    ) -> MergeContext {
        local::merged::merge_context(split, frame, settings)
    }

    fn always_merges(split: MergeSpec) -> bool {
        split.kind.always_merges()
    }

    fn bypasses_queue(split: MergeSpec) -> bool {
        split.kind.bypasses_queue()
    }

    /// In database 0: a busy server rejects SELECT.
    fn bypass_profile(settings: &Settings, profile: ConnProfile) -> ConnProfile {
        profile::of(profile::resp(profile), 0, settings)
    }

    fn merge(
        context: &MergeContext,
        owners: &[u16],
        replies: Vec<Result<Bytes, UpstreamError>>,
        out: &mut WriteBuf,
    ) -> Result<(), UpstreamError> {
        local::merged::merge(context, owners, replies, out)
    }
}

impl ErrorReplies<Self> for Redis {
    fn write_memory_limit(out: &mut BytesMut) {
        error::write_memory_limit(out);
    }

    fn write_over_quota(_request: &Request, text: &str, out: &mut BytesMut) {
        error::write_error(text, out);
    }

    fn write_refused_client(text: &str, out: &mut BytesMut) {
        error::write_error(text, out);
    }

    fn write_scan_error(error: &ScanError, out: &mut BytesMut) {
        error::write_scan_error(*error, out);
    }

    fn write_upstream_error(error: UpstreamError, _expect: ErrorAuthor, out: &mut BytesMut) {
        error::write_upstream_error(error, out);
    }

    fn write_lost(server: &str, error: UpstreamError, _expect: ErrorAuthor, out: &mut BytesMut) {
        error::write_lost(server, error, out);
    }

    fn write_cross_server(settings: &Settings, keys: [&[u8]; 2], out: &mut BytesMut) {
        error::write_cross_server(keys, settings.hash_tag, out);
    }

    fn write_max_clients(out: &mut BytesMut) {
        write_error_line(&[b"ERR max number of clients reached"], out);
    }
}

#[cfg(test)]
mod tests;
