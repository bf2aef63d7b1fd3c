use std::sync::Mutex;

use outrigger_core::Observe;
use outrigger_discovery::InMemoryRegistry;
use outrigger_tower::TokioClock;

use super::*;

const KEY: &str = "outrigger/policy/stock";
const DEFAULT_KEY: &str = "outrigger/policy/_default";

#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Observe for Told {
    fn observe(&self, event: &Event<'_>) {
        let line = match event {
            Event::PolicyChanged { source, .. } => format!("changed {source}"),
            Event::PolicyTrouble { class, begins, .. } => format!("{class} {begins}"),
            _ => return,
        };
        self.0.lock().expect("whole").push(line);
    }
}

/// A process with keys in memory, and maybe files and a place to save.
struct Process {
    keys: InMemoryRegistry,
    told: Arc<Told>,
    policies: Policies,
}

impl Process {
    async fn start(keys: &InMemoryRegistry, files: Option<&Path>, saved: Option<&Path>) -> Self {
        let told = Arc::new(Told::default());
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let files = match files {
            Some(path) => Some(Files::start(vec![path.to_owned()], Arc::clone(&clock)).await),
            None => None,
        };
        let policies = Policies {
            files,
            keys: Some(Arc::new(keys.clone())),
            store: saved.map(PolicyStore::new),
            observers: Observers::none().with(Arc::clone(&told) as Arc<dyn Observe>),
            clock,
            runtime: tokio::runtime::Handle::current(),
        };
        Self { keys: keys.clone(), told, policies }
    }

    fn follow(&self) -> Stock {
        let service = ServiceName::new("stock").expect("valid");
        Stock(self.policies.follow(&service, Role::Caller))
    }

    fn told(&self) -> Vec<String> {
        self.told.0.lock().expect("whole").clone()
    }
}

struct Stock(Followed);

impl Stock {
    /// `source timeout-in-ms`, and the class of trouble if there is one.
    fn now(&self) -> String {
        let now = self.0.now();
        let timeout = now.loaded.as_ref().and_then(|loaded| loaded.plan.routes[0].timeout);
        let timeout =
            timeout.map_or_else(String::new, |timeout| format!(" {}", timeout.as_millis()));
        let trouble = now.trouble.as_ref().map(|t| format!(" ({})", t.class)).unwrap_or_default();
        let undecided = if now.is_decided { "" } else { "?" };
        format!("{}{timeout}{trouble}{undecided}", now.source)
    }

    async fn becomes(&self, wanted: &str) {
        let mut changes = self.0.changes();
        let becomes = async {
            while self.now() != wanted {
                changes.changed().await.expect("followed");
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), becomes).await;
        assert!(waited.is_ok(), "{} instead of {wanted}", self.now());
    }
}

fn policy(timeout: &str) -> Vec<u8> {
    format!("version: 1\nservice: stock\ntimeout: {timeout}\n").into_bytes()
}

fn default(timeout: &str) -> Vec<u8> {
    format!("version: 1\ntimeout: {timeout}\n").into_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_key_is_obeyed_changed_refused_and_really_removed() {
    let process = Process::start(&InMemoryRegistry::new(), None, None).await;
    let stock = process.follow();
    stock.becomes("settings").await;
    process.keys.set_key(KEY, policy("1s"));
    stock.becomes("kv 1000").await;
    process.keys.set_key(KEY, *b"version: 1\ntiemout: 2s\n");
    stock.becomes("kv 1000 (invalid)").await;
    process.keys.set_key(KEY, []);
    stock.becomes("kv 1000 (empty)").await;
    process.keys.remove_key(KEY);
    stock.becomes("kv 1000 (vanished)").await;
    process.keys.deny_key(KEY, "denied");
    process.keys.set_key(KEY, policy("2s"));
    stock.becomes("kv 2000").await;
    process.keys.deny_key(KEY, "denied");
    stock.becomes("kv 2000 (denied)").await;
    process.keys.set_key(KEY, policy("2s"));
    stock.becomes("kv 2000").await;
    process.keys.set_key(KEY, b"version: 1\nservice: orders\n".to_vec());
    stock.becomes("kv 2000 (other_service)").await;
    process.keys.set_key(KEY, outrigger_policy::TOMBSTONE.as_bytes().to_vec());
    stock.becomes("settings").await;
    process.keys.remove_key(KEY);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stock.now(), "settings", "a tombstone may be cleared away");
    let told = process.told();
    assert_eq!(told.first().map(String::as_str), Some("changed kv"));
    assert!(told.contains(&"vanished true".to_owned()), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("changed settings"));
}

#[tokio::test(start_paused = true)]
async fn a_text_that_is_too_long_for_the_registry_is_refused_here_too() {
    let process = Process::start(&InMemoryRegistry::new(), None, None).await;
    let stock = process.follow();
    process.keys.set_key(KEY, policy("1s"));
    stock.becomes("kv 1000").await;
    let mut long = policy("2s");
    long.resize(super::super::text::MAX_TEXT + 1, b'#');
    process.keys.set_key(KEY, long);
    stock.becomes("kv 1000 (too_large)").await;
}

#[tokio::test(start_paused = true)]
async fn the_own_key_comes_before_the_default_and_both_are_whole() {
    let process = Process::start(&InMemoryRegistry::new(), None, None).await;
    process.keys.set_key(DEFAULT_KEY, default("9s"));
    let stock = process.follow();
    stock.becomes("default_kv 9000").await;
    process.keys.set_key(KEY, b"version: 1\nservice: stock\nretry: { attempts: 3 }\n".to_vec());
    // Nothing of the default is mixed in.
    stock.becomes("kv 15000").await;
    process.keys.set_key(KEY, outrigger_policy::TOMBSTONE.as_bytes().to_vec());
    stock.becomes("default_kv 9000").await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_is_waited_for_and_then_done_without() {
    let keys = InMemoryRegistry::new();
    keys.deny_key(KEY, "unreachable");
    keys.set_key(DEFAULT_KEY, default("9s"));
    let process = Process::start(&keys, None, None).await;
    let stock = process.follow();
    stock.becomes("default_kv 9000 (unreachable)").await;
    process.keys.set_key(KEY, policy("1s"));
    stock.becomes("kv 1000").await;
}

#[tokio::test]
async fn a_file_comes_before_the_keys_and_a_broken_one_does_not_let_them_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stock.yaml");
    std::fs::write(&file, policy("1s")).expect("written");
    let keys = InMemoryRegistry::new();
    keys.set_key(KEY, policy("5s"));
    let process = Process::start(&keys, Some(folder.path()), None).await;
    let stock = process.follow();
    assert_eq!(stock.now(), "file 1000", "at once");
    std::fs::write(&file, "version: 1\nservice: stock\ntiemout: 1s\n").expect("written");
    stock.becomes("file 1000 (invalid)").await;
    std::fs::write(&file, policy("2s")).expect("written");
    stock.becomes("file 2000").await;
    std::fs::remove_file(&file).expect("removed");
    stock.becomes("file 2000 (vanished)").await;
    std::fs::write(&file, outrigger_policy::TOMBSTONE).expect("written");
    stock.becomes("kv 5000").await;
}

#[tokio::test]
async fn a_broken_file_at_a_cold_start_leaves_what_was_saved_or_the_settings() {
    let (folder, saved) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
    let file = folder.path().join("stock.yaml");
    let keys = InMemoryRegistry::new();
    keys.set_key(KEY, policy("5s"));
    std::fs::write(&file, "version: 1\ntiemout: 1s\n").expect("written");
    let process = Process::start(&keys, Some(folder.path()), Some(saved.path())).await;
    assert_eq!(process.follow().now(), "settings (invalid)");

    std::fs::write(&file, policy("1s")).expect("written");
    let process = Process::start(&keys, Some(folder.path()), Some(saved.path())).await;
    let stock = process.follow();
    assert_eq!(stock.now(), "file 1000");
    wait_for_save(saved.path()).await;
    std::fs::write(&file, "version: 1\ntiemout: 1s\n").expect("written");
    let process = Process::start(&keys, Some(folder.path()), Some(saved.path())).await;
    assert_eq!(process.follow().now(), "snapshot 1000 (invalid)");
}

async fn wait_for_save(folder: &Path) {
    for _ in 0..1_000 {
        let entries = std::fs::read_dir(folder).expect("a folder");
        if entries.flatten().any(|entry| entry.file_name() == "stock.policy") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never saved");
}

#[tokio::test]
async fn a_cold_start_without_the_registry_has_its_rules() {
    let saved = tempfile::tempdir().expect("a folder");
    let keys = InMemoryRegistry::new();
    keys.set_key(KEY, policy("5s"));
    let process = Process::start(&keys, None, Some(saved.path())).await;
    let stock = process.follow();
    stock.becomes("kv 5000").await;
    wait_for_save(saved.path()).await;

    let away = InMemoryRegistry::new();
    for key in [KEY, DEFAULT_KEY] {
        away.deny_key(key, "unreachable");
    }
    let process = Process::start(&away, None, Some(saved.path())).await;
    let stock = process.follow();
    stock.becomes("snapshot 5000 (unreachable)").await;
    // The registry comes back, with another version.
    process.keys.set_key(KEY, policy("6s"));
    stock.becomes("kv 6000").await;

    // A registry that has lost the key does not remove the policy.
    let process = Process::start(&InMemoryRegistry::new(), None, Some(saved.path())).await;
    let stock = process.follow();
    stock.becomes("snapshot 5000 (vanished)").await;
}

#[tokio::test]
async fn a_tombstone_removes_what_was_saved_too() {
    let saved = tempfile::tempdir().expect("a folder");
    let keys = InMemoryRegistry::new();
    keys.set_key(KEY, policy("5s"));
    let process = Process::start(&keys, None, Some(saved.path())).await;
    let stock = process.follow();
    stock.becomes("kv 5000").await;
    wait_for_save(saved.path()).await;
    process.keys.set_key(KEY, outrigger_policy::TOMBSTONE.as_bytes().to_vec());
    stock.becomes("settings").await;
    while saved.path().join("stock.policy").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_would_have_to_enforce_authorize_refuses_it_and_callers_do_not() {
    let process = Process::start(&InMemoryRegistry::new(), None, None).await;
    let service = ServiceName::new("stock").expect("valid");
    let callee = Stock(process.policies.follow(&service, Role::Callee));
    let caller = process.follow();
    let text = "version: 1\nservice: stock\ntimeout: 1s\ninbound: { authorize: { allow: [ { from: [orders] } ] } }\n";
    process.keys.set_key(KEY, text.as_bytes().to_vec());
    caller.becomes("kv 1000").await;
    callee.becomes("settings (authorize)").await;
}
