use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_core::{Address, Instance, Language, Protocol, Status, Weights};
use tempfile::TempDir;

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn name() -> ServiceName {
    "stock".parse().expect("valid name")
}

fn instance(n: u8) -> Instance {
    let id = format!("stock-{n} \"quoted\" é");
    let address = std::net::SocketAddr::from(([10, 0, 0, n], 80));
    let mut instance = Instance::new(id.parse().expect("valid id"), name(), address);
    instance.status = Status::Warning;
    instance.weights = Weights { passing: 10, warning: 0 };
    instance.protocol = Protocol::Grpcs;
    instance.language = Some(Language::named("zig").expect("valid"));
    instance.version = Some("1.2.3".into());
    instance.zone = Some("a".into());
    instance.datacenter = Some("dc1".into());
    instance.tags = vec!["rust".into(), "".into()];
    instance.meta = BTreeMap::from([("k".into(), "v\n\u{0}".into())]);
    instance
}

fn snapshot(count: u8) -> Snapshot {
    let mut instances: Vec<_> = (1..=count).map(|n| Arc::new(instance(n))).collect();
    if let Some(first) = instances.first_mut() {
        Arc::make_mut(first).address = Address::Name("node7.example".into(), 443);
    }
    Snapshot::new(name(), 42, instances, noon())
}

fn store() -> (TempDir, SnapshotStore) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SnapshotStore::new(dir.path().join("a").join("b"));
    (dir, store)
}

/// What loading says of a file with these bytes.
fn refused(bytes: &[u8]) -> SnapshotError {
    let (_dir, store) = store();
    store.save(&snapshot(1), noon()).expect("the directory is made");
    fs::write(store.path(&name()), bytes).expect("written");
    let (snapshots, mut refused) = store.load_all(noon());
    assert!(snapshots.is_empty() && refused.len() == 1, "{snapshots:?}");
    refused.remove(0).error
}

fn saved() -> Vec<u8> {
    let (_dir, store) = store();
    store.save(&snapshot(2), noon()).expect("saved");
    fs::read(store.path(&name())).expect("it is there")
}

/// The same content, and a checksum that fits.
fn forged(change: impl FnOnce(String) -> String) -> Vec<u8> {
    let text = String::from_utf8(saved()).expect("text");
    let content = change(text.split_once('\n').expect("a head").1.to_owned());
    let sum: String = <sha2::Sha256 as sha2::Digest>::digest(&content)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("outrigger-snapshot 1 {sum}\n{content}").into_bytes()
}

#[test]
fn what_is_saved_is_loaded_and_marked_as_from_a_file() {
    let (_dir, store) = store();
    let saved = snapshot(3);
    store.save(&saved, noon()).expect("saved");
    let loaded = store.load(&name(), noon() + HOUR).expect("good").expect("there");
    assert_eq!(loaded.instances, saved.instances, "nothing is lost");
    assert_eq!(loaded.confirmed, saved.confirmed);
    assert_eq!((loaded.freshness, loaded.version), (Freshness::File, 1));
}

#[test]
fn age_counts_from_the_registrys_confirmation() {
    let (_dir, store) = store();
    store.save(&snapshot(1), noon() + 20 * HOUR).expect("saved");
    assert!(store.load(&name(), noon() + 24 * HOUR).expect("just in time").is_some());
    let error = store.load(&name(), noon() + 24 * HOUR + Duration::from_secs(1));
    assert_eq!(error.expect_err("too old").class(), "too_old");
    assert!(store.load(&name(), noon() - HOUR).expect("a corrected clock").is_some());
    let error = store.load(&name(), noon() - 25 * HOUR).expect_err("no correction");
    assert_eq!(error.class(), "from_the_future");
}

#[test]
fn only_what_a_registry_confirmed_is_saved() {
    let (_dir, store) = store();
    for freshness in [Freshness::Held, Freshness::Stale, Freshness::File] {
        store.save(&snapshot(1).with_freshness(freshness), noon()).expect("nothing to do");
        assert!(store.load(&name(), noon()).expect("good").is_none(), "{freshness:?}");
    }
    store.save(&snapshot(2), noon()).expect("saved");
    store.save(&snapshot(0).with_freshness(Freshness::Stale), noon()).expect("nothing to do");
    assert!(store.load(&name(), noon()).expect("good").is_some());
    store.save(&snapshot(0), noon()).expect("removed");
    store.save(&snapshot(0), noon()).expect("removed already");
    assert!(store.load(&name(), noon()).expect("good").is_none(), "scaled to zero");
}

#[test]
fn a_saved_file_replaces_the_older_one_and_leaves_nothing_beside_it() {
    let (_dir, store) = store();
    for count in 1..=5 {
        store.save(&snapshot(count), noon()).expect("saved");
        let loaded = store.load(&name(), noon()).expect("good").expect("there");
        assert_eq!(loaded.instances.len(), usize::from(count));
    }
    let names: Vec<_> =
        fs::read_dir(&store.dir).expect("there").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["stock.snapshot"]);
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, store) = store();
    store.save(&snapshot(1), noon()).expect("saved");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&store.path(&name())), 0o600);
    assert_eq!(mode(&store.dir), 0o700);
}

#[test]
fn an_absent_directory_holds_nothing() {
    let (_dir, store) = store();
    let (snapshots, refused) = store.load_all(noon());
    assert!(snapshots.is_empty() && refused.is_empty());
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let store = SnapshotStore::new(file.join("below"));
    let error = store.save(&snapshot(1), noon()).expect_err("a file is no directory");
    assert_eq!(error.class(), "io");
}

#[test]
fn each_way_to_be_wrong_has_its_class() {
    let good = saved();
    let text = String::from_utf8(good.clone()).expect("text");
    assert_eq!(refused(b"").class(), "bad_head");
    assert_eq!(refused(b"\n").class(), "bad_head");
    assert_eq!(refused(&[b'x'; 10_000]).class(), "bad_head");
    assert_eq!(refused(b"outrigger-snapshot\n{}").class(), "bad_head");
    assert_eq!(refused(b"outrigger-snapshot one abc\n{}").class(), "bad_head");
    assert_eq!(refused(b"\xff\xfe\n{}").class(), "bad_head");
    assert_eq!(refused(text.replacen(" 1 ", " 2 ", 1).as_bytes()).class(), "other_format");
    assert_eq!(refused(text.replacen(":80", ":81", 1).as_bytes()).class(), "bad_checksum");
    assert_eq!(refused(&good[..good.len() - 1]).class(), "bad_checksum");
    assert_eq!(refused(&[&good[..], b" "].concat()).class(), "bad_checksum");
    assert_eq!(refused(&forged(|_| "{}".into())).class(), "bad_content");
    assert_eq!(refused(&forged(|_| "[".repeat(100_000))).class(), "bad_content");
    let other = forged(|content| content.replacen("\"stock\"", "\"orders\"", 1));
    assert_eq!(refused(&other).class(), "other_service");
    let stranger = forged(|content| {
        content.replacen(
            "\"service\":\"stock\",\"address\"",
            "\"service\":\"orders\",\"address\"",
            1,
        )
    });
    assert_eq!(refused(&stranger).class(), "other_service");
    for address in ["10.0.0.2:0", "0.0.0.0:80", "[::]:80"] {
        let forged = forged(|content| content.replacen("10.0.0.2:80", address, 1));
        assert_eq!(refused(&forged).class(), "bad_address", "{address}");
    }
    let name = forged(|content| content.replacen("node7.example", "node7 example", 1));
    assert_eq!(refused(&name).class(), "bad_address");
    let far = forged(|content| content.replacen("1800000000000", "18446744073709551615", 1));
    assert_eq!(refused(&far).class(), "from_the_future");
}

#[test]
fn no_damage_is_taken_for_a_snapshot_and_none_panics() {
    let good = saved();
    let wanted = format::decode(&good, &name()).expect("good");
    let mut rng = fastrand::Rng::with_seed(0x0u64);
    for round in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match rng.u8(..4) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.u8(..8),
                1 => bytes.truncate(at),
                2 => bytes.insert(at, rng.u8(..)),
                _ if !bytes.is_empty() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        if bytes == good {
            continue;
        }
        let decoded = format::decode(&bytes, &name());
        assert!(decoded.is_err(), "round {round}: damage passed: {decoded:?} against {wanted:?}");
    }
}

#[test]
fn no_forged_content_panics() {
    let text = String::from_utf8(saved()).expect("text");
    let content = text.split_once('\n').expect("a head").1.as_bytes();
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..5_000 {
        let mut bytes = content.to_vec();
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(..bytes.len());
            bytes[at] = *rng.choice(b"0\"{}[],:9-\\ue\x00\xff").expect("not empty");
        }
        let sum: String = <sha2::Sha256 as sha2::Digest>::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let mut file = format!("outrigger-snapshot 1 {sum}\n").into_bytes();
        file.extend_from_slice(&bytes);
        // Whatever it is, it is one of ours or an error.
        if let Ok(snapshot) = format::decode(&file, &name()) {
            assert!(
                snapshot.instances.iter().all(|i| i.service == name() && i.address.port() != 0)
            );
        }
    }
}
