//! The state of a client, as the data plane sees it.

use crate::protocol::redis::Redis;
use crate::protocol::redis::command::request::{Form, Request};
use crate::protocol::redis::command::{Local, Policy, Verb};
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::profile;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::{ClientRecord, ClientState, ConnInfo, ConnProfile, Limits, Metering};
use crate::quota::WorkerTenant;

impl ClientState<Self> for Redis {
    fn client(settings: &Settings, info: ConnInfo) -> Client {
        Client::connected(settings, info)
    }

    fn arrived(settings: &Settings, info: ConnInfo, record: &ClientRecord) -> Option<Client> {
        Client::arrived(settings, info, record)
    }

    #[inline]
    fn begin_batch(client: &mut Client) {
        client.follow_users();
    }

    fn record(client: &Client) -> ClientRecord {
        client.record()
    }

    fn database(client: &Client) -> u32 {
        client.database()
    }

    fn is_monitor(client: &Client) -> bool {
        client.is_monitor()
    }

    fn set_monitor(client: &mut Client) {
        client.set_monitor();
    }

    #[inline]
    fn take_reply_suppressed(client: &Client) -> bool {
        client.take_reply_suppressed()
    }

    fn number(client: &Client) -> u64 {
        client.id()
    }

    fn profiles(settings: &Settings) -> usize {
        profile::count(settings)
    }

    #[inline]
    fn profile(client: &Client) -> ConnProfile {
        client.profile()
    }

    #[inline]
    fn limits<'l>(client: &Client, limits: &'l Limits) -> &'l Limits {
        client.limits(limits)
    }

    fn metering(client: &Client, request: &Request) -> Metering {
        if client.must_authenticate() || request.form == Form::Empty {
            return Metering::Free;
        }
        match request.command.map(|command| command.policy) {
            Some(
                Policy::Unsubscribe(_)
                | Policy::Transaction(Verb::Exec | Verb::Discard | Verb::Unwatch)
                | Policy::Local(Local::Auth | Local::Hello | Local::Quit | Local::Reset),
            ) => Metering::NeverRefused,
            _ => Metering::Counted,
        }
    }

    fn is_metered(client: &Client) -> bool {
        !client.must_authenticate()
    }

    fn tenant(client: &Client) -> Option<&WorkerTenant> {
        client.tenant()
    }

    fn refusal(settings: &Settings, client: &Client) -> Option<String> {
        let over = client.refused_connection()?;
        settings.shared.note_refused_connection(&over);
        Some(over.to_string())
    }

    fn may_change_profile(request: &Request) -> bool {
        profile::may_change(request)
    }
}
