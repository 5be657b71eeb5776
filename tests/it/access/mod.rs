//! Who is let in: by the proxy, and by the servers.

mod secrets;
mod server_users;

const OK: &str = "+OK\r\n";

fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    variables.iter().map(owned).collect()
}
