//! The rules for what a pool says of TLS.

use crate::net::{ListenAddr, ServerAddr};

use super::draft::Draft;
use super::pool_reader::Reader;

impl Reader<'_> {
    /// Checks the rules for TLS.
    pub(super) fn check_tls(&mut self, draft: &Draft) {
        self.check_tls_listen(draft);
        self.check_server_tls(draft);
    }

    fn check_tls_listen(&mut self, draft: &Draft) {
        let Some(listen) = &draft.tls_listen else {
            for name in [
                "tls_cert",
                "tls_key",
                "tls_client_ca",
                "tls_client_auth",
                "tls_client_crl",
                "tls_min_version",
                "tls_handshake_timeout",
            ] {
                self.refuse_if_set(name, "needs 'tls_listen'");
            }
            return;
        };
        if let ListenAddr::Unix { .. } = listen.address {
            let text = "cannot be a unix socket: that needs no TLS";
            self.refuse("tls_listen", text);
        }
        for (name, file) in [("tls_cert", &draft.tls.cert), ("tls_key", &draft.tls.key)] {
            if file.is_none() && !self.places.contains_key(name) {
                self.refuse("tls_listen", &format!("needs '{name}'"));
            }
        }
        if !self.places.contains_key("tls_client_ca") {
            for name in ["tls_client_auth", "tls_client_crl"] {
                self.refuse_if_set(name, "needs 'tls_client_ca'");
            }
        }
    }

    fn check_server_tls(&mut self, draft: &Draft) {
        let tls = &draft.tls;
        if !tls.server {
            for name in [
                "server_tls_ca",
                "server_tls_crl",
                "server_tls_name",
                "server_tls_cert",
                "server_tls_key",
                "server_tls_insecure_skip_verify",
                "sentinel_tls",
            ] {
                self.refuse_if_set(name, "needs 'server_tls: true'");
            }
            return;
        }
        for (one, other) in [
            ("server_tls_cert", "server_tls_key"),
            ("server_tls_key", "server_tls_cert"),
        ] {
            if !self.places.contains_key(other) {
                self.refuse_if_set(one, &format!("needs '{other}'"));
            }
        }
        if tls.server_insecure {
            for name in ["server_tls_ca", "server_tls_crl", "server_tls_name"] {
                self.refuse_if_set(
                    name,
                    "has no effect with 'server_tls_insecure_skip_verify: true'",
                );
            }
        }
        if tls.sentinels && draft.sentinels.is_empty() {
            self.refuse_if_set("sentinel_tls", "needs 'sentinels'");
        }
        let sockets = self.servers.iter();
        let sockets = sockets.filter(|server| matches!(server.address, ServerAddr::Unix(_)));
        let sockets: Vec<_> = sockets.map(|server| server.name.clone()).collect();
        for name in sockets {
            let text = format!("server '{name}' is a unix socket, which has no TLS");
            self.refuse("server_tls", &text);
        }
    }

    fn refuse_if_set(&mut self, key: &str, text: &str) {
        if self.places.contains_key(key) {
            self.refuse(key, text);
        }
    }
}
