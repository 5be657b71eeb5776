//! The lines that a proxy logs while many things happen at once.

use serde_json::Value;

use crate::support::{Kind, Launch, Pool, Proxy, RedisServer, eventually};

#[test]
fn flood_of_refused_clients_is_ten_lines_and_a_count() {
    const REFUSED: u64 = 200;
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with("client_connections", 1);
    let launch = Launch {
        args: ["--log-format", "json"].map(str::to_owned).to_vec(),
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
    // The connection that probed the proxy was a client, too.
    eventually("nobody is inside", || {
        let left = proxy.stat(&["client_eof"]) > 0;
        (left && proxy.stat(&["client_connections"]) == 0).then_some(())
    });
    let mut inside = proxy.client();
    inside.converse(&[("PING", "+PONG\r\n")]);
    for _ in 0..REFUSED {
        proxy.client().read_to_close();
    }
    proxy.terminate();
    assert!(proxy.process().exit().success());
    let output = proxy.process().output();
    let lines = output.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines.collect::<Result<_, _>>().unwrap();
    let about = |text: &'static str| {
        let lines = lines.iter().filter(move |line| line["message"] == text);
        lines.inspect(|line| assert_eq!(line["fields"]["pool"], "p", "{line}"))
    };
    let written = about("client refused").count();
    let suppressed: u64 = about("further lines of this kind were suppressed")
        .map(|line| line["fields"]["count"].as_u64().unwrap())
        .sum();
    assert_eq!(written as u64 + suppressed, REFUSED, "{output}");
    // Ten in ten seconds.
    assert!(written < 100, "{output}");
}
