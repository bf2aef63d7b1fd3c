//! Second opinions: what nginx and Envoy make of the same payloads, in front of the same endpoint.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::client::{ask, cases, expected};
use crate::corpus;
use crate::endpoint::{self, Seen};

/// Ended with the test, however it ends.
struct Peer {
    name: &'static str,
    child: Child,
    address: SocketAddr,
    home: PathBuf,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("bound")
}

#[expect(clippy::print_stdout, reason = "whoever is not asked is named")]
fn start(
    name: &'static str,
    variable: &str,
    text: impl Fn(&Path, SocketAddr) -> String,
    args: &[&str],
) -> Option<Peer> {
    let Some(program) = env::var_os(variable) else {
        assert!(env::var_os("OUTRIGGER_E2E").is_none(), "{variable} is not set");
        println!("skipped: {variable} is not set, so {name} has no say");
        return None;
    };
    let address = free_port();
    let home = env::temp_dir().join(format!("outrigger-{name}-{}", std::process::id()));
    fs::create_dir_all(&home).expect("a directory for its files");
    let file = home.join("config.yaml");
    fs::write(&file, text(&home, address)).expect("a file");
    let mut command = Command::new(program);
    command.args(args).arg("-c").arg(&file);
    if name == "nginx" {
        command.arg("-p").arg(&home).arg("-e").arg(home.join("error.log"));
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    Some(Peer { name, child, address, home })
}

fn nginx(to: SocketAddr) -> Option<Peer> {
    let text = |home: &Path, address: SocketAddr| {
        let home = home.display();
        format!(
            "daemon off; master_process off; pid {home}/pid; events {{ worker_connections 256; }}
            http {{ access_log off; client_body_temp_path {home}/a; proxy_temp_path {home}/b;
            fastcgi_temp_path {home}/c; uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
            upstream stock {{ server {to}; keepalive 8; }}
            server {{ listen {address}; location / {{ proxy_pass http://stock;
            proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}"
        )
    };
    start("nginx", "OUTRIGGER_NGINX_BIN", text, &[])
}

fn envoy(to: SocketAddr) -> Option<Peer> {
    let text = |_: &Path, address: SocketAddr| {
        let (port, to) = (address.port(), to.port());
        format!(
            "static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config: {{virtual_hosts: [{{name: all, domains: ['*'], routes: [{{match: {{prefix: /}}, route: {{cluster: stock}}}}]}}]}}
          http_filters: [{{name: router, typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]
  clusters:
  - name: stock
    load_assignment: {{cluster_name: stock, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {to}}}}}}}}}]}}]}}
"
        )
    };
    let args = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "off"];
    start("Envoy", "OUTRIGGER_ENVOY_BIN", text, &args)
}

/// What it answers to each payload, in words.
async fn opinions(mut peer: Peer, seen: &Seen) -> Vec<String> {
    let mut tries = 0;
    while TcpStream::connect(peer.address).await.is_err() {
        tries += 1;
        let gone = peer.child.try_wait().expect("it can be asked");
        assert!(tries < 1_000 && gone.is_none(), "{} does not listen: {gone:?}", peer.name);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut opinions = Vec::new();
    for case in cases() {
        let payload = corpus::bytes(&case.lines.concat());
        let (answered, refused) = expected(&case);
        let wanted = answered + usize::from(refused.is_some());
        seen.take();
        let outcome = ask(peer.address, &payload, wanted.max(1), PATIENCE).await;
        let seen = seen.take();
        let mut words: Vec<_> = outcome.statuses.iter().map(u16::to_string).collect();
        if words.len() > 3 && words.iter().all(|word| *word == words[0]) {
            words = vec![format!("{} × {}", words[0], words.len())];
        }
        if words.is_empty() {
            words.push(if outcome.is_closed { "closes" } else { "waits" }.to_owned());
        }
        let mut opinion = words.join(", ");
        if seen.iter().any(|line| line.contains("smuggled")) {
            opinion.push_str(" (forwards the hidden request)");
        }
        opinions.push(opinion);
    }
    opinions
}

const PATIENCE: Duration = Duration::from_millis(250);

/// Whether two verdicts mean the same: how it is refused does not matter.
fn agree(ours: (usize, Option<u16>), theirs: &str) -> bool {
    let statuses = match theirs.split_once(" × ") {
        Some((status, times)) => vec![status; times.parse().unwrap_or(0)],
        None => theirs.split(", ").collect(),
    };
    let answered = statuses.iter().filter(|status| status.starts_with('2')).count();
    let is_refused =
        statuses.iter().any(|status| status.starts_with(['4', '5']) || *status == "closes");
    answered == ours.0 && is_refused == ours.1.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nginx_and_envoy_differ_is_known() {
    let ((to, seen), (also_to, also_seen)) = (endpoint::start().await, endpoint::start().await);
    let (Some(nginx), Some(envoy)) = (nginx(to), envoy(also_to)) else { return };
    let (nginx, envoy) = tokio::join!(opinions(nginx, &seen), opinions(envoy, &also_seen));
    let mut lines = Vec::new();
    let mut section = String::new();
    for ((case, nginx), envoy) in cases().iter().zip(&nginx).zip(&envoy) {
        let ours = expected(case);
        let (with_nginx, with_envoy) = (agree(ours, nginx), agree(ours, envoy));
        if with_nginx && with_envoy || case.verdict == "closed" {
            continue;
        }
        if case.section != section {
            section.clone_from(&case.section);
            lines.push(format!("| **{section}** | | | |"));
        }
        let cell = |agrees: bool, text: &str| if agrees { "=".to_owned() } else { text.to_owned() };
        lines.push(format!(
            "| {} | {} | {} | {} |",
            case.title,
            case.verdict,
            cell(with_nginx, nginx),
            cell(with_envoy, envoy)
        ));
    }
    println!("| payload | ours | nginx | Envoy |\n| --- | --- | --- | --- |\n{}", lines.join("\n"));
    let cases = cases().len();
    println!(
        "promise 41: of {cases} payloads, {} are judged otherwise by one of them",
        lines.len()
    );
    // That both were asked in earnest.
    let good = |opinions: &[String]| opinions.iter().filter(|opinion| *opinion == "200").count();
    assert!(good(&nginx) > 10 && good(&envoy) > 10, "{} and {}", good(&nginx), good(&envoy));
}
