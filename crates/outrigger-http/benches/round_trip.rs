//! Instructions per round trip: the pool beside bare hyper and hyper-util's legacy client.
//!
//! `cargo bench -p outrigger-http --bench round_trip` runs each under `valgrind --tool=callgrind`
//! with two numbers of requests over one kept connection; the difference is the cost of a request,
//! without start-up. The answering end is another process. Goal L7: the whole client call at most
//! 1.30 times bare hyper, of which this is the pool's part.

#![expect(clippy::print_stdout, reason = "its output is a table")]

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_core::{Context, Dispatch, Endpoint, Instance};
use outrigger_http::{Pool, PoolConfig};
use tokio::net::TcpStream;
use tower_service::Service;

const FEW: u32 = 500;
const MANY: u32 = 2_500;
const PEERS: [&str; 3] = ["bare", "pool", "legacy"];
/// Goal L7, of which the pool is a part.
const MOST: f64 = 1.30;

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    match &args[..] {
        [role] if role == "serve" => serve(),
        [peer, address, count] => {
            let address = address.parse().expect("an address");
            ask(peer, address, count.parse().expect("a number"));
        }
        _ => compare(),
    }
}

fn compare() {
    let valgrind = Command::new("valgrind").arg("--version").output();
    if !valgrind.is_ok_and(|output| output.status.success()) {
        println!("skipped: valgrind is not installed (apt-get install valgrind)");
        return;
    }
    let own = env::current_exe().expect("this program");
    let mut server = Command::new(&own)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let mut line = String::new();
    let stdout = server.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("the server tells its address");
    let address = line.trim().to_owned();
    let counted = |peer: &str, requests: u32| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&own)
            .args([peer, &address, &requests.to_string()])
            .output()
            .expect("valgrind runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1));
        let Some(instructions) = collected.and_then(|number| number.trim().parse::<u64>().ok())
        else {
            panic!("valgrind says: {text}")
        };
        instructions
    };
    let mut bare = 0.0;
    println!("instructions per round trip over one kept connection");
    for peer in PEERS {
        let more = counted(peer, MANY) - counted(peer, FEW);
        let each = more as f64 / f64::from(MANY - FEW);
        if peer == "bare" {
            bare = each;
        }
        println!("{peer:>8} {each:>10.0}  {:.3} of bare", each / bare);
        if peer == "pool" && each / bare > MOST {
            println!("goal L7 is missed: at most {MOST}");
        }
    }
    // Its standard input closes with this process, which is what it waits for.
    drop(server.stdin.take());
    server.wait().expect("the server ends");
}

/// Answers 1 KiB to whatever looks like the end of a head, until standard input closes.
fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    println!("{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        let body = "x".repeat(1024);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n{body}");
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
            "bare" => bare(address, count).await,
            "pool" => pool(address, count).await,
            _ => legacy(address, count).await,
        }
    });
}

async fn bare(address: SocketAddr, count: u32) {
    let tcp = TcpStream::connect(address).await.expect("the server listens");
    tcp.set_nodelay(true).expect("settable");
    let (mut send, connection) = http1::handshake(TokioIo::new(tcp)).await.expect("no bytes yet");
    tokio::spawn(connection);
    for _ in 0..count {
        let request = Request::get("/")
            .header("host", "stock")
            .body(Empty::<Bytes>::new())
            .expect("valid request");
        send.ready().await.expect("kept");
        let response = send.send_request(request).await.expect("answered");
        drain(response.into_body()).await;
    }
}

async fn pool(address: SocketAddr, count: u32) {
    let instance =
        Instance::new("stock-1".parse().expect("valid"), "stock".parse().expect("valid"), address);
    let endpoint = Endpoint::new(Arc::new(instance), address);
    let mut pool = Pool::new(PoolConfig::default());
    #[expect(clippy::disallowed_methods, reason = "the pool does not look at the context")]
    let context = Context::new(Instant::now());
    for _ in 0..count {
        let request = Request::get("/")
            .header("host", "stock")
            .body(Empty::<Bytes>::new())
            .expect("valid request");
        let dispatch = Dispatch { context: context.clone(), endpoint: endpoint.clone(), request };
        let response = pool.call(dispatch).await.expect("answered");
        drain(response.into_body()).await;
    }
    assert_eq!(pool.stats().opened, 1, "all over one connection");
}

async fn legacy(address: SocketAddr, count: u32) {
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    for _ in 0..count {
        let request = Request::get(format!("http://{address}/"))
            .body(Empty::<Bytes>::new())
            .expect("valid request");
        let response = client.request(request).await.expect("answered");
        drain(response.into_body()).await;
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
