//! What a registry answers: nobody says that it is Consul.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use outrigger_consul::{Consul, ConsulConfig, Dial, Dialed, SessionConfig, read_instances};
use outrigger_core::{Address, Instance, ServiceName};
use outrigger_discovery::{BoxFuture, Query, Registrar as _, Registration, Resolver as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::timeout;

use crate::wire::{Panics, runtime};

fn stock() -> ServiceName {
    "stock".parse().expect("a valid name")
}

/// Whoever is listed can be connected to, is listed once, and is of the service that was asked for.
fn hold(list: &[Arc<Instance>], service: &ServiceName) {
    let mut ids = HashSet::new();
    for one in list {
        assert!(ids.insert(&one.id), "{} is listed twice", one.id);
        assert_eq!(one.service, *service);
        match &one.address {
            Address::Socket(address) => {
                let ip = address.ip().to_canonical();
                assert!(
                    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast(),
                    "{address}"
                );
            }
            Address::Name(name, port) => {
                let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '@' | '?' | '#');
                assert!(
                    *port != 0 && !name.is_empty() && name.chars().all(plain),
                    "{name:?}:{port}"
                );
            }
            _ => {}
        }
        assert!(!one.tags.iter().any(|tag| tag.len() > 1 << 20));
    }
}

/// `/v1/health/service/stock`, and the same entries in an answer among good ones.
pub fn instances(input: &[u8]) {
    let Ok(list) = read_instances(input, &stock()) else { return };
    hold(&list, &stock());
    let again = read_instances(input, &stock()).expect("read once, read again");
    assert_eq!(list, again, "the same bytes are the same instances");
}

/// An agent that answers each connection with the same bytes.
#[derive(Clone, Debug)]
struct Parrot(Arc<[u8]>);

impl Dial for Parrot {
    fn dial<'a>(
        &'a self,
        _: &'a str,
        _: u16,
    ) -> BoxFuture<'a, io::Result<Box<dyn Dialed + 'static>>> {
        let answer = Arc::clone(&self.0);
        Box::pin(async move {
            let (ours, mut theirs) = duplex(4 << 10);
            tokio::spawn(async move {
                let mut question = [0; 1024];
                let _asked = theirs.read(&mut question).await;
                let _answered = theirs.write_all(&answer).await;
                let _ended = theirs.shutdown().await;
                // The rest of the question, so that writing it does not fail.
                let _rest = tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await;
            });
            Ok(Box::new(ours) as Box<dyn Dialed>)
        })
    }
}

/// Any part of the adapter asks, and is answered with this: it comes to an end in its time, with an
/// answer that holds or an error. The first byte chooses who asks, and whether the rest is the body of
/// a whole answer or the bytes on the wire.
pub fn agent(input: &[u8]) {
    let Some((&mode, rest)) = input.split_first() else { return };
    let answer = if mode & 1 == 0 {
        rest.to_vec()
    } else {
        let length = rest.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: {length}\r\n\r\n");
        [head.as_bytes(), rest].concat()
    };
    let panics = Panics::now();
    runtime(true).block_on(async {
        let mut config = ConsulConfig::default().with_dialer(Arc::new(Parrot(answer.into())));
        config.timeout = Duration::from_secs(1);
        let consul = Consul::new(config).expect("a valid configuration");
        // Everything has its time: nothing below waits on real time.
        let within = Duration::from_secs(30);
        match (mode >> 1) % 6 {
            0 => {
                let got =
                    timeout(within, consul.kv().get("outrigger/policy")).await.expect("in time");
                if let Ok(Some(entry)) = got {
                    assert!(entry.value.len() <= 32 << 20);
                }
            }
            1 => drop(timeout(within, consul.kv().keys("outrigger/")).await.expect("in time")),
            2 => {
                let mut stream = consul.watch(&Query::new(stock()));
                if let Ok(Some(snapshot)) = timeout(Duration::from_secs(3), stream.next()).await {
                    hold(&snapshot.instances, &stock());
                }
            }
            3 => {
                let mut stream = consul.catalogue(None);
                let _seen = timeout(Duration::from_secs(3), stream.next()).await;
            }
            4 => {
                let registered = consul.register(Registration::new(stock(), 80)).await;
                let registered = registered.expect("no answer is needed for this");
                let _settled = timeout(Duration::from_secs(3), registered.settled()).await;
                let _gone = timeout(within, registered.deregister()).await.expect("in time");
            }
            _ => {
                let config = SessionConfig::default();
                let _session = timeout(within, consul.session(&config)).await.expect("in time");
            }
        }
    });
    panics.hold();
}
