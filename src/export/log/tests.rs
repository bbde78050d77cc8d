use super::*;
use crate::export::{FormatName, Origin};
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read;
use std::path::PathBuf;

const DAY: i64 = 86_400_000_000_000;
const NOON: i64 = 20_000 * DAY + DAY / 2;

struct Setup {
    directory: tempfile::TempDir,
    notices: Vec<LogNotice>,
}

impl Setup {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), notices: Vec::new() }
    }
    fn path(&self) -> PathBuf {
        self.directory.path().join("log")
    }
    fn open(&self, rotation: Option<Rotation>, format: FormatName) -> Log {
        Log::open(Target::File(self.path()), rotation, format.writer(Origin::default()), NOON).unwrap()
    }
    /// Contents of all files, uncompressed, in order of their names.
    fn all(&self) -> Vec<String> {
        let mut paths: Vec<_> = fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let read = |path: &PathBuf| {
            let mut text = String::new();
            let file = File::open(path).unwrap();
            match path.extension() {
                Some(extension) if extension == "gz" => flate2::read::GzDecoder::new(file).read_to_string(&mut text),
                _ => File::read_to_string(&mut { file }, &mut text),
            }
            .unwrap();
            text
        };
        paths.iter().map(read).collect()
    }
}

fn lines(bytes: impl AsRef<[u8]>) -> Chunk {
    Chunk { bytes: bytes.as_ref().to_vec(), records: count(bytes.as_ref()), ..Chunk::default() }
}

fn rotation(size: Option<u64>, interval: Option<i64>) -> Option<Rotation> {
    Some(Rotation { size, interval, keep: 9 })
}

#[test]
fn a_file_is_put_aside_before_it_exceeds_its_size() {
    let mut setup = Setup::new();
    let mut log = setup.open(rotation(Some(8), None), FormatName::Json);
    log.write(&lines(b"1\n22\n333\n4444\nfar too long for it\n5\n"), NOON, &mut setup.notices).unwrap();
    let counters = log.close(NOON);
    assert_eq!((counters.lines, counters.rotations), (6, 4));
    let mut files = setup.all();
    files.sort();
    assert_eq!(files, ["1\n22\n", "333\n", "4444\n", "5\n", "far too long for it\n"]);
    assert!(setup.notices.is_empty());
}

#[test]
fn a_file_is_put_aside_at_midnight_but_not_when_empty() {
    let mut setup = Setup::new();
    let mut log = setup.open(rotation(None, Some(DAY)), FormatName::Json);
    log.tick(NOON + DAY, &mut setup.notices).unwrap();
    assert_eq!(log.counters.rotations, 0);
    log.write(&lines(b"a\n"), NOON + DAY, &mut setup.notices).unwrap();
    log.write(&lines(b"b\n"), NOON + DAY + DAY / 2 - 1, &mut setup.notices).unwrap();
    log.write(&lines(b"c\n"), NOON + DAY + DAY / 2, &mut setup.notices).unwrap();
    assert_eq!(log.close(NOON).rotations, 1);
    assert_eq!(setup.all(), ["c\n", "a\nb\n"]);
}

#[test]
fn every_file_has_the_formats_header_and_footer() {
    let mut setup = Setup::new();
    let mut log = setup.open(rotation(Some(3000), None), FormatName::Zeek);
    log.write(&lines(b"row\n".repeat(300)), NOON, &mut setup.notices).unwrap();
    log.write(&lines(b"row\n".repeat(700)), NOON, &mut setup.notices).unwrap();
    log.close(NOON);
    let files = setup.all();
    assert!(files.len() > 1);
    for file in files {
        assert!(file.starts_with("#separator \\x09\n") && file.contains("\n#close\t"), "{file}");
    }
}

#[test]
fn a_renamed_log_is_followed_by_reopening() {
    let mut setup = Setup::new();
    let mut log = setup.open(None, FormatName::Json);
    log.write(&lines(b"a\n"), NOON, &mut setup.notices).unwrap();
    fs::rename(setup.path(), setup.directory.path().join("old")).unwrap();
    log.write(&lines(b"b\n"), NOON, &mut setup.notices).unwrap();
    log.reopen(NOON).unwrap();
    log.write(&lines(b"c\n"), NOON, &mut setup.notices).unwrap();
    assert_eq!(setup.all(), ["c\n", "a\nb\n"]);
}

#[test]
fn half_a_line_of_an_earlier_run_does_not_run_together_with_ours() {
    let mut setup = Setup::new();
    fs::write(setup.path(), "a\nhal").unwrap();
    setup.open(None, FormatName::Json).write(&lines(b"b\n"), NOON, &mut setup.notices).unwrap();
    assert_eq!(setup.all(), ["a\nhal\nb\n"]);
}

#[test]
fn a_failing_disk_is_told_once_and_so_is_its_recovery() {
    let mut setup = Setup::new();
    let target = Target::File("/dev/full".into());
    let mut log = Log::open(target, None, FormatName::Json.writer(Origin::default()), NOON).unwrap();
    for _ in 0..3 {
        log.write(&lines(b"a\nb\n"), NOON, &mut setup.notices).unwrap();
    }
    assert_eq!((log.counters.lost_lines, log.counters.write_errors), (6, 3));
    log.lines = Lines::Plain(crate::export::line_writer::LineWriter::new(File::create(setup.path()).unwrap()));
    log.write(&lines(b"c\n"), NOON, &mut setup.notices).unwrap();
    let texts: Vec<String> = setup.notices.iter().map(LogNotice::to_string).collect();
    assert_eq!(texts.len(), 2);
    assert!(texts[0].contains("No space left") && texts[1].contains("6 lines were lost"), "{texts:?}");
    assert_eq!(setup.all(), ["c\n"]);
}

#[test]
fn what_cannot_be_rotated_or_opened_says_so() {
    let format = || FormatName::Json.writer(Origin::default());
    let open = |path: &str, rotation| Log::open(Target::File(path.into()), rotation, format(), NOON).unwrap_err();
    assert_eq!(
        open("/dev/null", rotation(Some(1), None)).to_string(),
        "cannot rotate /dev/null: needed a regular file"
    );
    assert!(open("/nowhere/log", None).to_string().starts_with("cannot open log file /nowhere/log: No such file"));
}

#[test]
fn a_rotation_that_fails_is_told_and_the_log_goes_on() {
    let mut setup = Setup::new();
    let mut log = setup.open(rotation(Some(4), None), FormatName::Json);
    log.write(&lines(b"abc\n"), NOON, &mut setup.notices).unwrap();
    let blocking = open::beside(&setup.path());
    fs::create_dir(&blocking).unwrap();
    log.write(&lines(b"def\n"), NOON, &mut setup.notices).unwrap();
    assert!(matches!(setup.notices[..], [LogNotice::RotationFailed(_)]));
    fs::remove_dir(&blocking).unwrap();
    log.write(&lines(b"ghi\n"), NOON + RETRY, &mut setup.notices).unwrap();
    assert_eq!((log.counters.rotations, log.counters.rotation_errors), (1, 1));
    log.close(NOON);
    assert_eq!(setup.all(), ["ghi\n", "abc\ndef\n"]);
}

#[test]
fn a_log_that_was_removed_is_begun_anew() {
    let mut setup = Setup::new();
    let mut log = setup.open(rotation(Some(4), None), FormatName::Json);
    log.write(&lines(b"abc\n"), NOON, &mut setup.notices).unwrap();
    fs::remove_file(setup.path()).unwrap();
    log.write(&lines(b"def\n"), NOON, &mut setup.notices).unwrap();
    log.close(NOON);
    assert_eq!(setup.all(), ["def\n"]);
}

#[test]
fn half_a_line_is_cut_off_where_the_file_allows() {
    let setup = Setup::new();
    for (text, wanted) in
        [("a\nhalf".to_owned(), "a\n"), ("half".to_owned(), ""), (format!("a\n{}", "x".repeat(9000)), "a\n")]
    {
        fs::write(setup.path(), text).unwrap();
        let mut file = OpenOptions::new().read(true).append(true).open(setup.path()).unwrap();
        cut_half_line(&mut file).unwrap();
        assert_eq!(setup.all(), [wanted]);
    }
}

#[test]
fn a_compressed_log_rotates_as_others_do() {
    for ending in ["zst", "gz"] {
        let mut setup = Setup::new();
        let path = setup.directory.path().join(format!("log.json.{ending}"));
        let open = |rotation| {
            Log::open(Target::File(path.clone()), rotation, FormatName::Json.writer(Origin::default()), NOON).unwrap()
        };
        let mut log = open(rotation(Some(3_000), None));
        let mut random = 1_u64;
        let text: String = (0..1_000)
            .map(|number| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                format!("{number} {random:x}\n")
            })
            .collect();
        for part in text.split_inclusive('\n').collect::<Vec<_>>().chunks(100) {
            log.write(&lines(part.concat()), NOON, &mut setup.notices).unwrap();
        }
        let counters = log.close(NOON);
        assert!(setup.notices.is_empty() && counters.lines == 1_000 && counters.rotations > 1, "{counters:?}");
        let mut names: Vec<_> = fs::read_dir(&setup.directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.retain(|name| *name != path);
        // The second of one time has a number behind it.
        names.sort_by_key(|name| (name.as_os_str().len(), name.clone()));
        names.push(path.clone());
        let mut all = String::new();
        for name in &names {
            assert!(fs::metadata(name).unwrap().len() <= 3_000, "{}", name.display());
            assert!(name.to_str().unwrap().ends_with(&format!(".{ending}")), "{}", name.display());
            let bytes = fs::read(name).unwrap();
            let mut text = Vec::new();
            match ending {
                "zst" => zstd::stream::copy_decode(&bytes[..], &mut text).unwrap(),
                _ => drop(flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap()),
            }
            all += std::str::from_utf8(&text).unwrap();
        }
        assert_eq!(all, text);
        // A run later, and a reload: lines are appended.
        let before = fs::metadata(&path).unwrap().len();
        let mut log = open(None);
        log.write(&lines("one\n"), NOON, &mut setup.notices).unwrap();
        log.reopen(NOON).unwrap();
        log.write(&lines("two\n"), NOON, &mut setup.notices).unwrap();
        log.tick(NOON + 2_000_000_000, &mut setup.notices).unwrap();
        assert!(fs::metadata(&path).unwrap().len() > before, "a second later it is there");
        drop(log);
    }
}
