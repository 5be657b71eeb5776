//! Topologies of a large pool: composed without the lock, while others publish.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;

const MANY: usize = LARGE_POOL + 1;

/// A pool that leaves what its workers say to `publish_deferred`, if `count` is large.
fn large_config(count: usize) -> Arc<PoolConfig> {
    let mut config = PoolConfig::clone(&config("auto_eject_hosts: true, distribution: modula"));
    let template = config.servers.remove(0);
    config.servers = (0..count)
        .map(|index| {
            let mut server = template.clone();
            server.name = format!("s{index:03}");
            server
        })
        .collect();
    Arc::new(config)
}

fn large_pool() -> TopologyStore {
    TopologyStore::new(large_config(MANY), Instant::now())
}

fn eject(pool: &TopologyStore, index: u16) {
    let server = server(pool, index);
    assert!(pool.eject(&server, Instant::now(), WALL).is_some());
}

/// Returns true if something is left to `publish_deferred`, and takes the notification.
fn is_deferred(pool: &TopologyStore) -> bool {
    let notified = pin!(pool.deferred.notified());
    let mut context = Context::from_waker(Waker::noop());
    notified.poll(&mut context).is_ready()
}

/// The positions of the servers that are not in the ring.
fn out(topology: &Topology) -> Vec<usize> {
    let live = topology.live.iter().enumerate();
    live.filter_map(|(index, live)| (!live).then_some(index))
        .collect()
}

#[test]
fn deferred_topology_follows_one_published_meanwhile() {
    let pool = large_pool();
    eject(&pool, 0);
    assert!(is_deferred(&pool));
    assert_eq!((pool.epoch(), out(&pool.topology())), (0, vec![]));
    let deferred = pool.begin_deferred();
    pool.set_drained(&server(&pool, 1), true);
    assert_eq!((pool.epoch(), out(&pool.topology())), (1, vec![0, 1]));
    pool.finish_deferred(deferred);
    assert_eq!((pool.epoch(), out(&pool.topology())), (2, vec![0, 1]));
    assert!(!is_deferred(&pool));
}

#[test]
fn fact_said_while_a_topology_is_composed_is_not_lost() {
    let pool = large_pool();
    eject(&pool, 0);
    assert!(is_deferred(&pool));
    let deferred = pool.begin_deferred();
    eject(&pool, 2);
    assert!(pool.admit(&server(&pool, 0)).is_some());
    pool.finish_deferred(deferred);
    assert_eq!((pool.epoch(), out(&pool.topology())), (1, vec![0]));
    assert!(is_deferred(&pool), "the new facts are published later");
    pool.finish_deferred(pool.begin_deferred());
    assert_eq!((pool.epoch(), out(&pool.topology())), (2, vec![2]));
}

#[test]
fn deferred_topology_of_an_old_file_is_composed_anew() {
    let pool = large_pool();
    eject(&pool, 0);
    let deferred = pool.begin_deferred();
    pool.set_config(large_config(2));
    pool.finish_deferred(deferred);
    let topology = pool.topology();
    assert_eq!((topology.servers().len(), topology.epoch), (2, 2));
    eject(&pool, 1);
    assert_eq!(out(&pool.topology()), [0, 1], "published at once");
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Health { server: u16, ejected: bool },
    Operator { server: u16, drained: bool },
    File { servers: usize },
    Begin,
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    let server = 0..6_u16;
    prop_oneof![
        3 => (server.clone(), any::<bool>())
            .prop_map(|(server, ejected)| Step::Health { server, ejected }),
        2 => (server, any::<bool>())
            .prop_map(|(server, drained)| Step::Operator { server, drained }),
        1 => prop::sample::select(&[6, MANY, MANY + 1][..])
            .prop_map(|servers| Step::File { servers }),
        3 => Just(Step::Begin),
        3 => Just(Step::Finish),
    ]
}

proptest! {
    /// Whoever publishes between the two halves of a deferred publication: every epoch is
    /// published once, in order, and in the end the topology follows from the facts.
    #[test]
    fn deferred_and_other_publications_never_collide(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let pool = large_pool();
        let mut deferred = None;
        let mut last = pool.topology();
        for step in steps {
            match step {
                Step::Health { server: index, ejected } => {
                    let server = server(&pool, index);
                    let _: Option<Transition> = if ejected {
                        pool.eject(&server, Instant::now(), WALL)
                    } else {
                        pool.admit(&server)
                    };
                }
                Step::Operator { server: index, drained } => {
                    pool.set_drained(&server(&pool, index), drained);
                }
                Step::File { servers } => pool.set_config(large_config(servers)),
                Step::Begin => if deferred.is_none() && is_deferred(&pool) {
                    deferred = Some(pool.begin_deferred());
                },
                Step::Finish => if let Some(deferred) = deferred.take() {
                    pool.finish_deferred(deferred);
                },
            }
            let topology = pool.topology();
            if !Arc::ptr_eq(&last, &topology) {
                prop_assert_eq!(topology.epoch, last.epoch + 1);
                last = topology;
            }
            prop_assert_eq!(last.epoch, pool.epoch());
        }
        if let Some(deferred) = deferred {
            pool.finish_deferred(deferred);
        }
        if is_deferred(&pool) {
            pool.finish_deferred(pool.begin_deferred());
        }
        let (topology, facts) = (pool.topology(), pool.facts());
        let expected = compose(&facts, &topology);
        prop_assert_eq!(&topology.live, &expected.live);
        prop_assert_eq!(topology.router.members(), expected.router.members());
        for key in 0..100_u32 {
            let key = key.to_le_bytes();
            prop_assert_eq!(topology.router.route(&key), expected.router.route(&key));
        }
    }
}
