//! The directives of TLS: a part of the table of `schema`.

use crate::net::tls::{MinVersion, Roots, TlsFile, Verification};

use super::directive::Directive;
use super::kind::Kind;
use super::pool::{ListenConfig, PoolConfig};
use super::setting::Setting;
use super::tls::ServerTls;
use super::tls_value;

/// The directives of TLS, in the order in which the documentation lists them.
pub(super) static DIRECTIVES: [Directive; 16] = [
    Directive {
        name: "tls_listen",
        kind: Kind::Address(|pool, address, text| {
            pool.tls_listen = Some(ListenConfig::new(address, text));
        }),
        default: None,
        show: |pool| {
            pool.tls_listen
                .as_ref()
                .map(|listen| listen.text.as_str())
                .into()
        },
        doc: "The address on which the pool accepts clients over TLS, beside `listen` or instead of it. Not a unix socket. \
              Needs `tls_cert` and `tls_key`. See [tls.md](tls.md).",
    },
    Directive {
        name: "tls_cert",
        kind: Kind::Path(|pool, path| {
            pool.tls.cert = Some(TlsFile::new("tls_cert", path));
        }),
        default: None,
        show: |pool| pool.tls.file("tls_cert"),
        doc: "The file of the certificate that clients see, in PEM form, followed by those between it and its CA. Like all \
              files of TLS it is read again when it changes, and with each reload.",
    },
    Directive {
        name: "tls_key",
        kind: Kind::Path(|pool, path| {
            pool.tls.key = Some(TlsFile::new("tls_key", path));
        }),
        default: None,
        show: |pool| pool.tls.file("tls_key"),
        doc: "The file of the private key of `tls_cert`, in PEM form and not encrypted.",
    },
    Directive {
        name: "tls_client_ca",
        kind: Kind::Path(|pool, path| {
            pool.tls.client_ca = Some(TlsFile::new("tls_client_ca", path));
        }),
        default: None,
        show: |pool| pool.tls.file("tls_client_ca"),
        doc: "The file of the CAs that sign the certificates of clients. Without it clients are not asked for certificates.",
    },
    Directive {
        name: "tls_client_auth",
        kind: Kind::Parsed {
            form: "`required` or `optional`",
            set: |pool, text| {
                pool.tls.lets_in_without = tls_value::client_auth(text)?;
                Ok(())
            },
        },
        default: None,
        show: |pool| client_auth(pool).into(),
        doc: "Whether a client must have a certificate: with `optional` it may have none, but not a wrong one. `required` \
              without this directive. Only with `tls_client_ca`.",
    },
    Directive {
        name: "tls_client_crl",
        kind: Kind::Path(|pool, path| {
            pool.tls.client_crl = Some(TlsFile::new("tls_client_crl", path));
        }),
        default: None,
        show: |pool| pool.tls.file("tls_client_crl"),
        doc: "The file of the revocation lists for certificates of clients: one of each CA of their chains. A client whose \
              CA has none in it is refused. Only with `tls_client_ca`.",
    },
    Directive {
        name: "tls_min_version",
        kind: Kind::Parsed {
            form: "`1.2` or `1.3`",
            set: |pool, text| {
                pool.tls.min_version = tls_value::min_version(text)?;
                Ok(())
            },
        },
        default: Some("1.2"),
        show: |pool| min_version(pool).into(),
        doc: "The lowest version of TLS that clients may use.",
    },
    Directive {
        name: "tls_handshake_timeout",
        kind: Kind::MillisecondsFrom(1, |pool, time| pool.tls.handshake_timeout = time),
        default: Some("5000"),
        show: |pool| {
            pool.tls
                .listen
                .as_ref()
                .map(|listen| listen.handshake_timeout)
                .into()
        },
        doc: "How long a client may take for its TLS handshake, from when it is accepted. A worker has at most 1024 \
              handshakes under way; of more, the oldest that waits for its client is given up.",
    },
    Directive {
        name: "server_tls",
        kind: Kind::Boolean(|pool, yes| pool.tls.server = yes),
        default: Some("false"),
        show: |pool| pool.tls.server.is_some().into(),
        doc: "Encrypts all connections to the servers, those of probes and tools too, and checks that each server has a \
              certificate for its name. Not possible with servers on unix sockets.",
    },
    Directive {
        name: "server_tls_ca",
        kind: Kind::PathOrSystem(|pool, path| {
            let file = path.map(|path| TlsFile::new("server_tls_ca", path));
            pool.tls.server_ca = Some(file.map_or(Roots::System, Roots::File));
        }),
        default: None,
        show: |pool| server_ca(pool),
        doc: "The file of the CAs that sign the certificates of servers, or `system` for those that the system trusts. Only \
              with `server_tls: true`.",
    },
    Directive {
        name: "server_tls_crl",
        kind: Kind::Path(|pool, path| {
            pool.tls.server_crl = Some(TlsFile::new("server_tls_crl", path));
        }),
        default: None,
        show: |pool| pool.tls.file("server_tls_crl"),
        doc: "The file of the revocation lists for certificates of servers, as in `tls_client_crl`. Only with \
              `server_tls: true`.",
    },
    Directive {
        name: "server_tls_name",
        kind: Kind::Parsed {
            form: "a host name or an IP address",
            set: |pool, text| {
                pool.tls.server_name = Some(tls_value::name(text)?);
                Ok(())
            },
        },
        default: None,
        show: |pool| server_name(pool).into(),
        doc: "The name that the certificates of all servers must have. Without it, each must have the host of its address, \
              as written in `servers` or as sentinels and replicas report it. Only with `server_tls: true`.",
    },
    Directive {
        name: "server_tls_cert",
        kind: Kind::Path(|pool, path| {
            pool.tls.server_cert = Some(TlsFile::new("server_tls_cert", path));
        }),
        default: None,
        show: |pool| pool.tls.file("server_tls_cert"),
        doc: "The file of the certificate by which servers know the proxy, as in `tls_cert`. Only with `server_tls: true`.",
    },
    Directive {
        name: "server_tls_key",
        kind: Kind::Path(|pool, path| {
            pool.tls.server_key = Some(TlsFile::new("server_tls_key", path));
        }),
        default: None,
        show: |pool| pool.tls.file("server_tls_key"),
        doc: "The file of the private key of `server_tls_cert`.",
    },
    Directive {
        name: "server_tls_insecure_skip_verify",
        kind: Kind::Boolean(|pool, yes| pool.tls.server_insecure = yes),
        default: Some("false"),
        show: |pool| pool.tls.server.as_ref().map(ServerTls::is_insecure).into(),
        doc: "Does not check the certificates of servers: anybody between the proxy and a server can pretend to be the \
              server. Each start and reload warns of it. Only with `server_tls: true`.",
    },
    Directive {
        name: "sentinel_tls",
        kind: Kind::Boolean(|pool, yes| pool.tls.sentinels = yes),
        default: Some("false"),
        show: |pool| {
            pool.tls
                .server
                .as_ref()
                .map(|tls| tls.covers_sentinels)
                .into()
        },
        doc: "Encrypts the connections to the sentinels too, with what `server_tls_*` says. Only with `sentinels` and \
              `server_tls: true`.",
    },
];

fn client_auth(pool: &PoolConfig) -> Option<&'static str> {
    let clients = pool.tls.listen.as_ref()?.settings.clients.as_ref()?;
    Some(if clients.are_required {
        "required"
    } else {
        "optional"
    })
}

fn min_version(pool: &PoolConfig) -> Option<&'static str> {
    let listen = pool.tls.listen.as_ref()?;
    Some(match listen.settings.min_version {
        MinVersion::Tls12 => "1.2",
        MinVersion::Tls13 => "1.3",
    })
}

fn server_ca(pool: &PoolConfig) -> Setting {
    match pool
        .tls
        .server
        .as_ref()
        .map(|tls| &tls.settings.verification)
    {
        Some(Verification::Full(Roots::System, _)) => "system".into(),
        Some(Verification::Full(Roots::File(_), _)) => pool.tls.file("server_tls_ca"),
        Some(Verification::Insecure) | None => Setting::Absent,
    }
}

fn server_name(pool: &PoolConfig) -> Option<String> {
    let server = pool.tls.server.as_ref()?;
    Some(server.settings.name.as_ref()?.to_str().into_owned())
}
