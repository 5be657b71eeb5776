//! A change of the topology leaves what it does not concern alone.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use crate::protocol::ConnProfile;
use crate::proxy::tests::{ejecting, with_pool_of};

#[test]
fn topology_change_keeps_handles_and_connections() {
    with_pool_of(&ejecting(3), async |pool| {
        let before = pool.backends.view();
        let handles: Vec<_> = before.servers().map(|(_, handle)| handle).collect();
        let conns: Vec<_> = handles
            .iter()
            .map(|handle| handle.upstream(ConnProfile::FIRST, 0).unwrap())
            .collect();
        let ejected = &handles[1].server;
        let now = Instant::now();
        let failure = ejected.store.on_failure(
            &ejected.shared,
            now.into_std(),
            now.into_std(),
            SystemTime::now(),
        );
        assert!(failure.is_some());

        pool.backends.refresh(now);
        let after = pool.backends.view();
        assert_eq!(after.epoch(), before.epoch() + 1);
        let live: Vec<_> = after
            .servers()
            .map(|(index, _)| after.is_live(index))
            .collect();
        assert_eq!(live, [true, false, true]);
        for ((index, handle), (old, conn)) in after.servers().zip(handles.iter().zip(conns)) {
            assert!(Rc::ptr_eq(handle, old));
            let same = after.upstream(index, ConnProfile::FIRST, 0).unwrap();
            assert!(Rc::ptr_eq(same, conn));
            assert_eq!(after.index_of(old.server.id()), Some(index));
        }
    });
}

#[test]
fn idle_worker_adopts_what_another_publishes() {
    with_pool_of(&ejecting(2), async |pool| {
        let before = pool.backends.view();
        let (_, handle) = before.servers().next().unwrap();
        let (server, now) = (&handle.server, Instant::now().into_std());
        let failure = server
            .store
            .on_failure(&server.shared, now, now, SystemTime::now());
        assert!(failure.is_some());
        let adopted = async {
            while pool.backends.view().epoch() == before.epoch() {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), adopted).await.unwrap();
    });
}
