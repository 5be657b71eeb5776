//! Answers about requests, scripted.

use ringroad::admin::api::answers::observed::{
    BigKeys, HotKey, HotKeys, PoolHotKeys, SlowLog, Tapped,
};
use ringroad::admin::api::requests::observed::{EntriesOf, HotKeysOf, TapOf};
use ringroad::admin::api::{Answer, ObserveRequests};

use super::fake::{Script, Stage};

impl ObserveRequests for Script {
    fn hot_keys(&self, wanted: HotKeysOf) -> Answer<'_, HotKeys> {
        let keys = vec![HotKey {
            key: "k\u{1b}[2J".to_owned(),
            truncated: true,
            requests_per_second: 10.25,
            error_per_second: 2.0,
            share: 0.125,
        }];
        let pools = ["cache", "idle"].map(|pool| PoolHotKeys {
            pool: pool.to_owned(),
            requests_per_second: 82.0,
            window_seconds: 43.3,
            sampled_one_in: if wanted.for_ms.is_some() { 1 } else { 64 },
            keys: if pool == "idle" {
                Vec::new()
            } else {
                keys.clone()
            },
        });
        let asked = format!(
            "hot keys {:?} {:?} {:?}",
            wanted.pool, wanted.for_ms, wanted.count
        );
        let pools = pools.into();
        self.answer(asked, HotKeys { pools })
    }

    fn big_keys(&self, wanted: EntriesOf) -> Answer<'_, BigKeys> {
        let asked = format!("big keys {:?} {:?}", wanted.pool, wanted.count);
        self.answer(asked, BigKeys::default())
    }

    fn tap(&self, wanted: TapOf) -> Answer<'_, Tapped> {
        self.answer(format!("tap {wanted:?}"), Tapped::default())
    }

    fn slow_log(&self, wanted: EntriesOf) -> Answer<'_, SlowLog> {
        let asked = format!("slow log {:?} {:?}", wanted.pool, wanted.count);
        self.answer(asked, SlowLog::default())
    }
}

#[test]
fn hot_keys_are_shown_with_their_error() {
    let stage = Stage::set();
    let (text, asked) = stage.ask(&["hotkeys", "cache", "--for", "1500ms", "--count", "3"]);
    assert_eq!(asked, r#"hot keys Some("cache") Some(1500) Some(3)"#);
    assert_eq!(
        text,
        "pool cache: 82 requests/s, over 43.3 s, all of them looked at\n\
         KEY            REQUESTS/S   +-   SHARE\n\
         k\\u{1b}[2J...        10.2  2.0  12.50%\n\
         \n\
         pool idle: 82 requests/s, over 43.3 s, all of them looked at\n\
         no key was named\n"
    );
    let (_, asked) = stage.ask(&["bigkeys", "--count=7"]);
    assert_eq!(asked, "big keys None Some(7)");
    let (_, asked) = stage.ask(&["slowlog", "--pool", "cache"]);
    assert_eq!(asked, r#"slow log Some("cache") None"#);
}
