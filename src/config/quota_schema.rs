//! The directives of quotas: a part of the table of `schema`.

use std::num::NonZeroU64;

use crate::quota::QuotaKind;
use crate::text::exact_size;

use super::directive::Directive;
use super::kind::{Kind, NUMBER_MAX};
use super::value;

/// The largest rate of bytes: a tebibyte per second.
const BYTES_MAX: u64 = 1 << 40;

pub(super) static DIRECTIVES: [Directive; 2] = [
    Directive {
        name: "requests_per_second",
        kind: Kind::Parsed {
            form: "a number of requests per second, from 1",
            set: |pool, text| {
                pool.quota = pool.quota.with(QuotaKind::Requests, requests(text)?);
                Ok(())
            },
        },
        default: None,
        show: |pool| {
            let limit = pool.quota.get(QuotaKind::Requests);
            limit.map(|limit| limit.to_string()).into()
        },
        doc: "The requests per second that all clients of the pool may send, with bursts of up to one second's worth. Further ones get \
              an error at once, and nothing is sent. See [quotas.md](quotas.md).",
    },
    Directive {
        name: "bytes_per_second",
        kind: Kind::Parsed {
            form: "a size per second, as in `10mb`",
            set: |pool, text| {
                pool.quota = pool.quota.with(QuotaKind::Bytes, rate_of_bytes(text)?);
                Ok(())
            },
        },
        default: None,
        show: |pool| {
            let limit = pool.quota.get(QuotaKind::Bytes);
            limit.map(|limit| exact_size(limit.get())).into()
        },
        doc: "The bytes per second of requests and replies of all clients of the pool, with bursts of up to one second's worth. A large \
              reply may exceed it; requests then get an error until the pool has kept to it on average. See [quotas.md](quotas.md).",
    },
];

/// Parses a number of requests.
fn requests(text: &str) -> Result<NonZeroU64, String> {
    let number = value::number(text, 1, NUMBER_MAX)?;
    NonZeroU64::new(number.into()).ok_or_else(|| "must be at least 1".to_owned())
}

/// Parses a number of bytes per second.
fn rate_of_bytes(text: &str) -> Result<NonZeroU64, String> {
    let bytes = NonZeroU64::new(value::bytes(text)? as u64);
    let bytes = bytes.ok_or_else(|| {
        format!("'{text}' is out of range; it must be at least 1: without a limit, leave it out")
    })?;
    if bytes.get() > BYTES_MAX {
        return Err(format!(
            "'{text}' is out of range; it must be at most 1024gb"
        ));
    }
    Ok(bytes)
}
