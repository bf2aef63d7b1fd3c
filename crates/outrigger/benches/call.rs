//! Instructions of a whole client call, `fleet.client()` over one kept connection, beside bare
//! hyper: goal L7.
//!
//! `cargo bench -p outrigger --bench call` runs each under `valgrind --tool=callgrind` with two
//! numbers of requests; the difference is the cost of a request, without start-up. The answering
//! end is another process. Prints JSON lines, exits with 1 when the goal is missed.

#![expect(clippy::print_stdout, reason = "its output is a table")]

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, ExitCode, Stdio};

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use outrigger::breaker::BreakerConfig;
use outrigger::limit::RateLimitConfig;
use outrigger::{Body, Rules};
use tokio::net::TcpStream;
use tower_service::Service;

const FEW: u32 = 500;
const MANY: u32 = 2_500;
/// What a call may cost over bare hyper that writes the same headers; see ADR 0011.
const MOST: f64 = 1.30;
/// What a policy may cost over the same rules from settings.
const MOST_BY_POLICY: f64 = 1.10;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    match &args[..] {
        [role] if role == "serve" => serve(),
        [peer, address, count] => {
            let address = address.parse().expect("an address");
            ask(peer, address, count.parse().expect("a number"));
        }
        _ => return compare(),
    }
    ExitCode::SUCCESS
}

fn compare() -> ExitCode {
    let valgrind = Command::new("valgrind").arg("--version").output();
    if !valgrind.is_ok_and(|output| output.status.success()) {
        println!("skipped: valgrind is not installed (apt-get install valgrind)");
        return ExitCode::SUCCESS;
    }
    let own = env::current_exe().expect("this program");
    let mut server = Command::new(&own)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("the server tells its address");
    let address = line.trim().to_owned();
    let per_call = |peer: &str| {
        let more = counted(&own, peer, &address, MANY) - counted(&own, peer, &address, FEW);
        more as f64 / f64::from(MANY - FEW)
    };
    let bare = per_call("bare");
    println!(r#"{{"row":"L7","what":"bare hyper","instructions":{bare:.0}}}"#);
    // What the contract with other services costs on its own: nobody who keeps it is below.
    let headers = per_call("headers");
    println!(
        r#"{{"row":"L7","what":"bare hyper, with the contract's headers","instructions":{headers:.0},"ratio":{:.3}}}"#,
        headers / bare
    );
    let mut held = true;
    let mut full = f64::NAN;
    for (peer, what) in
        [("defaults", "whole call, default rules"), ("full", "with limit and circuit")]
    {
        let ours = per_call(peer);
        let (ratio, alike) = (ours / bare, ours / headers);
        held &= alike <= MOST;
        full = ours;
        println!(
            r#"{{"row":"L7","what":"{what}","instructions":{ours:.0},"ratio":{ratio:.3},"ratio_to_headers":{alike:.3},"must":{MOST},"held":{}}}"#,
            alike <= MOST
        );
    }
    for (peer, what) in [
        ("policy", "the same, and three routes, by a policy"),
        ("split", "the same, and a split between subsets"),
    ] {
        let ours = per_call(peer);
        let more = ours / full;
        held &= more <= MOST_BY_POLICY;
        println!(
            r#"{{"row":"L7","what":"{what}","instructions":{ours:.0},"ratio_to_settings":{more:.3},"must":{MOST_BY_POLICY},"held":{}}}"#,
            more <= MOST_BY_POLICY
        );
    }
    // Its standard input closes, which is what it waits for.
    drop(server.stdin.take());
    server.wait().expect("the server ends");
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn counted(own: &std::path::Path, peer: &str, address: &str, requests: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args([peer, address, &requests.to_string()])
        .output()
        .expect("valgrind runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    match collected.and_then(|number| number.trim().parse().ok()) {
        Some(instructions) => instructions,
        None => panic!("valgrind says: {text}"),
    }
}

/// Answers 1 KiB to whatever comes, until standard input closes.
fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    println!("{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n{}", "x".repeat(1024));
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.expect("accepted"), answer.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                // One request at a time, each in one segment: that is how the clients write them.
                while let Ok(1..) = stream.read(&mut buffer) {
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let _ = std::io::stdin().read(&mut [0]);
}

fn ask(peer: &str, address: SocketAddr, count: u32) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match peer {
            "bare" => bare(address, count, false).await,
            "headers" => bare(address, count, true).await,
            "policy" | "split" => by_policy(address, count, peer == "split").await,
            peer => whole(address, count, peer == "full").await,
        }
    });
}

async fn bare(address: SocketAddr, count: u32, is_contract: bool) {
    let tcp = TcpStream::connect(address).await.expect("the server listens");
    tcp.set_nodelay(true).expect("settable");
    let (mut send, connection) = http1::handshake(TokioIo::new(tcp)).await.expect("no bytes yet");
    tokio::spawn(connection);
    for n in 0..count {
        let mut request = Request::get("/")
            .header("host", "stock")
            .body(Empty::<Bytes>::new())
            .expect("valid request");
        if is_contract {
            let headers = request.headers_mut();
            // The two that differ from call to call are formatted, the others are there already.
            let trace = format!("00-{:032x}-{:016x}-00", u128::from(n) + 1, n + 1);
            headers.insert("traceparent", trace.try_into().expect("digits"));
            headers.insert("x-outrigger-deadline-ms", HeaderValue::from(15_000 - n));
            headers.insert("x-outrigger-caller", HeaderValue::from_static("bench"));
            headers.insert("x-outrigger-attempt", HeaderValue::from_static("0"));
        }
        send.ready().await.expect("kept");
        drain(send.send_request(request).await.expect("answered").into_body()).await;
    }
}

async fn whole(address: SocketAddr, count: u32, is_full: bool) {
    let mut rules = Rules::default();
    if is_full {
        rules.breaker = Some(BreakerConfig::default());
        rules.rate_limits = vec![RateLimitConfig::new("1000000/s".parse().expect("a rate"))];
    }
    let fleet = outrigger::builder("bench")
        .consul("none")
        .endpoints("stock", [address])
        .expect("a name")
        .rules(rules)
        .join()
        .await
        .expect("valid");
    call("http://stock/", fleet, count).await;
}

/// The rules of `full`, by a policy whose last route is for the requests; with a split, its only
/// subset is everybody.
async fn by_policy(address: SocketAddr, count: u32, is_split: bool) {
    let split = if is_split { "split: [ { subset: all, weight: 100 } ], " } else { "" };
    let text = format!(
        "version: 1\nservice: stock\nbreaker: {{}}\nrate_limits: [ {{ rate: 1000000/s }} ]\n\
         subsets: {{ all: {{}} }}\nroutes:\n  - {{ name: v1, match: {{ path_prefix: /v1 }} }}\n  \
         - {{ name: post, match: {{ methods: [POST] }} }}\n  \
         - {{ name: stock, {split}match: {{ path_prefix: /stock }}, timeout: 10s }}\n"
    );
    let folder = env::temp_dir().join(format!("outrigger-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("stock.yaml"), text).expect("written");
    let fleet = outrigger::builder("bench")
        .consul("none")
        .endpoints("stock", [address])
        .expect("a name")
        .policy(&folder)
        .join()
        .await
        .expect("valid");
    call("http://stock/stock/42", fleet.clone(), count).await;
    let services = fleet.services();
    assert_eq!(services[0].policy.source.as_str(), "file", "{:?}", services[0].policy);
    std::fs::remove_dir_all(folder).expect("removed");
}

async fn call(url: &'static str, fleet: outrigger::Fleet, count: u32) {
    let mut client = fleet.client();
    for _ in 0..count {
        let request = Request::get(url).body(Body::empty()).expect("valid request");
        drain(client.call(request).await.expect("answered").into_body()).await;
    }
}

async fn drain<B>(mut body: B)
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Debug,
{
    while let Some(frame) = body.frame().await {
        frame.expect("whole");
    }
}
