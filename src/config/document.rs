//! The page of directives, `docs/config.md`.

use std::fmt::Write as _;

use crate::hash::HashKind;

use super::distribution::Distribution;
use super::failover::ReadFrom;
use super::kind::{Kind, NUMBER_MAX};
use super::placement::OnPlacementChange;
use super::schema;

/// The text of `docs/config.md`.
#[must_use]
pub fn document() -> String {
    let mut out = String::from(HEAD);
    for directive in schema::directives() {
        let default = match (directive.default, directive.name) {
            (Some(text), _) => format!("`{text}`"),
            (None, "servers") => "required".to_owned(),
            (None, "listen") => "required without `tls_listen`".to_owned(),
            (None, "tls_client_auth") => "`required` with `tls_client_ca`".to_owned(),
            (None, "server_tls_ca") => "`system` with `server_tls: true`".to_owned(),
            (None, "on_placement_change") => {
                "`swap` with `auto_eject_hosts: true` and for memcached, else `refuse`".to_owned()
            }
            (None, "server_probe_interval") => {
                "`1000` with `auto_eject_hosts: true`, else `0`".to_owned()
            }
            (None, "server_failover_timeout") => {
                "`5000` with `sentinels` or `replicas`, else `0`".to_owned()
            }
            (None, _) => "none".to_owned(),
        };
        // Writing to a `String` cannot fail.
        let _ = write!(
            out,
            "\n## {}\n\nValue: {}. Default: {default}.\n\n{}\n",
            directive.name,
            describe(directive.kind),
            directive.doc
        );
    }
    out
}

fn describe(kind: Kind) -> String {
    match kind {
        Kind::Address(_) => "`host:port`, `[v6]:port` or `/path[ mode]`".to_owned(),
        Kind::Servers => "a list of `host:port:weight[ name]` or `/path:weight[ name]`".to_owned(),
        Kind::Peers(_) => "a list of addresses, networks and `uid:NUMBER`".to_owned(),
        Kind::Sentinels => "a list of `host:port`".to_owned(),
        Kind::Replicas => "a list of `host:port server`".to_owned(),
        Kind::Users => "a list of users with their rules".to_owned(),
        Kind::UserQuotas => "a list of users with their limits".to_owned(),
        Kind::UsersFile | Kind::Path(_) => "a [path](#paths)".to_owned(),
        Kind::Commands(_) => "a list of commands and subcommands".to_owned(),
        Kind::Hash(_) => format!("one of {}", quoted(HashKind::ALL.map(HashKind::name))),
        Kind::HashTag(_) => "two bytes".to_owned(),
        Kind::Distribution(_) => {
            format!(
                "one of {}",
                quoted(Distribution::ALL.map(Distribution::name))
            )
        }
        Kind::OnPlacementChange(_) => {
            format!(
                "one of {}",
                quoted(OnPlacementChange::ALL.map(OnPlacementChange::name))
            )
        }
        Kind::ReadFrom(_) => format!("one of {}", quoted(ReadFrom::ALL.map(ReadFrom::name))),
        Kind::MillisecondsFrom(min, _) => format!("milliseconds, {min} to {NUMBER_MAX}"),
        Kind::Milliseconds(_) => format!("milliseconds, 0 to {NUMBER_MAX}"),
        Kind::Number { min, max, .. } => format!("a number, {min} to {max}"),
        Kind::Boolean(_) => "`true` or `false`".to_owned(),
        Kind::BufferLimit(_) => "two sizes and a number of seconds".to_owned(),
        Kind::Bytes(_) => "a size in bytes, or with `kb`, `mb` or `gb`".to_owned(),
        Kind::Text(_) => "text".to_owned(),
        Kind::PathOrSystem(_) => "a [path](#paths), or `system`".to_owned(),
        Kind::Secret(_) => "a [secret](#secrets)".to_owned(),
        Kind::ClientPassword(_) => "a [secret](#secrets), or `sha256:` and a hash".to_owned(),
        Kind::Parsed { form, .. } => form.to_owned(),
    }
}

const HEAD: &str = "# The configuration file

This page is generated from the table in `src/config/schema.rs`; a test fails when it is stale.

The file is the YAML of Twemproxy 0.5.0: one document that maps each pool's name to its directives.

```yaml
alpha:
  listen: 127.0.0.1:22121
  redis: true
  servers:
    - 127.0.0.1:6379:1 first
    - 127.0.0.1:6380:1 second
```

Values are read as text: quotes make no difference, and YAML types are not applied (`redis_auth: 0x10` is a password
of four bytes). Numbers are decimal digits; booleans are exactly `true` or `false`. An empty value is an error, and so is
an unknown or repeated directive. Anchors, aliases, tags and multiple documents are rejected.

`ringroad -t -c FILE` validates a file and prints every error with its line.

## Paths

A relative path of a file begins where the configuration file is: `tls/cert.pem` in `/etc/ringroad/pools.yml` is
`/etc/ringroad/tls/cert.pem`. Unix sockets have absolute paths.

## Secrets

A password need not be in the file. It is read at start and at each reload; a missing source or an empty value is an error.

| value | password |
|---|---|
| `${NAME}` | the variable of that name of the environment. It is that of the start, so another value needs a restart or an upgrade |
| `file:PATH` | the one line of that file, without its end. A changed file needs a reload |
| `literal:TEXT` | the text, whatever it begins with |
| anything else | itself; but what begins with `${` and is not such a name, is an error |

A password is not shown in messages, statistics, `ringroad diff` or by `ringroad ctl`.
";

fn quoted<const N: usize>(names: [&str; N]) -> String {
    names.map(|name| format!("`{name}`")).join(", ")
}
