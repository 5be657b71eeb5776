//! The examples of the answers about the requests that pass.

use crate::admin::api::answers::observed::{
    BigKey, BigKeyKind, BigKeys, HotKey, HotKeys, PoolHotKeys, SlowLog, SlowRequest, Tapped,
    TappedRequest,
};

use crate::admin::api::reference::example::Example;
use crate::admin::api::requests::Request;
use crate::admin::api::requests::observed::{EntriesOf, HotKeysOf, TapOf};

pub(super) fn hot_keys_example() -> Example {
    let request = Request::HotKeys(HotKeysOf {
        pool: Some("cache".to_owned()),
        ..HotKeysOf::default()
    });
    Example::new(request, &hot_keys())
        .with::<PoolHotKeys>("Each of `pools`:")
        .with::<HotKey>("Each of `keys`:")
}

pub(super) fn big_keys_example() -> Example {
    let request = Request::BigKeys(EntriesOf::default());
    Example::new(request, &big_keys()).with::<BigKey>("Each of `big`:")
}

pub(super) fn slow_log_example() -> Example {
    let request = Request::SlowLog(EntriesOf::default());
    Example::new(request, &slow_log()).with::<SlowRequest>("Each of `requests`:")
}

pub(super) fn tap_example() -> Example {
    let request = Request::Tap(TapOf {
        pool: "cache".to_owned(),
        for_ms: Some(1000),
        key: Some("user:*".to_owned()),
        ..TapOf::default()
    });
    Example::new(request, &tapped()).with::<TappedRequest>("Each of `requests`:")
}

fn tapped() -> Tapped {
    Tapped {
        matched: 1,
        missed: 0,
        requests: vec![TappedRequest {
            time_us: 1_796_041_234_107_412,
            client: "10.0.1.5:40312".to_owned(),
            db: 0,
            servers: vec!["s1".to_owned()],
            args: ["HGETALL", "user:1000"].map(str::to_owned).into(),
        }],
    }
}

fn hot_keys() -> HotKeys {
    HotKeys {
        pools: vec![PoolHotKeys {
            pool: "cache".to_owned(),
            requests_per_second: 41_213.4,
            window_seconds: 43.2,
            sampled_one_in: 256,
            keys: vec![HotKey {
                key: "user:1000".to_owned(),
                truncated: false,
                requests_per_second: 3120.5,
                error_per_second: 147.8,
                share: 0.0757,
            }],
        }],
    }
}

fn big_keys() -> BigKeys {
    BigKeys {
        big: vec![BigKey {
            pool: "cache".to_owned(),
            server: "s1".to_owned(),
            kind: BigKeyKind::Reply,
            command: "HGETALL".to_owned(),
            key: "cart:17".to_owned(),
            truncated: false,
            keys: 1,
            bytes: 2_400_317,
            times: 12,
            age_seconds: 4,
        }],
    }
}

fn slow_log() -> SlowLog {
    SlowLog {
        requests: vec![SlowRequest {
            pool: "cache".to_owned(),
            id: 14,
            time: 1_796_041_234,
            took_us: 23_187,
            waited_us: 87,
            server_us: 23_100,
            server: "s1".to_owned(),
            args: ["KEYS", "session:*"].map(str::to_owned).into(),
            client: "10.0.1.5:40312".to_owned(),
            client_name: "worker-3".to_owned(),
        }],
    }
}
