//! The operations that the stats port offers, what it leaves out of them, and to whom the two listeners answer.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use ringroad::admin::api::{Exposure, Operation, Verb};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::site::Site;
use crate::support::Client;

/// Names of clients, keys and arguments that only operators may see.
const SECRET: &str = "s3cret";

/// The status and the body of the answer.
fn ask(site: &Site, request: &str) -> (u16, String) {
    let mut reader = Client::connect(site.stats_address());
    reader.send(request.as_bytes());
    let reply = String::from_utf8(reader.read_to_close()).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn get(site: &Site, path: &str) -> (u16, String) {
    ask(
        site,
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    )
}

#[test]
fn stats_port_offers_what_reads() {
    let site = Site::start();
    for operation in Operation::ALL {
        let row = operation.endpoint();
        let request = |path: &str| format!("{} {path} HTTP/1.0\r\n\r\n", row.verb.name());
        let (status, _) = ask(&site, &request(row.path));
        assert_eq!(status, 404, "{} is only there below /api", row.path);
        let (status, body) = ask(&site, &request(&format!("/api{}", row.path)));
        if row.exposure == Exposure::AdminOnly {
            assert_eq!(status, 403, "{}: {body}", row.path);
            assert!(body.contains("by the admin socket alone"), "{body}");
        } else {
            assert_eq!((status, row.verb), (200, Verb::Get), "{}: {body}", row.path);
        }
    }
    site.client().converse(&[("PING", "+PONG\r\n")]);
}

#[test]
fn index_lists_what_the_stats_port_offers() {
    let site = Site::start();
    for path in ["/api", "/api/"] {
        let index: Value = serde_json::from_str(&get(&site, path).1).unwrap();
        let listed = index["operations"].as_array().unwrap().iter();
        let listed: Vec<_> = listed
            .map(|entry| entry["path"].as_str().unwrap())
            .collect();
        let rows = Operation::ALL.iter().map(|operation| operation.endpoint());
        let offered = rows.filter(|row| row.exposure != Exposure::AdminOnly);
        assert_eq!(listed, offered.map(|row| row.path).collect::<Vec<_>>());
    }
    for (path, status) in [
        ("/api/nope", 404),
        ("/api/servers?pool=nope", 404),
        ("/api/servers?pol=x", 400),
    ] {
        assert_eq!(get(&site, path).0, status, "{path}");
    }
}

/// All that the stats port tells.
fn all_answers(site: &Site) -> String {
    let rows = Operation::ALL.iter().map(|operation| operation.endpoint());
    let offered = rows.filter(|row| row.exposure != Exposure::AdminOnly);
    let paths = offered.map(|row| format!("/api{}", row.path));
    let all = paths.chain(["/stats", "/metrics"].map(str::to_owned));
    all.map(|path| get(site, &path).1).collect()
}

/// A client with a secret name, whose requests have secret keys and arguments; and its address.
fn secretive(site: &Site) -> (Client, String) {
    let mut client = site.client();
    client.ask(&format!("CLIENT SETNAME {SECRET}"));
    client.ask(&format!("MGET {SECRET}1 {SECRET}2"));
    client.ask(&format!("NOSUCH {SECRET}3"));
    let listed: Value = serde_json::from_str(&site.ctl(&["--json", "clients", "list"])).unwrap();
    let address = listed["clients"][0]["address"].as_str().unwrap();
    (client, address.to_owned())
}

#[test]
fn stats_port_leaves_out_keys_and_clients() {
    let site = Site::start();
    let (_client, address) = secretive(&site);
    let told = all_answers(&site);
    assert!(!told.contains(SECRET), "{told}");
    assert!(!told.contains(&address), "{told}");
    assert!(site.ctl(&["clients", "list"]).contains(SECRET));
}

#[test]
fn show_keys_shows_them_on_the_stats_port() {
    let site = Site::start_with(&["--show-keys"]);
    let (_client, address) = secretive(&site);
    let told = get(&site, "/api/clients").1;
    assert!(told.contains(SECRET) && told.contains(&address), "{told}");
}

#[test]
fn requests_of_other_sites_are_refused_on_both() {
    let site = Site::start();
    let cases = [
        ("Host: evil.example", 403),
        ("Host: localhost\r\nOrigin: http://evil.example", 403),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site", 403),
        ("Host: localhost:8080\r\nOrigin: http://localhost:8080", 200),
        ("Host: 127.0.0.1", 200),
    ];
    for (headers, status) in cases {
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\n{headers}\r\n\r\n");
        assert_eq!(ask(&site, &request("/api/servers")).0, status, "{headers}");
        assert_eq!(site.http(&request("/servers")).0, status, "{headers}");
        assert_eq!(ask(&site, &request("/metrics")).0, 200, "{headers}");
    }
    let post = |headers: &str| {
        let body = "{\"level\": 6}";
        let length = body.len();
        let headers = format!("Host: localhost:8080\r\n{headers}Content-Length: {length}");
        site.http(&format!(
            "POST /log-level HTTP/1.1\r\n{headers}\r\n\r\n{body}"
        ))
    };
    let own = "Origin: http://localhost:8080\r\nSec-Fetch-Site: same-origin\r\n";
    let json = "Content-Type: application/json\r\n";
    assert_eq!(post("Content-Type: text/plain\r\n").0, 403);
    assert_eq!(post(own).0, 403, "a form");
    assert_eq!(
        post(&format!("Origin: http://evil.example\r\n{json}")).0,
        403
    );
    assert!(
        site.ctl(&["loglevel"]).contains("level 5"),
        "nothing has changed"
    );
    assert_eq!(post(&format!("{own}{json}")).0, 200);
    assert_eq!(post("").0, 200, "no browser");
}

/// A connection from an address of its own.
fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// A browser opens two connections, and sends nothing on one until the other is answered. On a busy machine it may be late with
/// both; it is not with all of these.
#[test]
fn second_connection_of_a_browser_may_be_late() {
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.0\r\nUser-Agent: Mozilla/5.0\r\n\r\n";
    let site = Site::start();
    let answer = |mut stream: TcpStream| {
        let mut answer = Vec::new();
        let _ = stream.write_all(REQUEST);
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    let is_served = (1..20).any(|host| {
        let from = Ipv4Addr::new(127, 1, 1, host);
        let [second, first] = [(); 2].map(|()| connect_from(from, site.stats_address()));
        answer(first);
        thread::park_timeout(Duration::from_millis(300));
        answer(second).starts_with(b"HTTP/1.0 200")
    });
    assert!(is_served);
}
