use super::*;
use crate::model::{Pid, StartTime};

const HOST: &[u8] = b"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /data rw - ext4 /dev/b rw\n";

fn place(runner: usize, minor: u32, in_filesystem: &str, path: &str) -> WorkDirPlace {
    let device = FilesystemId { major: 8, minor };
    WorkDirPlace { runner, device, in_filesystem: in_filesystem.into(), path: path.into(), base: None }
}

fn mount_names(own: &[u8], places: Vec<WorkDirPlace>) -> MountNames {
    let own = mountinfo::parse(own).unwrap();
    MountNames::new(&own, places)
}

fn learn(mount_names: &mut MountNames, root: &str, text: &[u8]) -> Arc<Prefixes> {
    let mounts = mountinfo::parse(text).unwrap();
    let process = ProcessId { pid: Pid(7), start: StartTime(1) };
    mount_names.learn(b"mnt:[2]", root.as_bytes(), &mounts, process, "x")
}

/// Runner, mount point, inside.
fn seen(mount_names: &MountNames) -> Vec<(usize, String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut seen: Vec<_> =
        mount_names.seen.iter().map(|seen| (seen.runner, text(&seen.point), text(&seen.inside))).collect();
    seen.sort();
    seen
}

fn two_runners() -> Vec<WorkDirPlace> {
    vec![place(0, 2, "/r1/_work", "/data/r1/_work"), place(1, 2, "/r10/_work", "/data/r10/_work")]
}

/// A container is given the directory of one project, and its cache lies below that.
#[test]
fn a_mount_between_a_cache_and_its_base_is_evidence_and_one_of_the_base_is_none() {
    let cache = |name: &str| {
        let mut place = place(0, 2, &format!("/t/{name}/run"), &format!("/data/t/{name}/run"));
        place.set_base(b"/data/t");
        place
    };
    let between = b"9 0 0:40 / / rw - tmpfs tmpfs rw\n10 9 8:2 /t/app /ws rw - ext4 /dev/b rw\n";
    for (name, text, expected) in [
        ("app", &between[..], vec![(0, "/ws".into(), "/data/t/app/run".into())]),
        ("lib", &between[..], vec![]),
        ("app", b"9 0 0:40 / / rw - tmpfs tmpfs rw\n10 9 8:2 /t /ws rw - ext4 /dev/b rw\n", vec![]),
        ("app", b"9 0 0:40 / / rw - tmpfs tmpfs rw\n10 9 8:2 / /ws rw - ext4 /dev/b rw\n", vec![]),
    ] {
        let mut mount_names = mount_names(HOST, vec![cache(name)]);
        learn(&mut mount_names, "/", text);
        assert_eq!(seen(&mount_names), expected, "{name}");
    }
    // The base is a filesystem's root.
    let mut on_its_own = place(0, 2, "/app/run", "/data/app/run");
    on_its_own.set_base(b"/data");
    for (root, count) in [("/app", 1), ("/", 0)] {
        let text = format!("9 0 0:40 / / rw - tmpfs tmpfs rw\n10 9 8:2 {root} /ws rw - ext4 /dev/b rw\n");
        let mut mount_names = mount_names(HOST, vec![on_its_own.clone()]);
        learn(&mut mount_names, "/", text.as_bytes());
        assert_eq!(seen(&mount_names).len(), count, "{root}");
    }
    // The host has it mounted itself, and a service has a copy of the host's tree.
    let host = [HOST, b"3 1 8:2 /t/app /srv/app rw - ext4 /dev/b rw\n"].concat();
    let mut mount_names = mount_names(&host, vec![cache("app")]);
    learn(&mut mount_names, "/", &host);
    assert_eq!(seen(&mount_names), []);
}

#[test]
fn a_container_that_has_the_work_directory_is_evidence_for_that_runner_alone() {
    let mut mount_names = mount_names(HOST, two_runners());
    let text = b"9 0 0:40 / / rw - overlay overlay rw,lowerdir=/var/l,upperdir=/var/u,workdir=/var/w\n\
                     10 9 8:2 /r1/_work /__w rw - ext4 /dev/b rw\n\
                     11 9 8:2 /r1/_work/_temp /github rw - ext4 /dev/b rw\n";
    let local = learn(&mut mount_names, "/", text);
    assert_eq!(
        seen(&mount_names),
        [(0, "/__w".into(), "/data/r1/_work".into()), (0, "/github".into(), "/data/r1/_work/_temp".into())]
    );
    assert!(local.hold(b"/__w/x") && local.hold(b"/github") && !local.hold(b"/data/r10/_work"));
    assert!(!mount_names.grown, "names of evidence hold in their namespace only");
}

#[test]
fn a_private_copy_of_the_host_is_no_evidence() {
    let mut mount_names = mount_names(HOST, two_runners());
    let text = [HOST, b"12 1 8:1 /tmp/systemd-private/tmp /tmp rw - ext4 /dev/a rw\n"].concat();
    learn(&mut mount_names, "/", &text);
    assert_eq!(seen(&mount_names), []);
    assert!(!mount_names.grown, "nothing new was learnt");
}

#[test]
fn a_work_directory_with_its_own_disk_and_the_copies_of_that_mount_are_no_evidence() {
    let own = [HOST, b"3 2 8:3 / /data/r1/_work rw - ext4 /dev/c rw\n"].concat();
    let mut mount_names = mount_names(&own, vec![place(0, 3, "/", "/data/r1/_work")]);
    learn(&mut mount_names, "/", &own);
    assert_eq!(seen(&mount_names), []);
    let container = b"9 0 0:40 / / rw - overlay o rw\n10 9 8:3 / /data/r1/_work rw - ext4 /dev/c rw\n";
    learn(&mut mount_names, "/", container);
    assert_eq!(seen(&mount_names), [(0, "/data/r1/_work".into(), "/data/r1/_work".into())]);
}

#[test]
fn a_bind_onto_itself_is_no_evidence_and_a_second_name_is() {
    let mut mount_names = mount_names(HOST, two_runners());
    let unit = [HOST, b"4 2 8:2 /r1/_work /data/r1/_work rw - ext4 /dev/b rw\n"].concat();
    learn(&mut mount_names, "/", &unit);
    assert_eq!(seen(&mount_names), []);
    let alias = [HOST, b"5 2 8:2 /r1/_work /mnt rw - ext4 /dev/b rw\n"].concat();
    learn(&mut mount_names, "/", &alias);
    assert_eq!(seen(&mount_names), [(0, "/mnt".into(), "/data/r1/_work".into())]);
}

#[test]
fn any_mount_strictly_inside_is_evidence() {
    let mut mount_names = mount_names(HOST, two_runners());
    let text = [HOST, b"6 2 0:50 / /data/r10/_work/a/tmp rw - tmpfs t rw\n"].concat();
    learn(&mut mount_names, "/", &text);
    assert_eq!(seen(&mount_names), [(1, "/data/r10/_work/a/tmp".into(), "/data/r10/_work/a/tmp".into())]);
}

#[test]
fn the_hosts_own_mounts_are_distinguished_from_others_in_every_copy_of_its_tree() {
    let own = [
        HOST,
        b"3 2 0:50 / /data/r1/_work/_temp rw - tmpfs t rw\n",
        b"4 2 8:1 /tc /data/r1/_work/_tool rw - ext4 /dev/a rw\n",
        b"5 2 8:2 /r1/_work/app/app/target /srv/export rw - ext4 /dev/b rw\n",
        b"6 1 8:2 /r10/_work /srv/r10 rw - ext4 /dev/b rw\n",
    ]
    .concat();
    let of_host = |mount_names: &MountNames| {
        let mut seen: Vec<_> = mount_names
            .seen
            .iter()
            .map(|seen| (String::from_utf8(seen.inside.clone()).unwrap(), seen.is_of_host))
            .collect();
        seen.sort();
        seen
    };
    let expected = ["_temp", "_tool", "app/app/target"].map(|part| (format!("/data/r1/_work/{part}"), true));
    // The host itself, a service with the same tree, a container with all of the host at /host.
    let mut mount_names = mount_names(&own, two_runners());
    learn(&mut mount_names, "/", &own);
    assert_eq!(of_host(&mount_names), expected);
    mount_names.begin_again();
    let monitor: Vec<u8> = String::from_utf8(own.clone())
        .unwrap()
        .lines()
        .map(|line| {
            let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            words[4] = format!("/host{}", words[4].trim_end_matches('/'));
            words.join(" ") + "\n"
        })
        .collect::<String>()
        .into_bytes();
    let monitor = [&b"9 0 0:40 / / rw - overlay o rw\n"[..], &monitor].concat();
    learn(&mut mount_names, "/", &monitor);
    assert_eq!(of_host(&mount_names), expected);
    assert!(mount_names.shared.hold(b"/srv/r10/x"), "the second name of a whole work directory is a name");
    // A container job that has the same cache, and one that has a part of the work directory, are use.
    mount_names.begin_again();
    learn(
        &mut mount_names,
        "/",
        b"9 0 0:40 / / rw - overlay o rw\n10 9 8:2 /r1/_work/app/app/target /target rw - ext4 /dev/b rw\n\
              11 9 8:2 /r10/_work /__w rw - ext4 /dev/b rw\n",
    );
    let uses: Vec<_> = of_host(&mount_names).into_iter().filter(|(_, is_of_host)| !is_of_host).collect();
    assert_eq!(uses, [("/data/r1/_work/app/app/target".into(), false), ("/data/r10/_work".into(), false)]);
}

#[test]
fn a_mount_of_a_parent_gives_a_name_that_holds_everywhere() {
    let mut mount_names = mount_names(HOST, two_runners());
    learn(&mut mount_names, "/", b"9 0 0:40 / / rw - overlay o rw\n10 9 8:2 / /host rw - ext4 /dev/b rw\n");
    assert_eq!(seen(&mount_names), []);
    assert!(
        mount_names.grown
            && mount_names.shared.hold(b"/host/r1/_work/x")
            && !mount_names.shared.hold(b"/host/r1")
    );
}

#[test]
fn a_chrooted_view_is_put_below_its_root_and_replaced_by_the_whole_one() {
    let mut mount_names = mount_names(HOST, two_runners());
    let local = learn(&mut mount_names, "/jail", b"10 9 8:2 /r1/_work /w rw - ext4 /dev/b rw\n");
    assert!(local.hold(b"/jail/w/x"));
    assert!(mount_names.known(b"mnt:[2]", b"/jail").is_some());
    assert!(mount_names.known(b"mnt:[2]", b"/").is_none(), "mounts outside the jail are not known yet");
    learn(&mut mount_names, "/", HOST);
    assert!(mount_names.grown && mount_names.known(b"mnt:[2]", b"/").is_some());
}

#[test]
fn overlays_over_a_part_and_over_the_whole() {
    let mut mount_names = mount_names(HOST, two_runners());
    let text = b"9 0 0:40 / / rw - overlay o rw,lowerdir=/data/r1/_work/rootfs:/l2,upperdir=/u,workdir=/w\n";
    learn(&mut mount_names, "/", text);
    assert_eq!(seen(&mount_names), [(0, "/".into(), "/data/r1/_work/rootfs".into())]);
    let text = b"9 0 0:41 / /merged rw - overlay o rw,lowerdir=/data,upperdir=/u,workdir=/w\n";
    learn(&mut mount_names, "/", text);
    assert_eq!(seen(&mount_names).len(), 1);
    assert!(mount_names.shared.hold(b"/merged/r10/_work/x"));
}

#[test]
fn apart_means_neither_in_the_other() {
    let place = place(0, 2, "/r1/_work", "/data/r1/_work");
    let device = place.device;
    for (path, apart) in [
        ("/r1/_work", false),
        ("/r1/_work/x", false),
        ("/r1", false),
        ("/", false),
        ("/r1/_work2", true),
        ("/r10/_work", true),
    ] {
        assert_eq!(place.is_apart_from(device, path.as_bytes()), apart, "{path}");
    }
    assert!(place.is_apart_from(FilesystemId { major: 8, minor: 9 }, b"/r1/_work"));
}
