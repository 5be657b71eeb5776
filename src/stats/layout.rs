//! The meaning of positions in cells and snapshots.

/// The names of the pools and of their servers: the meaning of positions in cells and snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsLayout {
    /// The name of each pool and the names of its servers, in the order in which they are shown.
    pub pools: Vec<(String, Vec<String>)>,
}

impl StatsLayout {
    /// A layout of these pools and servers, in this order.
    pub fn new<P, S, N>(pools: impl IntoIterator<Item = (P, S)>) -> Self
    where
        P: Into<String>,
        S: IntoIterator<Item = N>,
        N: Into<String>,
    {
        let pools = pools
            .into_iter()
            .map(|(pool, servers)| (pool.into(), servers.into_iter().map(Into::into).collect()));
        Self {
            pools: pools.collect(),
        }
    }
}
