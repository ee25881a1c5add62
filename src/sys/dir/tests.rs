use super::*;
use std::os::unix::fs::symlink;

#[test]
fn nothing_is_reached_through_a_link_or_a_way_out() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(temp.path().join("in/deep")).unwrap();
    std::fs::create_dir(temp.path().join("out")).unwrap();
    symlink("../out", temp.path().join("in/link")).unwrap();
    let (root, real) = Dir::resolve(temp.path()).unwrap();
    let dir = Dir::open(&real.join("in")).unwrap();
    assert!(dir.descend("deep").is_ok());
    for refused in ["link", "..", "../out", "deep/../../out", "/"] {
        assert!(dir.descend(refused).is_err(), "{refused}");
    }
    assert!(Dir::open(&real.join("in/link")).is_err(), "an absolute path with a link in it");
    assert!(root.descend("in/deep").is_ok());
}

#[test]
fn batches_read_every_entry_once_and_again_after_a_rewind() {
    let temp = tempfile::tempdir().unwrap();
    let wanted: Vec<_> = (0..500).map(|i| format!("{i:03}")).collect();
    for name in &wanted {
        std::fs::write(temp.path().join(name), "").unwrap();
    }
    let (dir, _) = Dir::resolve(temp.path()).unwrap();
    let mut buffer = vec![MaybeUninit::uninit(); 1024];
    for _ in 0..2 {
        let (mut names, mut batches) = (Vec::new(), 0);
        while dir.read_batch(&mut buffer, |e| names.push(e.name.to_str().unwrap().to_owned())).unwrap()
            == Batch::MoreMayFollow
        {
            batches += 1;
        }
        names.sort();
        assert_eq!(names, wanted);
        assert!(batches > 5, "one call at a time: {batches}");
        dir.rewind().unwrap();
    }
}

#[test]
fn only_regular_files_are_read_and_never_more_than_asked() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("file"), "12345").unwrap();
    nix::unistd::mkfifo(&temp.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (dir, _) = Dir::resolve(temp.path()).unwrap();
    assert_eq!(dir.read_file("file", 5).unwrap(), b"12345");
    assert!(dir.read_file("file", 4).is_err());
    assert!(dir.read_file("fifo", 4).is_err(), "a FIFO would block for ever");
}
