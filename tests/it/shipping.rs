//! The files that run Ringroad elsewhere: their options and files are those of this version, and they agree with each
//! other. `make package-test` tries the package with a systemd.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringroad::cli;
use ringroad::cli::Options;
use serde_json::Value;

/// The time that a proxy takes to end, at most.
const DRAIN: Duration = Duration::from_secs(10);

fn at_root(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    let path = at_root(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The documents of a file, after a check against the schemas of Kubernetes.
fn documents(file: &str) -> Vec<Value> {
    let output = Command::new(at_root("target/clients/venv/bin/python"))
        .args([at_root("tests/clients/manifests.py"), at_root(file)])
        .output()
        .unwrap_or_else(|error| panic!("no python ({error}): run `make setup`"));
    assert!(output.status.success(), "{file}: {output:#?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The options of a proxy with these arguments.
fn options<S: AsRef<str>>(arguments: &[S]) -> Options {
    let arguments = arguments.iter().map(AsRef::as_ref);
    let all = ["ringroad"].into_iter().chain(arguments);
    match cli::parse(all.map(OsString::from)) {
        Ok(cli::Command::Run(options)) => options,
        other => panic!("{other:?}"),
    }
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().unwrap().iter();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

/// Checks a configuration file, which is valid and without a warning.
fn check(text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ringroad.yml");
    std::fs::write(&path, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ringroad"))
        .arg("-tc")
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}\n{text}");
    assert_eq!(said.lines().count(), 1, "{said}\n{text}");
}

#[test]
fn files_of_the_package_are_valid() {
    check(&read("conf/debian/ringroad.yml"));
    let unit = read("conf/systemd/ringroad.service");
    let value = |name: &str| {
        let mut lines = unit.lines();
        lines
            .find_map(|line| line.strip_prefix(&format!("{name}=")))
            .unwrap()
    };
    let program = "/usr/bin/ringroad ";
    let command = value("ExecStart").strip_prefix(program).unwrap();
    let words: Vec<_> = command.split(' ').collect();
    let options = options(&words);
    let conf = options.conf_file.to_str().unwrap();
    assert_eq!(value("ExecStartPre"), format!("{program}-t -c {conf}"));
    let socket = options.admin.unwrap();
    let directory = socket.parent().unwrap().file_name().unwrap();
    assert_eq!(value("RuntimeDirectory"), directory.to_str().unwrap());
    let stop: u64 = value("TimeoutStopSec").parse().unwrap();
    assert!(Duration::from_secs(stop) > DRAIN);
    let cargo = read("Cargo.toml");
    assert!(cargo.contains(&format!("conf-files = [\"{conf}\"]")));
    let version = env!("CARGO_PKG_VERSION");
    let changes = read("conf/debian/changelog");
    assert!(changes.starts_with(&format!("ringroad ({version}-1) ")));
}

#[test]
fn image_runs_the_proxy_without_root() {
    let file = read("Dockerfile");
    let list = |instruction: &str| {
        let line = file
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix(instruction));
        strings(&serde_json::from_str(line.unwrap().trim()).unwrap())
    };
    assert_eq!(list("ENTRYPOINT"), ["ringroad"]);
    let options = options(&list("CMD"));
    assert_eq!(options.conf_file, Path::new("/etc/ringroad/ringroad.yml"));
    assert!(options.watch);
    // Where `ringroad ctl`, the health check, looks for it.
    assert_eq!(options.admin.unwrap(), Path::new("/run/ringroad/ctl.sock"));
    assert!(file.contains("CMD [\"ringroad\", \"ctl\", \"status\"]"));
    let user = file.lines().find_map(|line| line.strip_prefix("USER "));
    assert_eq!(user, Some("10001:10001"));
    assert!(file.contains(&format!("EXPOSE 22121 {}\n", options.stats_port)));
}

#[test]
fn compose_file_starts_the_servers_of_its_pool() {
    let compose = documents("conf/compose/compose.yml").remove(0);
    let services = compose["services"].as_object().unwrap();
    let proxy = &services["ringroad"];
    let mounts = strings(&proxy["volumes"]);
    assert_eq!(mounts, ["./ringroad:/etc/ringroad:ro"]);
    let pools = read("conf/compose/ringroad/ringroad.yml");
    check(&pools);
    let servers = services.keys().filter(|name| *name != "ringroad");
    for server in servers.clone() {
        assert!(pools.contains(&format!("- {server}:6379:1 {server}\n")));
    }
    assert_eq!(servers.count(), 4);
    assert_eq!(pools.matches(":6379:1 ").count(), 4);
    assert!(pools.contains("listen: 0.0.0.0:22121\n"));
    assert_eq!(strings(&proxy["ports"])[0], "22121:22121");
    let grace = proxy["stop_grace_period"].as_str().unwrap();
    let grace: u64 = grace.strip_suffix('s').unwrap().parse().unwrap();
    assert!(Duration::from_secs(grace) > DRAIN);
}

#[test]
fn kubernetes_objects_are_valid_and_agree() {
    let objects = documents("conf/kubernetes/ringroad.yaml");
    let object = |kind: &str| {
        objects
            .iter()
            .find(|object| object["kind"] == kind)
            .unwrap()
    };
    let pools = object("ConfigMap")["data"]["ringroad.yml"]
        .as_str()
        .unwrap();
    check(pools);
    assert!(pools.contains("listen: 0.0.0.0:22121\n"));
    let deployment = &object("Deployment")["spec"];
    let pod = &deployment["template"];
    let labels = &pod["metadata"]["labels"];
    for selector in [
        &deployment["selector"]["matchLabels"],
        &object("Service")["spec"]["selector"],
        &object("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    let container = &pod["spec"]["containers"][0];
    let options = options(&strings(&container["args"]));
    assert!(options.watch && options.stats_addr == "0.0.0.0");
    let mounts = container["volumeMounts"].as_array().unwrap();
    for path in [&options.conf_file, options.admin.as_ref().unwrap()] {
        let directory = path.parent().unwrap().to_str().unwrap();
        assert!(mounts.iter().any(|mount| mount["mountPath"] == directory));
    }
    let port = |name: &Value| {
        let ports = container["ports"].as_array().unwrap().iter();
        let mut ports = ports.filter(|port| port["name"] == *name);
        ports.next().unwrap()["containerPort"].as_u64().unwrap()
    };
    assert_eq!(
        port(&object("Service")["spec"]["ports"][0]["targetPort"]),
        22121
    );
    for probe in ["readinessProbe", "livenessProbe"] {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["path"], "/healthz");
        assert_eq!(port(&get["port"]), u64::from(options.stats_port));
    }
    // The probe fails while the proxy drains, and must not end it.
    let liveness = &container["livenessProbe"];
    let patience = liveness["periodSeconds"].as_u64().unwrap()
        * liveness["failureThreshold"].as_u64().unwrap();
    assert!(Duration::from_secs(patience) > DRAIN * 2);
    let stop = strings(&container["lifecycle"]["preStop"]["exec"]["command"]);
    let [sleep, seconds] = stop.as_slice() else {
        panic!("{stop:?}");
    };
    assert_eq!(sleep, "sleep");
    let grace = pod["spec"]["terminationGracePeriodSeconds"]
        .as_u64()
        .unwrap();
    let needed = Duration::from_secs(seconds.parse().unwrap()) + DRAIN;
    assert!(Duration::from_secs(grace) > needed);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(container["image"], format!("ringroad:{version}"));
    let user = pod["spec"]["securityContext"]["runAsUser"]
        .as_u64()
        .unwrap();
    assert!(read("Dockerfile").contains(&format!("\nUSER {user}:{user}\n")));
}
