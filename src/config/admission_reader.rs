//! Reading of what a pool says of who may connect.

use super::draft::Draft;
use super::pool::ListenConfig;
use super::pool_reader::Reader;
use super::yaml::Tree;
use crate::net::{ListenAddr, PeerRule};

impl Reader<'_> {
    pub(super) fn peers(&mut self, key: &str, list: &[Tree]) -> Vec<PeerRule> {
        if list.is_empty() {
            let text = "has no entries: leave it out for what it is without them";
            self.refuse(key, text);
        }
        let mut peers = Vec::new();
        for (text, at) in self.texts(key, "an address, a network or a user", list) {
            match PeerRule::parse(text) {
                Ok(peer) => peers.push(peer),
                Err(reason) => self.error(key, at, reason),
            }
        }
        peers
    }

    /// Checks the rules for who may connect.
    pub(super) fn check_admission(&mut self, draft: &Draft) {
        let is_unix = |listen: &&ListenConfig| matches!(listen.address, ListenAddr::Unix { .. });
        let listeners = || [&draft.listen, &draft.tls_listen].into_iter().flatten();
        let has_unix = listeners().any(|listen| is_unix(&listen));
        let has_tcp = !listeners().all(|listen| is_unix(&listen));
        if !has_unix && !has_tcp {
            return;
        }
        let admission = &draft.admission;
        let has_headers = !admission.proxy_protocol.is_empty();
        for (key, list) in [
            ("proxy_protocol", &admission.proxy_protocol),
            ("allow", &admission.allow),
            ("deny", &admission.deny),
        ] {
            let is_user = |peer: &&PeerRule| matches!(peer, PeerRule::Uid(_));
            if let Some(user) = list.iter().find(is_user).filter(|_| !has_unix) {
                let text = format!(
                    "'{user}' needs a unix socket: nobody knows the user of a connection over TCP"
                );
                self.refuse(key, &text);
            }
            let needs_address = !has_tcp && (key == "proxy_protocol" || !has_headers);
            let is_network = |peer: &&PeerRule| !is_user(peer);
            if let Some(network) = list.iter().find(is_network).filter(|_| needs_address) {
                let text = format!(
                    "'{network}' needs a listener on TCP; write the users of a unix socket, as in 'uid:1000'"
                );
                self.refuse(key, &text);
            }
        }
    }
}
