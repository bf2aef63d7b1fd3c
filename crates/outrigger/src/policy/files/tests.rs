use std::fs;

use super::*;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

fn policy(service: &str, timeout: &str) -> String {
    format!("version: 1\nservice: {service}\ntimeout: {timeout}\n")
}

/// What is said of a service: its timeout in milliseconds, `removed`, or a class of trouble.
fn said(book: &FileBook, service: &str) -> Option<String> {
    book.get(service).map(|seen| match seen {
        Seen::Text(Reading::Policy(loaded)) => {
            let timeout = loaded.plan.routes[0].timeout.expect("a timeout");
            timeout.as_millis().to_string()
        }
        Seen::Text(Reading::Tombstone) => "removed".to_owned(),
        Seen::Bad(trouble) => trouble.class.to_owned(),
        other => format!("{other:?}"),
    })
}

struct Folder {
    dir: tempfile::TempDir,
    looker: Looker,
    book: FileBook,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let looker = Looker::new(vec![dir.path().to_owned()]);
        Self { dir, looker, book: FileBook::new() }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).expect("written");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.dir.path().join(name)).expect("removed");
    }

    /// As many looks as a change needs.
    fn look(&mut self) -> &Self {
        for _ in 0..2 {
            if let Some(book) = self.looker.look(now()) {
                self.book = book;
            }
        }
        self
    }

    fn says(&self, service: &str) -> Option<String> {
        said(&self.book, service)
    }
}

#[test]
fn a_folder_holds_a_file_for_each_service_in_any_format() {
    let mut folder = Folder::new();
    folder.write("stock.yaml", &policy("stock", "1s"));
    folder.write("p.json", r#"{"version": 1, "service": "Pricing", "timeout": "2s"}"#);
    folder.write("o.toml", "version = 1\nservice = 'orders'\ntimeout = '3s'\n");
    folder.write("_default.yml", "version: 1\ntimeout: 4s\n");
    folder.write("README.md", "not a policy");
    folder.write(".stock.yaml.swp.yaml", "version: 1");
    folder.look();
    for (service, timeout) in
        [("stock", "1000"), ("pricing", "2000"), ("orders", "3000"), (DEFAULT, "4000")]
    {
        assert_eq!(folder.says(service).as_deref(), Some(timeout), "{service}");
    }
    assert_eq!(folder.book.len(), 4);
}

#[test]
fn what_is_half_written_is_not_believed() {
    let mut folder = Folder::new();
    folder.write("stock.yaml", &policy("stock", "1s"));
    folder.look();
    folder.write("stock.yaml", "version: 1\nservice: st");
    assert!(folder.looker.look(now()).is_none(), "seen once");
    folder.write("stock.yaml", &policy("stock", "22s"));
    assert!(folder.looker.look(now()).is_none(), "another text, seen once");
    let book = folder.looker.look(now()).expect("seen twice");
    assert_eq!(said(&book, "stock").as_deref(), Some("22000"));
    assert!(folder.looker.look(now()).is_none(), "nothing new");
}

#[test]
fn a_rename_over_it_and_a_swapped_folder_are_changes() {
    let mut folder = Folder::new();
    let root = folder.dir.path().to_owned();
    for (version, timeout) in [("v1", "1s"), ("v2", "2s")] {
        fs::create_dir(root.join(version)).expect("made");
        fs::write(root.join(version).join("stock.yaml"), policy("stock", timeout))
            .expect("written");
    }
    #[cfg(unix)]
    {
        // As Kubernetes does it: the file is a link through `..data`, which is renamed over.
        use std::os::unix::fs::symlink;
        symlink("v1", root.join("..data")).expect("linked");
        symlink("..data/stock.yaml", root.join("stock.yaml")).expect("linked");
        folder.look();
        assert_eq!(folder.says("stock").as_deref(), Some("1000"));
        symlink("v2", root.join("..new")).expect("linked");
        fs::rename(root.join("..new"), root.join("..data")).expect("renamed");
        folder.look();
        assert_eq!(folder.says("stock").as_deref(), Some("2000"));
    }
    fs::write(root.join("new"), policy("stock", "3s")).expect("written");
    fs::rename(root.join("new"), root.join("stock.yaml")).expect("renamed");
    folder.look();
    assert_eq!(folder.says("stock").as_deref(), Some("3000"));
}

#[test]
fn a_file_that_goes_has_vanished_and_one_that_moves_has_not() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &policy("stock", "1s"));
    folder.look();
    folder.remove("a.yaml");
    assert_eq!(folder.look().says("stock").as_deref(), Some("vanished"));
    folder.write("b.yaml", &policy("stock", "2s"));
    assert_eq!(folder.look().says("stock").as_deref(), Some("2000"));
    folder.write("a.yaml", &policy("stock", "1s"));
    assert_eq!(folder.look().says("stock").as_deref(), Some("conflict"));
    folder.remove("b.yaml");
    assert_eq!(folder.look().says("stock").as_deref(), Some("1000"));
    folder.write("a.yaml", &policy("orders", "1s"));
    folder.look();
    assert_eq!(folder.says("orders").as_deref(), Some("1000"));
    assert_eq!(folder.says("stock").as_deref(), Some("vanished"), "nobody removed it");
}

#[test]
fn a_tombstone_removes_and_may_be_cleared_away() {
    let mut folder = Folder::new();
    folder.write("stock.yaml", &policy("stock", "1s"));
    folder.look();
    folder.write("stock.yaml", outrigger_policy::TOMBSTONE);
    assert_eq!(folder.look().says("stock").as_deref(), Some("removed"));
    folder.remove("stock.yaml");
    assert_eq!(folder.look().says("stock"), None);
}

#[test]
fn a_broken_file_is_its_service_s_trouble_from_the_first_look_on() {
    let mut folder = Folder::new();
    folder.write("x.yaml", "version: 1\nservice: stock\ntiemout: 1s\n");
    folder.write("orders.yaml", "{");
    folder.write("_default.yaml", "version: 1\nservice: a\n");
    folder.look();
    assert_eq!(folder.says("stock").as_deref(), Some("invalid"));
    assert_eq!(folder.says("orders").as_deref(), Some("invalid"));
    assert_eq!(folder.says(DEFAULT).as_deref(), Some("other_service"));
    folder.write("x.yaml", &policy("stock", "1s"));
    assert_eq!(folder.look().says("stock").as_deref(), Some("1000"));
}

#[test]
fn a_named_file_that_is_not_there_is_trouble_and_not_silence() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut looker = Looker::new(vec![dir.path().join("stock.yaml")]);
    let book = looker.look(now()).expect("the first look");
    assert_eq!(said(&book, "stock").as_deref(), Some("unreadable"));
    fs::write(dir.path().join("stock.yaml"), policy("stock", "1s")).expect("written");
    looker.look(now());
    let book = looker.look(now()).expect("it came");
    assert_eq!(said(&book, "stock").as_deref(), Some("1000"));
}

#[test]
fn a_file_that_comes_back_unchanged_speaks_again() {
    let mut folder = Folder::new();
    folder.write("stock.yaml", &policy("stock", "1s"));
    folder.look();
    folder.remove("stock.yaml");
    assert_eq!(folder.look().says("stock").as_deref(), Some("vanished"));
    folder.write("stock.yaml", &policy("stock", "1s"));
    assert_eq!(folder.look().says("stock").as_deref(), Some("1000"));
}
