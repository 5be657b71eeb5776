//! The state that a protocol keeps for one client between requests.

use crate::protocol::{ClientRecord, ConnInfo, ConnProfile, Limits, Metering, ProtocolTypes};
use crate::quota::WorkerTenant;

/// The state that a protocol keeps for one client between requests.
pub trait ClientState<P: ProtocolTypes> {
    /// Creates the state of a client that has just connected.
    fn client(settings: &P::Settings, info: ConnInfo) -> P::Client;

    /// Creates the state of a client that another process has handed over. `None` if it has a state that is not possible here.
    fn arrived(
        settings: &P::Settings,
        info: ConnInfo,
        _record: &ClientRecord,
    ) -> Option<P::Client> {
        Some(Self::client(settings, info))
    }

    /// What another process needs to know of a client; without its subscriptions.
    fn record(_client: &P::Client) -> ClientRecord {
        ClientRecord::default()
    }

    /// Adopts what others have changed of the client's rights. Called before each batch of its requests.
    #[inline]
    fn begin_batch(_client: &mut P::Client) {}

    /// The ID by which other clients know a client.
    fn number(_client: &P::Client) -> u64 {
        0
    }

    /// Returns true if the client suppressed the reply to the current request. Called once per request.
    fn take_reply_suppressed(_client: &P::Client) -> bool {
        false
    }

    /// The number of connection profiles.
    fn profiles(settings: &P::Settings) -> usize;

    /// The connection profile of a client's next request. Called for every forwarded request.
    fn profile(client: &P::Client) -> ConnProfile;

    /// Returns true if a request may switch the client's next ones to another connection profile.
    fn may_change_profile(_request: &P::Request) -> bool {
        false
    }

    /// The number of a client's database.
    fn database(_client: &P::Client) -> u32 {
        0
    }

    /// Returns true if a client gets the requests that pass ([`crate::protocol::Plan::Monitor`]).
    fn is_monitor(_client: &P::Client) -> bool {
        false
    }

    /// Has a client get the requests that pass.
    fn set_monitor(_client: &mut P::Client) {}

    /// What a client's next request is to quotas.
    fn metering(_client: &P::Client, _request: &P::Request) -> Metering {
        Metering::Counted
    }

    /// Returns true if what is sent to a client counts towards quotas.
    fn is_metered(_client: &P::Client) -> bool {
        true
    }

    /// The quota of a client's user, if it has one.
    fn tenant(_client: &P::Client) -> Option<&WorkerTenant> {
        None
    }

    /// Why a client that has just connected may not stay, if it may not. It is counted as refused.
    fn refusal(_settings: &P::Settings, _client: &P::Client) -> Option<String> {
        None
    }

    /// The limits of a client's next request, which are `limits` unless it has to authenticate first.
    #[inline]
    fn limits<'l>(_client: &P::Client, limits: &'l Limits) -> &'l Limits {
        limits
    }
}
