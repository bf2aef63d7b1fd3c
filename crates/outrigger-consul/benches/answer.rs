//! C1: 5,000 instances, from the bytes of an answer to instances.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outrigger_consul::read_instances;

fn answer(count: u32) -> String {
    let entry = |n: u32| {
        let (a, b) = (n / 250, n % 250 + 1);
        let node = n / 50;
        format!(
            r#"{{"Node":{{"ID":"ac9a914d-ee39-6763-f9e7-{n:012x}","Node":"node-{node}","Address":"10.1.{a}.{b}","Datacenter":"dc1","TaggedAddresses":{{"lan":"10.1.{a}.{b}","lan_ipv4":"10.1.{a}.{b}","wan":"10.1.{a}.{b}","wan_ipv4":"10.1.{a}.{b}"}},"Meta":{{"consul-network-segment":""}},"CreateIndex":11,"ModifyIndex":12}},"Service":{{"ID":"inventory-host-{n}-8080-{n:06x}","Service":"inventory","Tags":["rust","blue"],"Address":"10.1.{a}.{b}","TaggedAddresses":{{"lan_ipv4":{{"Address":"10.1.{a}.{b}","Port":8080}},"wan_ipv4":{{"Address":"10.1.{a}.{b}","Port":8080}}}},"Meta":{{"language":"rust","version":"1.2.{b}","protocol":"http","zone":"eu-{}","outrigger-boot":"{n:016x}"}},"Port":8080,"Weights":{{"Passing":1,"Warning":1}},"EnableTagOverride":false,"Proxy":{{"MeshGateway":{{}},"Expose":{{}}}},"Connect":{{}},"CreateIndex":35,"ModifyIndex":35}},"Checks":[{{"Node":"node-{node}","CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing","Notes":"","Output":"Agent alive and reachable","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Definition":{{}},"CreateIndex":11,"ModifyIndex":11}},{{"Node":"node-{node}","CheckID":"service:inventory-{n}","Name":"inventory heartbeat","Status":"passing","Notes":"","Output":"","ServiceID":"inventory-{n}","ServiceName":"inventory","ServiceTags":["rust","blue"],"Type":"ttl","Definition":{{}},"CreateIndex":35,"ModifyIndex":36}}]}}"#,
            n % 3
        )
    };
    format!("[{}]", (0..count).map(entry).collect::<Vec<_>>().join(","))
}

fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = stat.split_whitespace().next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

fn bench(c: &mut Criterion) {
    let body = answer(5_000);
    let service = "inventory".parse().expect("a name");
    let mut group = c.benchmark_group("answer");
    group.sample_size(20).throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("5000_instances", |b| {
        // Time on the processor, so that a busy machine does not show as a slow reader.
        b.iter_custom(|times| {
            let before = on_cpu();
            for _ in 0..times {
                black_box(read_instances(body.as_bytes(), &service).expect("a good answer").len());
            }
            on_cpu() - before
        });
    });
    // The least that any reader does: how far the machine is from the one of the goals.
    group.bench_function("walked_and_forgotten", |b| {
        b.iter_custom(|times| {
            let before = on_cpu();
            for _ in 0..times {
                black_box(serde_json::from_str::<serde::de::IgnoredAny>(&body).expect("JSON"));
            }
            on_cpu() - before
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
