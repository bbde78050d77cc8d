//! What people see on a terminal: colours or none, and lines that fit, whatever the wire holds. The terminal is a pseudo-terminal
//! of the kernel.

use crate::support;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::pty::{OpenptyResult, Winsize, openpty};

use support::capture::{Compression, Format, Order, file};
use support::message::Message;
use support::program::{picotap, scratch, wait};
use support::scene::Scene;

/// A pseudo-terminal whose screen is read in a thread, so that nobody waits for it.
struct Screen {
    terminal: OwnedFd,
    reader: JoinHandle<String>,
}

impl Screen {
    fn new(columns: u16) -> Self {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let reader = std::thread::spawn(move || {
            let (mut master, mut seen, mut bytes) = (File::from(master), Vec::new(), [0; 4096]);
            // An error says that the last of the other side's descriptors was closed.
            while let Ok(read @ 1..) = master.read(&mut bytes) {
                seen.extend_from_slice(&bytes[..read]);
            }
            String::from_utf8(seen).unwrap().replace("\r\n", "\n")
        });
        Self { terminal: slave, reader }
    }

    fn side(&self) -> Stdio {
        Stdio::from(self.terminal.try_clone().unwrap())
    }

    fn resize(&self, columns: u16) {
        let mut command = Command::new("stty");
        assert!(command.args(["cols", &columns.to_string()]).stdin(self.side()).status().unwrap().success());
    }

    /// What was written to it, once all that wrote have ended.
    fn text(self) -> String {
        drop(self.terminal);
        self.reader.join().unwrap()
    }
}

/// picotap without what the environment of the test says about colours.
fn program() -> Command {
    let mut command = picotap();
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color");
    command
}

/// Runs with standard output, and if asked standard error, at a terminal of so many columns.
fn shown(columns: u16, summary: bool, capture: &Path, change: impl FnOnce(&mut Command)) -> String {
    let screen = Screen::new(columns);
    let mut command = program();
    command.arg("-r").arg(capture).stdout(screen.side());
    command.stderr(if summary { screen.side() } else { Stdio::null() });
    change(&mut command);
    let mut child = command.spawn().unwrap();
    drop(command);
    assert_eq!(wait(&mut child), Some(0));
    screen.text()
}

fn fixture() -> PathBuf {
    support::fixtures::path("http.pcap")
}

const ESCAPE: char = '\u{1b}';

/// A text without the colours that picotap writes; any other sequence stays.
fn without_colors(text: &str) -> String {
    ["0", "1", "2", "31", "32", "33", "35", "36"]
        .iter()
        .fold(text.to_owned(), |text, code| text.replace(&format!("{ESCAPE}[{code}m"), ""))
}

#[test]
fn lines_fit_80_columns_in_colour_and_are_aligned() {
    let seen = shown(80, true, &fixture(), |_| {});
    assert!(seen.contains("\u{1b}[32m200\u{1b}[0m") && seen.contains("\u{1b}[33m404\u{1b}[0m"), "{seen}");
    let plain = without_colors(&seen);
    assert!(!plain.contains(ESCAPE), "{plain}");
    let lines: Vec<&str> = plain.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{plain}");
    let transactions: Vec<&&str> = lines.iter().filter(|line| line.starts_with("21:02:")).collect();
    assert_eq!(transactions.len(), 43, "{plain}");
    for line in transactions {
        let columns: Vec<char> = line.chars().collect();
        assert!(
            [12, 16, 24, 32, 40].iter().all(|at| columns[*at] == ' ' && columns[at + 1..].iter().any(|c| *c != ' '))
        );
        assert!(columns[41] != ' ', "the target begins in column 42: {line}");
    }
    assert!(plain.contains("\n43 transactions in 3.4 s of traffic (12.5 a second), read in "), "{plain}");
}

#[test]
fn colours_are_off_where_somebody_says_so() {
    let no_color = |value: &'static str| {
        move |command: &mut Command| {
            command.env("NO_COLOR", value);
        }
    };
    assert!(!shown(80, true, &fixture(), no_color("1")).contains(ESCAPE));
    assert!(shown(80, true, &fixture(), no_color("")).contains(ESCAPE), "no-color.org: when not an empty string");
    assert!(
        !shown(80, true, &fixture(), |command| {
            command.args(["--color", "never"]);
        })
        .contains(ESCAPE)
    );
    assert!(
        !shown(80, true, &fixture(), |command| {
            command.env("TERM", "dumb");
        })
        .contains(ESCAPE)
    );
    let both = shown(80, true, &fixture(), |command| {
        command.args(["--color", "always"]).env("NO_COLOR", "1");
    });
    assert!(both.contains(ESCAPE), "the option comes first");
    let json = shown(80, false, &fixture(), |command| {
        command.args(["--color", "always", "--format", "json"]);
    });
    assert!(!json.contains(ESCAPE) && json.lines().all(|line| line.starts_with("{\"ts\":")), "{json}");
}

#[test]
fn what_is_no_terminal_gets_whole_lines() {
    let piped = |change: &dyn Fn(&mut Command)| {
        let mut command = program();
        command.arg("-r").arg(fixture()).args(["--format", "text"]);
        change(&mut command);
        let outcome = support::program::run(&mut command);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        String::from_utf8(outcome.stdout).unwrap()
    };
    let whole = piped(&|_| {});
    assert!(!whole.contains(ESCAPE) && !whole.contains('\u{2026}') && whole.lines().count() == 43);
    assert!(
        whole.contains("Z 404     67us     153B GET http://10.99.0.2/no-such-page 10.99.0.1:57736 > 10.99.0.2:80\n")
    );
    for colored in [
        piped(&|command| {
            command.args(["--color", "always"]);
        }),
        piped(&|command| {
            command.env("CLICOLOR_FORCE", "1");
        }),
    ] {
        assert!(colored.contains(ESCAPE));
        assert_eq!(without_colors(&colored), whole);
    }
    assert_eq!(
        piped(&|command| {
            command.env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1");
        }),
        whole
    );
}

/// A capture of requests whose targets would like to paint, move and stretch.
fn hostile() -> Vec<u8> {
    let mut scene = Scene::default();
    let mut connection = scene.connection();
    connection.open();
    for target in [
        "/\u{1b}[2J\u{1b}[31mred".to_owned(),
        "/\u{1b}]0;title\u{7}\u{9b}31m\u{8}\u{8}\u{7f}".to_owned(),
        format!("/{}", "\u{4e2d}\u{6587}".repeat(60)),
        format!("/{}", "e\u{301}\u{302}\u{303}".repeat(200)),
        format!("/{}", "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}".repeat(30)),
        "/\u{202e}fdp.exe\u{2066}\u{feff}\u{ad}".to_owned(),
        format!("/{}", "a".repeat(5000)),
    ] {
        connection.exchange(&Message::get(&target), &Message::ok(b"x"));
    }
    connection.close();
    scene.capture(&mut connection);
    scene.stamp();
    file(&scene.frames(&scene.packets), Format::Pcap(Order::Little, false), Compression::None)
}

/// Columns of a text as a terminal counts them that joins nothing (the crate's tables are Unicode's).
fn columns(text: &str) -> usize {
    text.chars().map(|character| unicode_width::UnicodeWidthChar::width(character).unwrap_or(0)).sum()
}

#[test]
fn the_wire_paints_and_moves_nothing_and_no_line_is_too_long() {
    let path = scratch("terminal-hostile.pcap");
    fs::write(&path, hostile()).unwrap();
    for width in [60, 80, 133] {
        let plain = without_colors(&shown(width, true, &path, |_| {}));
        assert!(plain.chars().all(|c| c == '\n' || !c.is_control()), "{plain:?}");
        assert!(!plain.contains('\u{202e}') && !plain.contains('\u{2066}'), "{plain:?}");
        assert!(plain.contains("\\x1b[2J"), "{plain}");
        for line in plain.lines() {
            assert!(columns(line) <= usize::from(width), "{} of {width}: {line}", columns(line));
            assert!(line.chars().count() <= usize::from(width), "{line}");
        }
        assert!(plain.contains('\u{4e2d}') && plain.contains('\u{2026}'), "{plain}");
    }
}

#[test]
fn a_changed_width_is_noticed() {
    let pipe = scratch("terminal.fifo");
    fs::remove_file(&pipe).ok();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let screen = Screen::new(80);
    let mut command = program();
    command.arg("-r").arg(&pipe).stdout(screen.side()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut feeder = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    let capture = hostile();
    feeder.write_all(&capture[..24]).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    screen.resize(150);
    std::thread::sleep(Duration::from_millis(500));
    feeder.write_all(&capture[24..]).unwrap();
    drop(feeder);
    assert_eq!(wait(&mut child), Some(0));
    let plain = without_colors(&screen.text());
    assert!(plain.lines().count() >= 6 && plain.lines().all(|line| line.contains(" > 10.0.0.80:80")), "{plain}");
}

#[test]
fn a_bar_shows_progress_while_lines_go_to_a_file() {
    let (capture, pipe) = (scratch("bar.pcap"), scratch("bar.fifo"));
    let mut bytes = vec![];
    support::workload::Workload { connections: 1000, each: 60, body: 1000, seed: 5 }.write(&mut bytes).unwrap();
    fs::write(&capture, bytes).unwrap();
    fs::remove_file(&pipe).ok();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Whoever takes the lines takes none at first, so that the run lasts, however fast the machine is.
    let taker = |mut lines: File| {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1500));
            let mut taken = Vec::new();
            lines.read_to_end(&mut taken).unwrap();
            taken.iter().filter(|byte| **byte == b'\n').count()
        })
    };
    let screen = Screen::new(80);
    let mut command = program();
    command.arg("-r").arg(&capture).arg("-o").arg(&pipe).stdout(screen.side()).stderr(screen.side());
    let mut child = command.spawn().unwrap();
    drop(command);
    let taker = taker(File::open(&pipe).unwrap());
    assert_eq!(wait(&mut child), Some(0));
    assert_eq!(taker.join().unwrap(), 60_000);
    let bar = screen.text();
    assert!(bar.contains("% ") && bar.contains(" left"), "{bar:?}");
    assert!(bar.contains("60,000 transactions"), "{bar:?}");

    let screen = Screen::new(80);
    let mut command = program();
    command.arg("-r").arg(&capture).stdout(screen.side()).stderr(screen.side());
    let mut child = command.spawn().unwrap();
    drop(command);
    assert_eq!(wait(&mut child), Some(0));
    let lines = screen.text();
    assert!(!lines.contains("% ") && !lines.contains(" left"), "no bar among lines");
    assert_eq!(lines.lines().filter(|line| line.contains("/shop/")).count().min(60_000), 60_000);
    fs::remove_file(&capture).ok();
}
