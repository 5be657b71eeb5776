//! The directives of who may connect: a part of the table of `schema`.

use super::directive::Directive;
use super::kind::{Kind, NUMBER_MAX};
use super::setting::Setting;

/// The directives of who may connect, in the order in which the documentation lists them.
pub(super) static DIRECTIVES: [Directive; 7] = [
    Directive {
        name: "proxy_protocol",
        kind: Kind::Peers(|pool, peers| pool.admission.proxy_protocol = peers),
        default: None,
        show: |pool| Setting::list(&pool.admission.proxy_protocol),
        doc: "The load balancers in front of the pool, as in `[10.0.0.5, 10.0.1.0/24]`: connections from there must begin with a header of the \
              PROXY protocol, version 1 or 2, within five seconds, and what it says is the client's address everywhere. A header that speaks for \
              the balancer itself (`LOCAL`, `UNKNOWN`) leaves the address as it is. Connections from elsewhere are clients, and a header is no \
              request. On a unix socket: `[uid:NUMBER]`.",
    },
    Directive {
        name: "allow",
        kind: Kind::Peers(|pool, peers| pool.admission.allow = peers),
        default: None,
        show: |pool| Setting::list(&pool.admission.allow),
        doc: "The addresses and networks of clients that may connect, as in `[10.0.0.0/8, '::1']`; on a unix socket their users, as in \
              `[uid:1000]`. Others are closed at once. Without it everyone may. An IPv4 address is one of IPv4 however it is written. With \
              `proxy_protocol` it is the address in the header that counts.",
    },
    Directive {
        name: "deny",
        kind: Kind::Peers(|pool, peers| pool.admission.deny = peers),
        default: None,
        show: |pool| Setting::list(&pool.admission.deny),
        doc: "The clients that may not connect, also if `allow` has them.",
    },
    Directive {
        name: "client_address_rate",
        kind: Kind::Number {
            min: 0,
            max: NUMBER_MAX,
            set: |pool, n| pool.admission.per_address.connections_per_second = (n > 0).then_some(n),
        },
        default: None,
        show: |pool| pool.admission.per_address.connections_per_second.into(),
        doc: "The most new connections a second from one address (or the first 64 bits of one of IPv6, or one user of a unix socket), and as \
              many at once. Others are closed at once. Without it, or with 0, there is no limit.",
    },
    Directive {
        name: "client_address_connections",
        kind: Kind::Number {
            min: 0,
            max: NUMBER_MAX,
            set: |pool, n| pool.admission.per_address.connections = (n > 0).then_some(n),
        },
        default: None,
        show: |pool| pool.admission.per_address.connections.into(),
        doc: "The most open connections from one address, likewise.",
    },
    Directive {
        name: "client_address_auth_failures",
        kind: Kind::Number {
            min: 0,
            max: NUMBER_MAX,
            set: |pool, n| pool.admission.auth_failures = (n > 0).then_some(n),
        },
        default: Some("10"),
        show: |pool| pool.admission.auth_failures.unwrap_or(0).into(),
        doc: "The failed attempts to authenticate that one address may make at once, and one more each second. What it tries beyond that is \
              answered with an error, also with a right password; who has authenticated is not concerned. 0 is without limit: for clients that \
              share an address with others whom they do not trust to know their passwords. Only with `redis: true`.",
    },
    Directive {
        name: "auth_timeout",
        kind: Kind::Milliseconds(|pool, timeout| pool.admission.auth_timeout = timeout),
        default: Some("60000"),
        show: |pool| pool.admission.auth_timeout.into(),
        doc: "How long a client that needs a password may be connected without having authenticated; then it is closed. 0 is without \
              limit, as in Redis and Twemproxy. Only with `redis: true`.",
    },
];
