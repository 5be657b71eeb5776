//! What the proxy says of itself to the servers of a pool.

use super::client_password::ClientPassword;
use super::pool::PoolConfig;
use super::secret::Secret;

/// The user and the password by which servers let the proxy in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAuth {
    /// The user; without one, servers take the password for that of `default`.
    pub user: Option<String>,
    /// The password.
    pub password: Secret,
}

impl ServerAuth {
    /// The words of the request.
    #[must_use]
    pub fn words(&self) -> Vec<&[u8]> {
        let user = self.user.as_deref().map(str::as_bytes);
        [&b"AUTH"[..]]
            .into_iter()
            .chain(user)
            .chain([self.password.expose()])
            .collect()
    }

    /// The directive that has the password, for messages.
    #[must_use]
    pub fn directive(pool: &PoolConfig) -> &'static str {
        if pool.server_password.is_some() {
            "server_password"
        } else {
            "redis_auth"
        }
    }
}

impl PoolConfig {
    /// What each connection to a server says first; none if servers let everyone in.
    #[must_use]
    pub fn server_auth(&self) -> Option<ServerAuth> {
        let of_clients = self.redis_auth.as_ref().and_then(ClientPassword::plain);
        let password = self.server_password.as_ref().or(of_clients)?;
        Some(ServerAuth {
            user: self.server_user.clone(),
            password: password.clone(),
        })
    }
}
