//! Who is let in: by the proxy, and by the servers.

mod server_users;

const OK: &str = "+OK\r\n";
