//! Who may connect to a pool, and how often.

use std::time::Duration;

use crate::net::{AddressLimits, PeerRule};

/// Who may connect to a pool, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// Those whose connections begin with a header of the PROXY protocol.
    pub proxy_protocol: Vec<PeerRule>,
    /// Those who may connect; everyone if it is empty.
    pub allow: Vec<PeerRule>,
    /// Those who may not.
    pub deny: Vec<PeerRule>,
    /// The limits of each address.
    pub per_address: AddressLimits,
    /// The failed attempts to authenticate that an address may make at once, and one more each second; `None` is no limit.
    pub auth_failures: Option<u32>,
    /// The time for a client to authenticate; zero is no limit.
    pub auth_timeout: Duration,
}

impl Admission {
    /// Returns true if it says anything of connections before their first request.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        let open = Self {
            auth_failures: self.auth_failures,
            auth_timeout: self.auth_timeout,
            ..Self::default()
        };
        *self != open
    }
}
