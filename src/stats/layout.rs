//! The meaning of positions in snapshots.

use fnv::FnvHashMap;

/// The names of pools and of their servers: the meaning of positions in a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsLayout {
    pools: Names,
    /// The servers of each pool.
    servers: Vec<Names>,
}

/// Names in the order in which they are shown, and the position of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    list: Vec<String>,
    positions: FnvHashMap<String, usize>,
}

impl StatsLayout {
    /// A layout of these pools and servers, in this order. No two pools have the same name, nor two servers of a pool.
    pub fn new<P, S, N>(pools: impl IntoIterator<Item = (P, S)>) -> Self
    where
        P: Into<String>,
        S: IntoIterator<Item = N>,
        N: Into<String>,
    {
        let pools = pools.into_iter();
        let (pools, servers): (Vec<_>, Vec<_>) = pools
            .map(|(pool, servers)| {
                (
                    pool.into(),
                    Names::new(servers.into_iter().map(Into::into).collect()),
                )
            })
            .unzip();
        Self {
            pools: Names::new(pools),
            servers,
        }
    }

    /// Returns true if it is the layout of these pools and servers, in this order.
    pub fn is_of<'n, S>(&self, pools: impl IntoIterator<Item = (&'n str, S)>) -> bool
    where
        S: IntoIterator<Item = &'n str>,
    {
        let mut own = self.pools();
        let is_next = |(name, servers): (&str, S)| {
            own.next().is_some_and(|(own, own_servers)| {
                own == name && own_servers.iter().map(String::as_str).eq(servers)
            })
        };
        pools.into_iter().all(is_next) && own.next().is_none()
    }

    /// The name of each pool and the names of its servers.
    pub fn pools(&self) -> impl ExactSizeIterator<Item = (&str, &[String])> {
        let servers = self.servers.iter().map(|servers| &*servers.list);
        self.pools.list.iter().map(String::as_str).zip(servers)
    }

    /// The position of a pool, which is probably `guess`.
    pub(super) fn pool(&self, name: &str, guess: usize) -> Option<usize> {
        self.pools.position(name, guess)
    }

    /// The position of a server in the pool at a position; it is probably `guess`.
    pub(super) fn server(&self, pool: usize, name: &str, guess: usize) -> Option<usize> {
        self.servers.get(pool)?.position(name, guess)
    }
}

impl Names {
    fn new(list: Vec<String>) -> Self {
        let positions = list.iter().cloned().zip(0..);
        Self {
            positions: positions.collect(),
            list,
        }
    }

    fn position(&self, name: &str, guess: usize) -> Option<usize> {
        if self.list.get(guess).is_some_and(|known| known == name) {
            return Some(guess);
        }
        self.positions.get(name).copied()
    }
}
