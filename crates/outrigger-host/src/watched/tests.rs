use std::time::Instant;

use tempfile::TempDir;

use super::*;

fn file(content: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    fs::write(&path, content).expect("written");
    (dir, path)
}

/// Long after whatever the file system says.
fn later() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
}

fn changed(change: FileChange) -> Option<String> {
    match change {
        FileChange::Changed(content) => Some(String::from_utf8_lossy(&content).into_owned()),
        FileChange::Same => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_change_is_told_once() {
    let (_dir, path) = file("one");
    let mut watched = WatchedFile::new(&path);
    assert_eq!(changed(watched.look(later())).as_deref(), Some("one"));
    assert_eq!(changed(watched.look(later())), None);
    fs::write(&path, "three").expect("written");
    assert_eq!(changed(watched.look(later())).as_deref(), Some("three"));
    assert_eq!(changed(watched.look(later())), None);
}

#[test]
fn a_write_within_the_same_time_stamp_is_seen_while_the_file_is_young() {
    let (_dir, path) = file("one");
    let stamp = fs::metadata(&path).and_then(|m| m.modified()).expect("a time");
    let mut watched = WatchedFile::new(&path);
    watched.look(stamp);
    fs::write(&path, "two").expect("written");
    let file = File::options().write(true).open(&path).expect("there");
    file.set_modified(stamp).expect("settable");
    assert_eq!(changed(watched.look(stamp + YOUNG)).as_deref(), Some("two"), "same length, too");
    assert_eq!(changed(watched.look(stamp + YOUNG)), None);
}

#[test]
fn a_touch_without_a_change_is_none() {
    let (_dir, path) = file("one");
    let mut watched = WatchedFile::new(&path);
    watched.look(later());
    fs::write(&path, "one").expect("written");
    assert_eq!(changed(watched.look(later())), None);
}

#[cfg(unix)]
#[test]
fn a_swapped_link_and_a_rename_are_seen() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, content) in [("v1", "one"), ("v2", "two"), ("v3", "red")] {
        fs::write(dir.path().join(name), content).expect("written");
    }
    let link = dir.path().join("token");
    std::os::unix::fs::symlink(dir.path().join("v1"), &link).expect("linked");
    let mut watched = WatchedFile::new(&link);
    assert_eq!(changed(watched.look(later())).as_deref(), Some("one"));
    let beside = dir.path().join("beside");
    std::os::unix::fs::symlink(dir.path().join("v2"), &beside).expect("linked");
    fs::rename(&beside, &link).expect("swapped");
    assert_eq!(changed(watched.look(later())).as_deref(), Some("two"));
    fs::rename(dir.path().join("v3"), &link).expect("renamed");
    assert_eq!(changed(watched.look(later())).as_deref(), Some("red"));
}

#[test]
fn a_lost_file_is_told_once_and_its_content_stays() {
    let (_dir, path) = file("one");
    let mut watched = WatchedFile::new(&path);
    watched.look(later());
    fs::remove_file(&path).expect("there");
    assert!(matches!(watched.look(later()), FileChange::Lost(_)));
    assert!(matches!(watched.look(later()), FileChange::StillLost));
    assert_eq!(watched.content().map(|c| &c[..]), Some(&b"one"[..]));
    fs::write(&path, "one").expect("written");
    assert_eq!(changed(watched.look(later())), None, "back, and the same");
    fs::write(&path, "two").expect("written");
    assert_eq!(changed(watched.look(later())).as_deref(), Some("two"));
}

#[test]
fn what_is_too_long_or_no_file_is_lost() {
    let (dir, path) = file("four");
    let mut watched = WatchedFile::new(&path).with_max_bytes(3);
    let FileChange::Lost(error) = watched.look(later()) else { panic!("too long") };
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    let mut watched = WatchedFile::new(dir.path());
    assert!(matches!(watched.look(later()), FileChange::Lost(_)), "a directory");
}

#[derive(Debug)]
struct Later;

impl Clock for Later {
    fn now(&self) -> Instant {
        unreachable!("files bear the time of the wall")
    }

    fn wall(&self) -> SystemTime {
        later()
    }
}

#[tokio::test]
async fn a_watch_tells_each_content_and_ends_with_its_listener() {
    let (_dir, path) = file("one");
    let mut told = WatchedFile::new(&path).watch(Duration::from_millis(10), Arc::new(Later));
    let is = |wanted: &'static [u8]| {
        move |content: &Option<Arc<[u8]>>| content.as_deref() == Some(wanted)
    };
    told.wait_for(is(b"one")).await.expect("watched");
    fs::remove_file(&path).expect("there");
    fs::write(&path, "second").expect("written");
    told.wait_for(is(b"second")).await.expect("watched");
}
