//! The proxies that are connected to the servers of a move, as `CLIENT LIST` shows them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::reshard::clients::{Client, Owner};
use crate::reshard::server::Names;

/// A proxy reads the mark of each server once a second: one that has not for so long is frozen, or cut off.
pub(in crate::reshard) const SILENT: Duration = Duration::from_secs(5);

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::reshard) struct Proxy {
    /// The highest hold that it knew at a source when it opened a connection there; 0 if it has none.
    pub(in crate::reshard) hold: u64,
    /// Connections for requests.
    pub(in crate::reshard) connections: usize,
    /// How long it has sent nothing, at the server where that is longest.
    pub(in crate::reshard) silent: Duration,
}

/// Adds the proxies that are connected to one server.
pub(in crate::reshard) fn watched(
    clients: &[Client],
    names: &Names,
    proxies: &mut BTreeMap<String, Proxy>,
) {
    // At this server, over any of its connections.
    let mut silent: BTreeMap<&str, u64> = BTreeMap::new();
    for client in clients {
        let (id, hold) = match client.owner(&names.connections) {
            Owner::Proxy { id, hold } => (id, Some(hold)),
            Owner::Ringroad => match client.watcher(&names.connections) {
                Some(id) => (id, None),
                None => continue,
            },
            _ => continue,
        };
        let least = silent.entry(id).or_insert(client.idle);
        *least = client.idle.min(*least);
        let proxy = proxies.entry(id.to_owned()).or_insert(Proxy {
            hold: 0,
            connections: 0,
            silent: Duration::ZERO,
        });
        proxy.hold = proxy.hold.max(hold.unwrap_or_default());
        proxy.connections += usize::from(hold.is_some());
    }
    for (id, seconds) in silent {
        if let Some(proxy) = proxies.get_mut(id) {
            proxy.silent = proxy.silent.max(Duration::from_secs(seconds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_is_as_silent_as_at_the_server_that_hears_least_of_it() {
        let names = Names {
            notes: String::new(),
            key: String::new(),
            acks: String::new(),
            connections: "p:0".to_owned(),
        };
        let mut proxies = BTreeMap::new();
        for list in [
            "id=1 addr=a:1 name=rr/p:0/one/7 idle=50\nid=2 addr=a:2 name=rr-other/p:0/one idle=1\n\
             id=3 addr=a:3 name=rr/q:0/two/7 idle=50\n",
            "id=1 addr=a:4 name=rr/p:0/one/9 idle=40\nid=2 addr=a:5 name=rr-other/p:0/one idle=20\n\
             id=3 addr=a:6 name=rr-other/p:0/new idle=0\nid=4 addr=a:7 name=rr-other/q:0/other idle=0\n",
        ] {
            watched(&Client::read_all(list), &names, &mut proxies);
        }
        let proxy = |hold, connections, seconds| Proxy {
            hold,
            connections,
            silent: Duration::from_secs(seconds),
        };
        let expected = [("new", proxy(0, 0, 0)), ("one", proxy(9, 2, 20))];
        let expected = expected.map(|(id, proxy)| (id.to_owned(), proxy));
        assert_eq!(proxies, BTreeMap::from(expected));
    }
}
