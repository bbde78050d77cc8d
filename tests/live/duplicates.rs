//! Live, each request is printed once, however often its packets pass.

use crate::support;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;

use support::network::Network;
use support::program::finish;
use support::tool::{need, skip};

fn done(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).status().is_ok_and(|status| status.success())
}

/// Stops picotap, and gives what it printed: server, port, target, status, interface.
fn printed(network: &Network, child: Child) -> Vec<String> {
    // Everything is on the wire; the kernel hands blocks over every 100 ms.
    std::thread::sleep(Duration::from_millis(700));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let lines = std::fs::read_to_string(network.directory().join("lines")).unwrap();
    let rows = lines.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap();
        assert!(value.get("flags").is_none(), "{line}");
        ["server", "server_port", "target", "status", "interface"]
            .map(|key| value[key].to_string().replace('"', ""))
            .join(" ")
    });
    let mut rows: Vec<String> = rows.collect();
    rows.sort();
    rows
}

/// Five requests on a connection each.
fn ask(namespace: &str, server: &str) {
    for number in 1..=5 {
        let mut curl = Network::inside(namespace, "curl");
        let url = format!("http://{server}/short?n={number}");
        assert!(curl.args(["-sS", "-m", "20", &url]).output().unwrap().status.success());
    }
}

/// What is to be printed where the server is seen under each of these addresses, on an interface.
fn rows(servers: &[(&str, &str)]) -> Vec<String> {
    let mut rows: Vec<String> = servers
        .iter()
        .flat_map(|(server, interface)| (1..=5).map(move |n| format!("{server} /short?n={n} 200 {interface}")))
        .collect();
    rows.sort();
    rows
}

/// A router that translates the server's address, as every node of a Kubernetes cluster does.
#[test]
fn a_router_that_translates_addresses() {
    let test = "a_router_that_translates_addresses";
    let Some(network) = Network::new(test) else { return };
    if need(test, "iptables").is_none() {
        return;
    }
    let network = network.serve();
    let (router, server) = (network.client.clone(), network.server.clone());
    let outside = router.replacen("-c-", "-o-", 1);
    assert!(done(&["netns", "add", &outside]));
    let _guard = Remove(outside.clone());
    for arguments in [
        vec!["-n", &outside, "link", "add", "out0", "type", "veth", "peer", "name", "out1", "netns", &router],
        vec!["-n", &outside, "addr", "add", "10.98.0.1/24", "dev", "out0"],
        vec!["-n", &outside, "link", "set", "out0", "up"],
        vec!["-n", &router, "addr", "add", "10.98.0.2/24", "dev", "out1"],
        vec!["-n", &router, "link", "set", "out1", "up"],
        vec!["-n", &server, "route", "add", "10.98.0.0/24", "via", "10.99.0.1"],
        vec!["netns", "exec", &router, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"],
    ] {
        assert!(done(&arguments), "{arguments:?}");
    }
    let rule = ["-t", "nat", "-A", "PREROUTING", "-d", "10.98.0.2", "-p", "tcp", "--dport", "8080"];
    let mut iptables = Network::inside(&router, "iptables");
    if !iptables.args(rule).args(["-j", "DNAT", "--to-destination", "10.99.0.2:80"]).status().unwrap().success() {
        return skip(test, "this kernel translates no addresses");
    }
    let picotap = network.capture_in(&router, &["-i", "any"]);
    ask(&outside, "10.98.0.2:8080");
    // Which of the two was there first depends on the order in which the kernel hands the packets over.
    let lines = printed(&network, picotap);
    let targets: Vec<_> = lines.iter().filter_map(|row| row.split(' ').nth(2)).collect();
    assert_eq!(targets.len(), 5, "{lines:?}");
    assert!((1..=5).all(|n| targets.contains(&&*format!("/short?n={n}"))), "{lines:?}");
    let picotap = network.capture_in(&router, &["-i", "any", "--duplicates", "keep"]);
    ask(&outside, "10.98.0.2:8080");
    assert_eq!(printed(&network, picotap), rows(&[("10.98.0.2 8080", "out1"), ("10.99.0.2 80", "wire0")]));
    let picotap = network.capture_in(&router, &["-i", "out1", "-i", "wire0", "--workers", "2"]);
    ask(&outside, "10.98.0.2:8080");
    assert_eq!(printed(&network, picotap).len(), 5);
}

struct Remove(String);

impl Drop for Remove {
    fn drop(&mut self) {
        done(&["netns", "del", &self.0]);
    }
}

/// A host at the end of a VXLAN tunnel: its packets are captured in the tunnel and behind it.
#[test]
fn the_end_of_a_tunnel() {
    let test = "the_end_of_a_tunnel";
    let Some(network) = Network::new(test) else { return };
    let network = network.serve();
    for (namespace, wire, own, other, inner) in [
        (&network.client, "wire0", "10.99.0.1", "10.99.0.2", "10.79.0.1/24"),
        (&network.server, "wire1", "10.99.0.2", "10.99.0.1", "10.79.0.2/24"),
    ] {
        let tunnel = ["id", "42", "remote", other, "local", own, "dstport", "4789", "dev", wire];
        if !done(&[&["-n", namespace, "link", "add", "vx0", "type", "vxlan"], &tunnel[..]].concat()) {
            return skip(test, "this kernel has no VXLAN");
        }
        assert!(done(&["-n", namespace, "addr", "add", inner, "dev", "vx0"]));
        assert!(done(&["-n", namespace, "link", "set", "vx0", "up"]));
    }
    for (args, count) in [
        (&["-i", "any"][..], 5),
        (&["-i", "any", "--duplicates", "keep"], 10),
        (&["-i", "wire1", "-i", "vx0", "--workers", "2"], 5),
        (&["-i", "wire1"], 5),
    ] {
        let picotap = network.capture_in(&network.server, args);
        ask(&network.client, "10.79.0.2");
        let rows = printed(&network, picotap);
        assert_eq!(rows.len(), count, "{args:?}: {rows:?}");
        assert!(rows.iter().all(|row| row.starts_with("10.79.0.2 80 /short?n=")
            && [" 200 wire1", " 200 vx0"].iter().any(|end| row.ends_with(end))));
    }
}
