//! The file that a cold start reads.

use std::cell::RefCell;
use std::fs;
use std::time::{Duration, SystemTime};

use outrigger_core::ServiceName;
use outrigger_host::SnapshotStore;
use sha2::{Digest as _, Sha256};

thread_local! {
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

// What is saved is flushed to the disk, which is nothing to fuzz.
fn in_memory() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    folder.expect("a temporary folder")
}

/// What is loaded can be saved, and is then loaded as the same. With an even first byte the rest is
/// the content under a right checksum, else the whole file.
pub fn file(input: &[u8]) {
    let Some((&mode, rest)) = input.split_first() else { return };
    let bytes = if mode & 1 == 0 {
        let sum: String = Sha256::digest(rest).iter().map(|byte| format!("{byte:02x}")).collect();
        [format!("outrigger-snapshot 1 {sum}\n").as_bytes(), rest].concat()
    } else {
        rest.to_vec()
    };
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(in_memory);
        let service: ServiceName = "stock".parse().expect("a valid name");
        let store = SnapshotStore::new(folder.path());
        let path = store.path(&service);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder");
        fs::write(&path, &bytes).expect("a file");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_799_999_100);
        let Ok(Some(loaded)) = store.load(&service, now) else { return };
        assert_eq!(loaded.service, service);
        assert!(
            loaded.instances.iter().all(|one| one.address.port() != 0),
            "nothing can be sent to port 0"
        );
        // Clocks are set back too, by less than what makes a snapshot too old.
        let about = now - SnapshotStore::MAX_AGE..=now + SnapshotStore::MAX_AGE;
        assert!(about.contains(&loaded.confirmed), "{:?}", loaded.confirmed);
        store.save(&loaded, now).expect("what is loaded can be saved");
        let again = store.load(&service, now).expect("and loaded").expect("it is there");
        assert_eq!(again.instances, loaded.instances);
    });
}
