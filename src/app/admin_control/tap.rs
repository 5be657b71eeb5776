//! A tap of a pool: some of the requests that pass, for `ringroad ctl tap`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::admin::api::ControlError;
use crate::admin::api::answers::observed::{Tapped, TappedRequest};
use crate::admin::api::requests::observed::TapOf;
use crate::config::ProtocolKind;
use crate::observe::{self, KeyTest, Tap, TapFilter, Watch};
use crate::protocol::{memcached, redis};
use crate::runtime::PoolSetup;

/// The time after which a tap ends that is given none.
const TAP_MS: u64 = 5000;

/// The number of requests after which a tap ends that is given none.
const TAP_REQUESTS: usize = 100;

/// Collects requests of a pool.
pub(super) async fn tap(setup: &PoolSetup, wanted: TapOf) -> Result<Tapped, ControlError> {
    let time = Duration::from_millis(wanted.for_ms.unwrap_or(TAP_MS));
    let most = wanted.count.unwrap_or(TAP_REQUESTS);
    let tap = Arc::new(Tap::new(filter(setup, wanted)?, most));
    let watching = setup.observation.watch(Arc::clone(&tap) as Arc<dyn Watch>);
    // It ends with the time if not before.
    let _ = timeout(time, tap.is_full()).await;
    drop(watching);
    Ok(tapped(tap.take()))
}

/// The filter, if it can fit any request.
fn filter(setup: &PoolSetup, wanted: TapOf) -> Result<TapFilter, ControlError> {
    let topology = setup.store.topology();
    if let Some(server) = &wanted.server
        && !topology.servers().iter().any(|one| one.name == *server)
    {
        return Err(ControlError::UnknownServer {
            server: server.clone(),
            pool: Some(wanted.pool),
        });
    }
    if let Some(command) = &wanted.command
        && !is_command(setup.protocol, command.as_bytes())
    {
        let text = format!("no command is called '{command}'");
        return Err(ControlError::Malformed(text));
    }
    let key = wanted.key.map(|pattern| -> KeyTest {
        Box::new(move |key| redis::key_matches(pattern.as_bytes(), key))
    });
    Ok(TapFilter {
        client: wanted.client,
        command: wanted.command,
        key,
        server: wanted.server,
        one_in: wanted.one_in.unwrap_or(1),
    })
}

fn is_command(protocol: ProtocolKind, name: &[u8]) -> bool {
    match protocol {
        ProtocolKind::Redis => redis::command::Command::lookup(name).is_some(),
        ProtocolKind::Memcached => {
            memcached::command::Command::lookup(&name.to_ascii_lowercase()).is_some()
        }
    }
}

fn tapped(tapped: observe::Tapped) -> Tapped {
    let requests = tapped.requests.into_iter().map(|request| TappedRequest {
        time_us: u64::try_from(request.at.as_micros()).unwrap_or(u64::MAX),
        client: request.client,
        db: request.database,
        servers: request.servers,
        args: request.text.escaped(),
    });
    Tapped {
        matched: tapped.matched,
        missed: tapped.missed,
        requests: requests.collect(),
    }
}
