//! The proxy in its own process, and the endpoint behind it in this one.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use outrigger_core::{Context, Dispatch, Endpoint, Instance};
use outrigger_http::{Peer, Pool, PoolConfig, Server, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{ServiceExt, service_fn};

/// Bounds that are short, so that a test can wait for them.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(2);

const TO: &str = "OUTRIGGER_HTTP_FLOODS";

/// Not a test of its own: the proxy of the others, when they start it.
#[test]
fn forwards_when_asked() {
    let Ok(to) = std::env::var(TO) else { return };
    let to: SocketAddr = to.parse().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        println!("listening on {}", listener.local_addr().expect("bound"));
        let (id, service) = ("stock-1".parse().expect("an id"), "stock".parse().expect("a name"));
        let endpoint = Endpoint::new(Arc::new(Instance::new(id, service, to)), to);
        let pool = Pool::new(PoolConfig::default());
        let make = move |_: &Peer| {
            let (pool, endpoint) = (pool.clone(), endpoint.clone());
            service_fn(move |request: Request<Incoming>| {
                let (pool, endpoint) = (pool.clone(), endpoint.clone());
                async move {
                    let context = Context::new(now());
                    let dispatch = Dispatch { context, endpoint, request };
                    Ok::<_, Infallible>(match pool.oneshot(dispatch).await {
                        Ok(response) => response.map(BodyExt::boxed_unsync),
                        Err(_) => {
                            let none = Empty::new().map_err(|never| match never {});
                            let mut response = Response::new(none.boxed_unsync());
                            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                            response
                        }
                    })
                }
            })
        };
        let mut config = ServerConfig::default();
        config.header_timeout = HEADER_TIMEOUT;
        config.idle_timeout = IDLE_TIMEOUT;
        config.body_timeout = BODY_TIMEOUT;
        tokio::spawn(Server::new(config).serve(listener, make, std::future::pending()));
        // Until the parent closes this process's standard input.
        let _ = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await;
    });
}

#[expect(clippy::disallowed_methods, reason = "what is measured takes real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The proxy; ended with the test, however that ends.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    pub(crate) fn start(to: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["child::forwards_when_asked", "--exact", "--nocapture"])
            .env(TO, to.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("piped");
        let address = BufReader::new(stdout)
            .lines()
            .find_map(|line| line.expect("text").split_once("listening on ")?.1.trim().parse().ok())
            .expect("it tells its address");
        Self { child, address }
    }

    /// Units: bytes.
    pub(crate) fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
    }

    /// How many file descriptors it has open.
    pub(crate) fn fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    /// Time that it has run on a processor.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let nanos = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    /// Asks `times` on one connection, 2 ms apart; gives back how long each took, in order of length,
    /// and how many failed.
    pub(crate) async fn ask_well(&self, times: usize) -> (Vec<Duration>, usize) {
        let mut tcp = self.connect().await;
        tcp.set_nodelay(true).expect("settable");
        let (mut took, mut failed) = (Vec::new(), 0);
        for _ in 0..times {
            let began = now();
            let asked = tcp.write_all(b"GET /good HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\nok") {
                let mut part = [0; 1_024];
                match tcp.read(&mut part).await {
                    Ok(read) if read > 0 => heard.extend_from_slice(&part[..read]),
                    _ => break,
                }
            }
            if asked.is_err() || !heard.starts_with(b"HTTP/1.1 200") {
                failed += 1;
                tcp = self.connect().await;
            }
            took.push(began.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        took.sort();
        (took, failed)
    }
}

pub(crate) fn p99(took: &[Duration]) -> Duration {
    took[took.len() * 99 / 100]
}

/// Answers `ok` at once to anything; `/long` with bytes without end, `/echo` with what it is sent.
pub(crate) async fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp));
        }
    });
    address
}

async fn serve(tcp: TcpStream) -> Option<()> {
    let _ = tcp.set_nodelay(true);
    let mut tcp = tokio::io::BufStream::new(tcp);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.ok()?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        if head.contains(" /long ") {
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
                .await
                .ok()?;
            loop {
                tcp.write_all(&[b'x'; 16_384]).await.ok()?;
            }
        }
        let length =
            head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        if head.contains(" /echo ") {
            tcp.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.ok()?;
            tcp.flush().await.ok()?;
            let mut left: u64 = length?.parse().ok()?;
            let mut part = vec![0; 65_536];
            while left > 0 {
                let most = usize::try_from(left).map_or(part.len(), |left| left.min(part.len()));
                let read = tcp.read(&mut part[..most]).await.ok()?;
                if read == 0 {
                    return None;
                }
                left -= read as u64;
                tcp.write_all(format!("{read:x}\r\n").as_bytes()).await.ok()?;
                tcp.write_all(&part[..read]).await.ok()?;
                tcp.write_all(b"\r\n").await.ok()?;
            }
            tcp.write_all(b"0\r\n\r\n").await.ok()?;
        } else {
            if let Some(length) = length {
                tcp.read_exact(&mut vec![0; length.parse().ok()?]).await.ok()?;
            } else if head.contains("transfer-encoding: chunked") {
                let mut last = [0; 5];
                while &last != b"0\r\n\r\n" {
                    last.rotate_left(1);
                    last[4] = tcp.read_u8().await.ok()?;
                }
            }
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.ok()?;
        }
        tcp.flush().await.ok()?;
    }
}
