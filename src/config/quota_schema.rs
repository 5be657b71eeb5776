//! The directives of quotas: a part of the table of `schema`.

use crate::quota::QuotaKind;

use super::directive::Directive;
use super::kind::Kind;
use super::setting::Setting;
use super::user_quota::{limit, show};

pub(super) static DIRECTIVES: [Directive; 3] = [
    Directive {
        name: "requests_per_second",
        kind: Kind::Parsed {
            form: "a number of requests per second, from 1",
            set: |pool, text| {
                pool.quota = pool
                    .quota
                    .with(QuotaKind::Requests, limit(QuotaKind::Requests, text)?);
                Ok(())
            },
        },
        default: None,
        show: |pool| show(&pool.quota, QuotaKind::Requests).into(),
        doc: "The requests per second that all clients of the pool may send, with bursts of up to one second's worth. Further ones get \
              an error at once, and nothing is sent. See [quotas.md](quotas.md).",
    },
    Directive {
        name: "bytes_per_second",
        kind: Kind::Parsed {
            form: "a size per second, as in `10mb`",
            set: |pool, text| {
                pool.quota = pool
                    .quota
                    .with(QuotaKind::Bytes, limit(QuotaKind::Bytes, text)?);
                Ok(())
            },
        },
        default: None,
        show: |pool| show(&pool.quota, QuotaKind::Bytes).into(),
        doc: "The bytes per second of requests and replies of all clients of the pool, with bursts of up to one second's worth. A large \
              reply may exceed it; requests then get an error until the pool has kept to it on average. See [quotas.md](quotas.md).",
    },
    Directive {
        name: "user_quotas",
        kind: Kind::UserQuotas,
        default: None,
        show: |pool| Setting::list(&pool.user_quotas),
        doc: "What each user of the pool may use, as in `['shop requests_per_second=1000 bytes_per_second=10mb connections=100 memory=64mb', '* requests_per_second=100']`: \
              a name, and limits. `*` is for each user without a row, each for itself. See [quotas.md](quotas.md). Only with `redis: true`.",
    },
];
