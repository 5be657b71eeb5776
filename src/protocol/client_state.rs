//! What a protocol remembers of one client between two requests.

use crate::protocol::{ConnInfo, ConnProfile, Protocol};

/// What a protocol remembers of one client between two requests.
pub trait ClientState<P: Protocol> {
    /// A client that has just connected.
    fn client(settings: &P::Settings, arrival: ConnInfo) -> P::Client;

    /// The number by which others know a client.
    fn number(_client: &P::Client) -> u64 {
        0
    }

    /// Whether the client does not want the reply to the request that is being taken. Asked once for each.
    fn take_reply_suppressed(_client: &P::Client) -> bool {
        false
    }

    /// How many lanes there are.
    fn profiles(settings: &P::Settings) -> usize;

    /// The lane of a client's next request. Asked for every request that is forwarded.
    fn profile(client: &P::Client) -> ConnProfile;

    /// Whether a request may have the client's next ones go in another lane.
    fn may_change_profile(_request: &P::Request) -> bool {
        false
    }
}
