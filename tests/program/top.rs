//! `picotap top` in a real terminal, tmux's: what is on its screen, what keys do, and that the terminal is as it was whichever
//! way picotap ends.
//!
//! `BLESS=1 cargo test --test program top` writes the screen into README.md.

use crate::support;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use picotap::daemon::shutdown::Shutdown;
use picotap::top::{Display, Notices, Screen, Top};

use support::network::Network;
use support::program::{picotap, run};
use support::tool;

const PROGRAM: &str = env!("CARGO_BIN_EXE_picotap");
const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/http.pcap");
const SIZES: [(u16, u16); 2] = [(80, 24), (200, 50)];

/// A terminal with a shell in it, by a tmux server of its own.
struct Terminal {
    socket: String,
    directory: tempfile::TempDir,
}

impl Terminal {
    fn new((columns, rows): (u16, u16)) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let socket = format!("picotap-test-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let terminal = Self { socket, directory: tempfile::tempdir().unwrap() };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        // A shell with job control that reads no file of the user's.
        let shell = "exec env -u NO_COLOR -u CLICOLOR_FORCE -u COLORTERM PS1='$ ' HISTFILE= bash --norc --noprofile";
        terminal.tmux(&["new-session", "-d", "-x", &columns, "-y", &rows, shell]);
        terminal.until("a prompt", |screen| screen[0] == "$");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket, "-f", "/dev/null", "-u"]).args(arguments).env("LC_ALL", "C.UTF-8");
        let outcome = command.env_remove("TMUX").stdin(Stdio::null()).output().unwrap();
        assert!(outcome.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&outcome.stderr));
        String::from_utf8(outcome.stdout).unwrap()
    }

    /// Types text, and Enter.
    fn enter(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    /// Presses keys, by their names.
    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.tmux(&["capture-pane", "-p"]).lines().map(|line| line.trim_end().to_owned()).collect();
        lines.push(String::new());
        lines
    }

    fn until(&self, what: &str, shows: impl Fn(&[String]) -> bool) -> Vec<String> {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if shows(&screen) {
                return screen;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "no {what}:\n{}", screen.join("\n"));
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until a line has this text, and the whole screen is drawn: two looks show the same.
    fn shows(&self, text: &str) -> Vec<String> {
        let last = std::cell::RefCell::new(Vec::new());
        self.until(text, |screen| {
            let before = last.replace(screen.to_vec());
            before == screen && screen.iter().any(|line| line.contains(text))
        })
    }

    /// Waits until no line has it.
    fn hides(&self, text: &str) -> Vec<String> {
        self.until(&format!("screen without {text}"), |screen| !screen.iter().any(|line| line.contains(text)))
    }

    /// Runs a command of the shell and gives what it writes to a file of its own.
    fn ask(&self, command: &str) -> String {
        let file = self.directory.path().join("answer");
        fs::remove_file(&file).ok();
        self.enter(&format!("{command} > {0}.new; mv {0}.new {0}", file.display()));
        let start = Instant::now();
        loop {
            if let Ok(answer) = fs::read_to_string(&file) {
                return answer;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{command}:\n{}", self.screen().join("\n"));
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// What must be the same before and after: the modes of the terminal, the cursor, and which screen is shown.
    fn state(&self) -> (String, String) {
        let modes = self.ask("stty -a");
        self.enter("clear");
        self.until("a prompt", |screen| screen[0] == "$" && screen[1].is_empty());
        let format = "#{alternate_on} #{cursor_flag} #{cursor_x},#{cursor_y} #{mouse_any_flag} #{keypad_cursor_flag}";
        (modes, self.tmux(&["display-message", "-p", format]))
    }

    /// The program in the foreground.
    fn foreground(&self) -> String {
        let start = Instant::now();
        loop {
            let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
            let children = format!("/proc/{0}/task/{0}/children", shell.trim());
            let children = fs::read_to_string(children).unwrap();
            if let Some(child) = children.split_whitespace().last() {
                return child.to_owned();
            }
            assert!(start.elapsed() < Duration::from_secs(20), "nothing runs");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        drop(command.args(["-L", &self.socket, "kill-server"]).stdin(Stdio::null()).output());
    }
}

fn top() -> String {
    format!("{PROGRAM} top -r {CAPTURE}")
}

/// The screen in README.md: a block of text that begins like one.
fn readme(screen: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("```text\npicotap 0.1.0  http.pcap").expect("README.md has the screen");
    let (_, after) = rest.split_once("\n```\n").expect("it ends");
    let new = format!("{before}```text\n{screen}\n```\n{after}");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &new).unwrap();
        return new;
    }
    assert!(text == new, "README.md has another screen (BLESS=1 writes it):\n{screen}");
    text
}

#[test]
fn a_file_is_shown_sorted_filtered_and_opened() {
    if !tool::has(&["tmux"]) {
        return;
    }
    for size in SIZES {
        let terminal = Terminal::new(size);
        let wide = size.0 > 80;
        terminal.enter(&top());
        terminal.shows("43 transactions");
        let screen = terminal.shows("  read  ");
        assert!(screen[2].starts_with("all  43"), "{screen:#?}");
        assert!(screen[2].contains("p50") && screen[2].contains("p99"), "{screen:#?}");
        assert!(screen.iter().any(|line| line.contains("▼COUNT")), "{screen:#?}");
        assert_eq!(screen.iter().any(|line| line.contains("PER S")), wide);
        if !wide {
            readme(screen.join("\n").trim_end());
        }
        // The second column, then the alphabet.
        terminal.keys(&[">"]);
        terminal
            .until("another column", |screen| screen.iter().any(|line| line.contains('▼') && !line.contains("▼COUNT")));
        terminal.keys(&["<"]);
        terminal.keys(&["<"]);
        let screen = terminal.shows("ROUTE▲");
        let first = 1 + screen.iter().position(|line| line.contains("ROUTE▲")).unwrap();
        let column = screen[first - 1].chars().position(|c| c == 'R').unwrap();
        let route = |line: &str| {
            line.chars()
                .skip(screen[first - 1].find("ROUTE▲").map_or(column, |at| screen[first - 1][..at].chars().count()))
                .collect::<String>()
        };
        let routes: Vec<String> = screen[first..first + 15].iter().map(|line| route(line)).collect();
        assert!(routes.is_sorted() && routes[0] == "/", "{routes:#?}");
        terminal.keys(&["r"]);
        terminal.shows("ROUTE▼");
        // A filter, as it is typed.
        terminal.keys(&["/"]);
        terminal.keys(&["l", "a", "r", "g", "e"]);
        let screen = terminal.shows("/large_");
        let rows: Vec<_> = screen.iter().filter(|line| line.contains("large.bin")).collect();
        assert!((2..15).contains(&rows.len()), "{screen:#?}");
        terminal.keys(&["Enter"]);
        terminal.shows("filter: large");
        terminal.keys(&["Escape"]);
        terminal.hides("filter: large");
        // A host, its routes, their transactions, one of them, and back.
        terminal.keys(&["2"]);
        terminal.until("hosts", |screen| screen.iter().any(|line| line.contains("COUNT") && !line.contains("ROUTE")));
        terminal.keys(&["Enter"]);
        terminal.shows("> 10.99.0.2");
        terminal.keys(&["Enter"]);
        terminal.shows("TARGET");
        terminal.keys(&["Enter"]);
        let screen = terminal.shows("> transaction");
        for line in ["status", "took", "  request", "  wait", "  response", "client", "server"] {
            assert!(screen.iter().any(|shown| shown.starts_with(line)), "{line}: {screen:#?}");
        }
        assert!(screen.iter().any(|line| line.contains('█') && line.starts_with("  wait")), "{screen:#?}");
        terminal.keys(&["Escape"]);
        terminal.hides("> transaction");
        terminal.keys(&["4"]);
        terminal.shows("▼TOOK");
        terminal.keys(&["?"]);
        terminal.shows("this list");
        terminal.keys(&["x"]);
        terminal.hides("this list");
        terminal.keys(&["q"]);
        terminal.until("a prompt", |screen| screen[0].starts_with("$ ") && !screen[1].starts_with("traffic"));
        assert_eq!(terminal.ask("echo $?"), "0\n");
    }
}

#[test]
fn the_screen_follows_the_size_of_the_terminal() {
    if !tool::has(&["tmux"]) {
        return;
    }
    let terminal = Terminal::new((80, 24));
    terminal.enter(&top());
    terminal.shows("  read  ");
    terminal.tmux(&["resize-window", "-x", "150", "-y", "40"]);
    let screen = terminal.shows("PER S");
    assert!(screen.iter().any(|line| line.chars().count() > 140), "{screen:#?}");
    assert!(screen[39].contains("q quit"), "{screen:#?}");
    terminal.tmux(&["resize-window", "-x", "40", "-y", "12"]);
    let screen = terminal.hides("PER S");
    assert!(screen.iter().all(|line| line.chars().count() <= 40), "{screen:#?}");
    terminal.until("all of it", |screen| screen[11].starts_with("1-7 panes"));
}

#[test]
fn every_way_out_leaves_the_terminal_as_it_was() {
    if !tool::has(&["tmux"]) {
        return;
    }
    let signal = |name: &str| {
        let name = name.to_owned();
        move |terminal: &Terminal| {
            let id = terminal.foreground();
            assert!(Command::new("kill").args([&name, &id]).status().unwrap().success());
        }
    };
    type Leave<'a> = (&'a str, Box<dyn Fn(&Terminal)>, &'a str);
    let ways: Vec<Leave<'_>> = vec![
        ("q", Box::new(|terminal| terminal.keys(&["q"])), "0\n"),
        ("Ctrl-C", Box::new(|terminal| terminal.keys(&["C-c"])), "0\n"),
        ("SIGTERM", Box::new(signal("-TERM")), "0\n"),
        ("SIGHUP", Box::new(signal("-HUP")), "0\n"),
    ];
    let terminal = Terminal::new((80, 24));
    for (way, leave, code) in ways {
        let before = terminal.state();
        terminal.enter(&format!("echo what was there; {}; code=$?", top()));
        let shown = terminal.shows("  read  ");
        assert!(!shown.iter().any(|line| line == "what was there"), "{way}: it has a screen of its own");
        leave(&terminal);
        let screen = terminal.shows("what was there");
        assert!(!screen.iter().any(|line| line.contains("transactions")), "{way}: {screen:#?}");
        assert_eq!(terminal.ask("echo $code"), code, "{way}");
        assert_eq!(terminal.state(), before, "{way}");
    }
}

#[test]
fn a_terminal_that_goes_ends_it() {
    if !tool::has(&["tmux"]) {
        return;
    }
    let terminal = Terminal::new((80, 24));
    terminal.enter(&top());
    terminal.shows("  read  ");
    let process = format!("/proc/{}", terminal.foreground());
    drop(terminal);
    let start = Instant::now();
    while Path::new(&process).exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "{process} goes on");
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn it_waits_in_the_background_and_comes_back() {
    if !tool::has(&["tmux"]) {
        return;
    }
    let terminal = Terminal::new((80, 24));
    let before = terminal.state();
    terminal.enter(&top());
    terminal.shows("  read  ");
    let id = terminal.foreground();
    for suspend in ["the key", "SIGTSTP"] {
        match suspend {
            "the key" => terminal.keys(&["C-z"]),
            _ => assert!(Command::new("kill").args(["-TSTP", &id]).status().unwrap().success()),
        }
        terminal.shows("Stopped");
        assert_eq!(terminal.state(), before, "{suspend}");
        terminal.enter("fg");
        terminal.shows("  read  ");
        terminal.keys(&["2"]);
        terminal.shows("▼COUNT");
    }
    // Stopped without having been asked: the shell has its own modes when it goes on.
    for name in ["-STOP", "-CONT"] {
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
    terminal.enter("fg");
    terminal.shows("  read  ");
    terminal.keys(&["q"]);
    terminal.until("a prompt", |screen| screen.iter().any(|line| line.ends_with('$')));
    assert_eq!(terminal.state(), before);
}

/// Not a test: what `a_panic_leaves_the_terminal_as_it_was` runs in a terminal.
#[test]
#[ignore = "it needs a terminal of its own, and panics"]
fn a_program_whose_model_panics() {
    let screen = Screen::new().unwrap();
    let display = Display { screen: screen.clone(), notices: Notices::hold().unwrap(), colour: true };
    let shutdown = Shutdown::default();
    let model = || panic!("the model has a defect");
    Top::start(&display, model, &shutdown).unwrap().end(true);
    assert!(shutdown.asked(), "the run ends");
    display.notices.release();
}

#[test]
fn a_panic_leaves_the_terminal_as_it_was() {
    if !tool::has(&["tmux"]) {
        return;
    }
    let terminal = Terminal::new((100, 30));
    let before = terminal.state();
    let program = std::env::current_exe().unwrap();
    terminal.enter(&format!("{} --ignored --exact --nocapture top::a_program_whose_model_panics", program.display()));
    let screen = terminal.shows("test result");
    let said = screen.join("\n");
    assert!(said.contains("the model has a defect"), "it is printed afterwards: {said}");
    assert_eq!(terminal.state(), before);
}

#[test]
fn messages_wait_until_the_terminal_is_as_it_was() {
    if !tool::has(&["tmux"]) {
        return;
    }
    let terminal = Terminal::new((80, 24));
    let cut = terminal.directory.path().join("cut.pcap");
    let bytes = fs::read(CAPTURE).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 7]).unwrap();
    terminal.enter(&format!("cat {} | {PROGRAM} top -r - --stats", cut.display()));
    let screen = terminal.shows("  read  ");
    assert!(screen[0].contains("standard input"), "keys come from the terminal: {screen:#?}");
    assert!(!screen.iter().any(|line| line.contains("picotap: ")), "{screen:#?}");
    terminal.keys(&["q"]);
    let screen = terminal
        .until("a prompt", |screen| screen.iter().rev().find(|line| !line.is_empty()).is_some_and(|line| line == "$"));
    assert!(terminal.tmux(&["capture-pane", "-p", "-S", "-200"]).contains("picotap: standard input"), "{screen:#?}");
    assert_eq!(terminal.ask("echo $?"), "1\n", "a file that was cut");
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    if !tool::has(&["tmux"]) {
        return;
    }
    let terminal = Terminal::new((80, 24));
    // The colours from 1 to 6, whichever way they are named.
    let is_coloured = || {
        let screen = terminal.tmux(&["capture-pane", "-p", "-e"]);
        (1..7).any(|code| {
            [format!("[3{code}m"), format!(";3{code}m"), format!("38;5;{code}m")]
                .iter()
                .any(|sequence| screen.contains(sequence))
        })
    };
    for (command, coloured) in [
        (top(), true),
        (format!("NO_COLOR=1 {}", top()), false),
        (format!("{} --color never", top()), false),
        (format!("NO_COLOR=1 {} --color always", top()), true),
    ] {
        terminal.enter(&command);
        terminal.shows("  read  ");
        assert_eq!(is_coloured(), coloured, "{command}");
        terminal.keys(&["q"]);
        terminal.hides("  read  ");
    }
}

#[test]
fn what_cannot_be_shown_is_refused_with_what_to_type() {
    let refused = |arguments: &[&str], said: &str| {
        let outcome = run(picotap().arg("top").args(arguments));
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stdout.is_empty());
    };
    refused(&[], "top: nothing to show: needed -i IFACE or a capture FILE, such as: picotap top -i ");
    refused(&["-r", CAPTURE], "top: standard output is no terminal");
    refused(&["-r", CAPTURE, "--errors"], "top: --errors is about logged lines");
    refused(&["-r", CAPTURE, "--rotate-size", "1"], "top: --rotate-size is about logged lines");
    refused(&["-r", CAPTURE, "--nonsense"], "unexpected argument");
}

#[test]
fn a_configuration_file_and_a_log_go_with_it() {
    if !tool::has(&["tmux"]) {
        return;
    }
    let terminal = Terminal::new((80, 24));
    let [config, log] = ["picotap.toml", "log"].map(|name| terminal.directory.path().join(name));
    fs::write(&config, format!("pcap = ['{CAPTURE}']\noutput = '{}'\nfilter = ['method=POST']\n", log.display()))
        .unwrap();
    terminal.enter(&format!("{PROGRAM} top --config {}", config.display()));
    terminal.shows("43 transactions");
    terminal.shows("  read  ");
    let lines = fs::read_to_string(&log).unwrap();
    assert!(lines.lines().count() > 2 && lines.lines().all(|line| line.contains("\"POST\"")), "{lines}");
    terminal.keys(&["q"]);
    terminal.hides("  read  ");
    terminal.enter(&format!("{PROGRAM} top -r {CAPTURE} -o /dev/tty"));
    terminal.shows("--output /dev/tty is a terminal");
}

#[test]
fn hostile_texts_move_nothing() {
    if !tool::has(&["tmux"]) {
        return;
    }
    for size in SIZES {
        let terminal = Terminal::new(size);
        let before = terminal.state();
        let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/heads/markup-in-heads/capture.pcap");
        terminal.enter(&format!("{PROGRAM} top -r {capture}"));
        let read = terminal.shows("  read  ");
        assert!(read.iter().any(|line| line.contains("script")), "{read:#?}");
        for pane in ["1", "2", "3", "4", "5", "6"] {
            terminal.keys(&[pane]);
            // The frame stands where it stood: what is in a row stays in its row.
            let screen = terminal.shows("1-7 panes");
            assert_eq!((screen[0].as_str(), screen[2].as_str()), (read[0].as_str(), read[2].as_str()), "{screen:#?}");
            assert!(screen[usize::from(size.1) - 1].starts_with("1-7 panes"), "{screen:#?}");
            let wide = screen.iter().find(|line| line.chars().count() > usize::from(size.0));
            assert!(wide.is_none(), "{wide:?}");
            assert!(!screen.concat().contains('\u{202e}'), "a character that turns text round");
        }
        // Each transaction, opened.
        terminal.keys(&["5", "Home"]);
        for _ in 0..4 {
            terminal.keys(&["Enter"]);
            let screen = terminal.shows("> transaction");
            assert_eq!(screen[0], read[0], "{screen:#?}");
            terminal.keys(&["Escape"]);
            terminal.hides("> transaction");
            terminal.keys(&["Down"]);
        }
        terminal.keys(&["q"]);
        terminal.hides("1-7 panes");
        assert_eq!(terminal.state(), before);
    }
}

#[test]
fn live_traffic_is_shown_without_privileges() {
    if !tool::has(&["tmux", "root"]) {
        return;
    }
    let Some(network) = Network::new("live_traffic_is_shown_without_privileges") else { return };
    let network = network.serve();
    let terminal = Terminal::new((100, 30));
    let before = terminal.state();
    terminal.enter(&format!("ip netns exec {} {PROGRAM} top -i wire1", network.server));
    let screen = terminal.shows("  live  ");
    assert!(screen[0].contains("wire1"), "{screen:#?}");
    network.ask("first", 20);
    terminal.shows("20 transactions");
    terminal.keys(&["5"]);
    terminal.shows("/short?first=20");
    terminal.keys(&["p"]);
    terminal.shows("PAUSED");
    network.ask("second", 10);
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(!terminal.screen().iter().any(|line| line.contains("?second=")), "paused");
    terminal.keys(&["p"]);
    terminal.shows("/short?second=10");
    let id = terminal.foreground();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    for line in ["CapEff:\t0000000000000000", "Seccomp:\t2", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    // Under the filter, the terminal is still given back and taken.
    terminal.keys(&["C-z"]);
    terminal.shows("Stopped");
    assert_eq!(terminal.state(), before);
    terminal.enter("fg");
    terminal.shows("30 transactions");
    terminal.keys(&["6"]);
    terminal.shows("GROUP");
    assert!(Command::new("ip").args(["-n", &network.server, "link", "del", "wire1"]).status().unwrap().success());
    // What is printed is shown.
    terminal.shows("picotap: wire1");
    terminal.keys(&["q"]);
    terminal.hides("30 transactions");
    assert_eq!(terminal.ask("echo $?"), "0\n");
    assert_eq!(terminal.state(), before);
}
