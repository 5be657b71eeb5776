//! The capabilities of a protocol that has no transactions, scripts, blocking commands or subscriptions.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::protocol::{
    BadReply, BlockedOn, Blocking, ChannelKind, ConnProfile, Connections, Effect, Greeting, InMove,
    KeyEvent, Placement, ProtocolTypes, ProxyReply, PubSub, PubSubMessage, ReplicaWait, Scan,
    ScriptOp, Scripts, ServerCommand, Span, SubscriptionChange, SubscriptionCount, Survey, Surveys,
    Transactions, TryResult, UnblockReason, WorkerTurns,
};
use crate::stats::CommandId;
use crate::topology::ServerId;

/// Declares that a protocol has none of the capabilities. It has no values, and no plan of such a protocol needs one.
#[derive(Debug)]
pub enum Unsupported {}

impl<P: ProtocolTypes> Transactions<P> for Unsupported {
    fn set_in_multi(_client: &mut P::Client, _queues: bool) {}

    fn write_server_command(_command: ServerCommand, _out: &mut BytesMut) {}

    fn write_proxy_reply(_reply: ProxyReply, _out: &mut BytesMut) {}

    fn write_nil(_client: &P::Client, _out: &mut BytesMut) {}

    fn write_exec_abort(_cause: &[u8], _reply: &[u8], _out: &mut BytesMut) -> bool {
        false
    }

    fn write_abort_cause(_reply: &[u8], _out: &mut BytesMut) -> bool {
        false
    }

    fn exec_elements(_reply: &[u8]) -> Option<Vec<Span>> {
        None
    }

    fn write_array_header(_count: usize, _out: &mut BytesMut) {}

    fn is_abort(_reply: &[u8]) -> bool {
        false
    }
}

impl<P: ProtocolTypes> Scripts<P> for Unsupported {
    fn on_script(_op: ScriptOp, _frame: &[u8], _settings: &P::Settings) {}

    fn is_noscript(_reply: &[u8]) -> bool {
        false
    }

    fn write_eval(_settings: &P::Settings, _frame: &[u8], _out: &mut BytesMut) -> bool {
        false
    }

    fn contains_noscript(_reply: &[u8]) -> bool {
        false
    }

    fn flush_epoch(_settings: &P::Settings) -> u64 {
        0
    }

    fn script_sha(frame: &[u8]) -> &[u8] {
        frame
    }

    fn write_script_load(_settings: &P::Settings, _sha: &[u8], _out: &mut BytesMut) -> bool {
        false
    }
}

impl<P: ProtocolTypes> Blocking<P> for Unsupported {
    fn set_blocked_on(_client: &P::Client, _blocked_on: BlockedOn) {}

    fn try_result(_reply: &[u8]) -> TryResult<'_> {
        TryResult::Desynced
    }

    fn reads_latest(_request: &[u8]) -> bool {
        false
    }

    fn write_shortened(
        _request: &[u8],
        _waited: Duration,
        _out: &mut BytesMut,
    ) -> Option<Duration> {
        None
    }

    fn write_unblock(_id: &[u8], _reason: UnblockReason, _out: &mut BytesMut) -> bool {
        false
    }

    fn unblock_raced(
        _settings: &P::Settings,
        _original: &[u8],
        _part: &[u8],
        _reply: &[u8],
    ) -> bool {
        false
    }

    fn restore_popped(_request: &[u8], _reply: &[u8], _out: &mut BytesMut) -> Option<Span> {
        None
    }
}

impl<P: ProtocolTypes> Connections<P> for Unsupported {
    const CLOSES_OTHERS: bool = false;

    fn write_close_other(_address: &str, _out: &mut BytesMut) {}

    fn write_guard(
        _profile: (&P::Settings, ConnProfile),
        _names: [&str; 2],
        _out: &mut BytesMut,
    ) -> usize {
        0
    }

    fn write_move_refusal(_refused: InMove<CommandId>, _out: &mut BytesMut) -> bool {
        false
    }

    fn read_guard(_replies: &[Bytes]) -> Result<Greeting, Bytes> {
        Err(Bytes::new())
    }

    fn is_primary(_reply: &[u8]) -> bool {
        true
    }

    fn only_reads(_tag: CommandId) -> bool {
        false
    }

    fn effect(_request: &[u8], _expect: P::Expect, _reply: &[u8]) -> Effect {
        Effect::Changed
    }
}

impl<P: ProtocolTypes> ReplicaWait<P> for Unsupported {
    fn markers(_split: P::MergeSpec) -> &'static [ServerCommand] {
        &[]
    }
}

impl<P: ProtocolTypes> PubSub<P> for Unsupported {
    fn write_subscription(_kind: ChannelKind, _name: &[u8], _on: bool, _out: &mut BytesMut) {}

    fn write_heartbeat(_out: &mut BytesMut) {}

    fn scan_push(_bytes: &[u8]) -> Result<Scan<PubSubMessage>, BadReply> {
        Err(BadReply)
    }

    fn push_prefix(_profile: ConnProfile) -> u8 {
        b'*'
    }

    fn write_confirmation(
        _profile: ConnProfile,
        _change: SubscriptionChange,
        _name: Option<&[u8]>,
        _count: SubscriptionCount,
        _out: &mut BytesMut,
    ) {
    }

    fn placement<'n>(_settings: &P::Settings, _kind: ChannelKind, name: &'n [u8]) -> Placement<'n> {
        Placement::Key(name)
    }

    fn may_subscribe(_client: &mut P::Client, _kind: ChannelKind, _name: &[u8]) -> bool {
        false
    }

    fn set_subscriptions(_client: &mut P::Client, _count: SubscriptionCount) {}

    fn on_subscriptions(_settings: &P::Settings, _client: u64, _count: SubscriptionCount) {}

    fn on_shared_subscriber(
        _settings: &P::Settings,
        _kind: ChannelKind,
        _name: &[u8],
        _more: bool,
    ) {
    }

    fn turns(_settings: &P::Settings) -> Option<(&Arc<WorkerTurns>, usize)> {
        None
    }

    fn announce(_settings: &P::Settings, _place: (ServerId, ChannelKind, &[u8])) -> u64 {
        0
    }

    fn end_announcement(
        _settings: &P::Settings,
        _place: (ServerId, ChannelKind, &[u8]),
        _ticket: u64,
    ) {
    }

    fn last_announcement(_settings: &P::Settings) -> u64 {
        0
    }

    fn awaits_subscriber(
        _settings: &P::Settings,
        _place: (ServerId, ChannelKind, &[u8]),
        _until: u64,
        _waker: impl FnOnce() -> Waker,
    ) -> bool {
        false
    }
}

impl<P: ProtocolTypes> Surveys<P> for Unsupported {
    fn survey(
        _tag: CommandId,
        _frame: &[u8],
        _client: &P::Client,
        _settings: &P::Settings,
    ) -> Option<Box<dyn Survey>> {
        None
    }

    fn event(_message: &[u8]) -> Option<KeyEvent> {
        None
    }
}
