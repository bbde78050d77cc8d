//! Directories and patterns, with files whose names are not in the order of their times.

use super::*;
use crate::packet::frames;
use crate::source::{Captures, total_bytes};

/// A directory with captures whose names are not in the order of their times, and with what is no capture.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    let capture = |time: u64| frames::pcap(1, &[(time, b"frame".to_vec(), 5)]);
    write("x.pcap0", &capture(30));
    write("x.pcap1", &capture(10));
    write("x.pcap10.zst", &zstd::encode_all(&capture(20)[..], 1).unwrap());
    write("same-b.pcap", &capture(40));
    write("same-a.pcap", &capture(40));
    write("notes.txt", b"no capture, but text");
    write("empty", b"");
    fs::create_dir(directory.path().join("below")).unwrap();
    write("below/y.pcap", &capture(5));
    directory
}

/// First letters of the names and times of the frames, the errors, and the notices.
fn read(paths: &[PathBuf]) -> (Vec<i64>, Vec<String>, Vec<String>) {
    let mut captures = Captures::open(paths, None);
    let (mut times, mut errors) = (Vec::new(), Vec::new());
    loop {
        match captures.next_frame() {
            Ok(Some(frame)) => times.push(frame.time / 1000),
            Ok(None) => break,
            Err(error) => errors.push(error.to_string()),
        }
    }
    (times, errors, std::iter::from_fn(|| captures.notice()).collect())
}

#[test]
fn a_directory_is_read_in_the_order_of_capture() {
    let directory = directory();
    let (times, errors, notices) = read(&[directory.path().to_path_buf()]);
    assert_eq!((times, errors.len()), (vec![10, 20, 30, 40, 40], 0), "{errors:?}");
    assert_eq!(notices.len(), 3, "{notices:?}");
    let said = |text: &str| notices.iter().any(|notice| notice.contains(text));
    assert!(
        said("1 directories in it") && said("notes.txt: is not a capture") && said("empty: is empty"),
        "{notices:?}"
    );
}

#[test]
fn equal_times_are_ordered_by_name() {
    let directory = directory();
    let mut series = Series::find(&[directory.path().join("same-*")]);
    let names: Vec<PathBuf> = std::iter::from_fn(|| series.next()).map(Result::unwrap).collect();
    assert_eq!(names, ["same-a.pcap", "same-b.pcap"].map(|name| directory.path().join(name)));
}

#[test]
fn a_pattern_stands_for_what_matches_it() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    assert_eq!(read(&[path("x.pcap[0-9]*")]).0, [10, 20, 30]);
    assert_eq!(read(&[path("**/*.pcap*")]).0, [5, 10, 20, 30, 40, 40]);
    // All are in the order of capture then, and nothing is read twice.
    assert_eq!(read(&[path("same-a.pcap"), path("x.pcap?"), path("x.pcap*")]).0, [10, 20, 30, 40]);
    let (times, errors, _) = read(&[path("z*"), path("x.pcap1")]);
    assert_eq!((times, errors.len()), (vec![10], 1));
    assert!(errors[0].ends_with("z*: matches no file"), "{errors:?}");
    assert!(read(&[path("x[")]).1[0].contains("x[: is no pattern"), "{:?}", read(&[path("x[")]).1);
}

#[test]
fn files_that_are_named_keep_their_order_and_must_be_captures() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let (times, errors, notices) = read(&[path("x.pcap0"), path("notes.txt"), path("x.pcap1"), path("x.pcap0")]);
    assert_eq!((times, errors.len(), notices.len()), (vec![30, 10, 30], 1, 0), "{errors:?}");
    assert!(errors[0].contains("notes.txt: is not a capture"), "{errors:?}");
    // A file whose name looks like a pattern is that file.
    fs::copy(path("x.pcap1"), path("x.pcap*")).unwrap();
    assert_eq!(read(&[path("x.pcap*")]).0, [10]);
}

#[test]
fn a_directory_without_captures_is_an_error() {
    let directory = directory();
    let path = directory.path().join("none");
    fs::create_dir(&path).unwrap();
    assert!(read(std::slice::from_ref(&path)).1[0].ends_with("none: holds no file"));
    fs::write(path.join("a"), b"text that is no capture").unwrap();
    let (_, errors, notices) = read(&[path]);
    assert!(errors[0].ends_with("none: holds no capture: none of its files (1) is one"), "{errors:?}");
    assert_eq!(notices.len(), 1);
}

#[test]
fn a_damaged_capture_of_a_directory_is_an_error_and_the_rest_is_read() {
    let directory = directory();
    let whole = fs::read(directory.path().join("x.pcap1")).unwrap();
    fs::write(directory.path().join("cut.pcap"), &whole[..whole.len() - 2]).unwrap();
    let (times, errors, _) = read(&[directory.path().to_path_buf()]);
    assert_eq!((times.len(), errors.len()), (5, 1), "{errors:?}");
    assert!(errors[0].contains("cut.pcap: is cut off"), "{errors:?}");
}

#[test]
fn sizes_and_directories_of_all_files_are_known_before() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let size = |name: &str| fs::metadata(path(name)).unwrap().len();
    assert_eq!(total_bytes(&[path("x.pcap?")]), Some(size("x.pcap0") + size("x.pcap1")));
    for (given, at) in [
        (path("x.pcap0"), path("")),
        (path(""), path("")),
        (path("x*"), path("")),
        (path("b*/y.pcap"), path("")),
        (PathBuf::from("x.pcap"), PathBuf::from(".")),
        (PathBuf::from("*/x.pcap"), PathBuf::from(".")),
    ] {
        assert_eq!(directory_of(&given).components().collect::<PathBuf>(), at.components().collect::<PathBuf>());
    }
}
