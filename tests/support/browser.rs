//! A browser is a headless Chromium with one tab, driven by the DevTools protocol over its pipe. It notes what the tab
//! asks for and what it complains about.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};

/// How long an answer or an event may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Browser {
    child: Child,
    commands: File,
    messages: Receiver<Value>,
    session: String,
    last: u64,
    /// What the tab has asked for, as URLs.
    pub requests: Vec<String>,
    /// Errors and warnings of its console, exceptions, violations of the policy, dialogs, and what the browser says to it.
    pub complaints: Vec<String>,
    /// Names of the events that came, beside those.
    events: Vec<String>,
    /// Its profile, and the pipe's ends.
    _directory: tempfile::TempDir,
}

impl Browser {
    /// Starts it with a window of 1280 x 800, in UTC; in a network namespace, if one is named.
    pub fn start(namespace: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (to, from) = (directory.path().join("to"), directory.path().join("from"));
        for pipe in [&to, &from] {
            mkfifo(pipe, Mode::S_IRWXU).unwrap();
        }
        let mut command = match namespace {
            Some(namespace) => super::network::Network::inside(namespace, "sh"),
            None => Command::new("sh"),
        };
        // Chromium takes commands from descriptor 3 and answers to 4.
        command.args(["-c", "exec chromium \"$@\" 3<\"$TO\" 4>\"$FROM\"", "sh"]);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-default-apps"]);
        command.args(["--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars"]);
        command.args(["--window-size=1280,800", "--password-store=basic", "--no-proxy-server"]);
        command.arg(format!("--user-data-dir={}", directory.path().join("profile").display())).arg("about:blank");
        command
            .env("TO", &to)
            .env("FROM", &from)
            .env("TZ", "UTC")
            .env("HOME", directory.path())
            .env("TMPDIR", directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn().unwrap();
        // The shell opens both before it becomes the browser.
        let commands = File::options().write(true).open(&to).unwrap();
        let answers = File::open(&from).unwrap();
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Ok(message) = message else { return };
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            messages,
            session: String::new(),
            last: 0,
            requests: vec![],
            complaints: vec![],
            events: vec![],
            _directory: directory,
        };
        let tab = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call("Target.attachToTarget", json!({"targetId": tab["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Network", "Log", "Performance"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(1280, 800);
        browser
    }

    /// A command of the protocol, and its result.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).unwrap();
        let start = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let message = self.messages.recv_timeout(left).unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] == json!(id) {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let parameters = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                self.requests.push(parameters["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            "Runtime.consoleAPICalled"
                if ["error", "warning", "assert"].iter().any(|kind| parameters["type"] == *kind) =>
            {
                self.complaints.push(parameters.to_string());
            }
            "Runtime.exceptionThrown" | "Log.entryAdded" => self.complaints.push(parameters.to_string()),
            "Page.javascriptDialogOpening" => {
                self.complaints.push(format!("a dialog: {parameters}"));
                // Not waited for: the answer comes between others.
                self.last += 1;
                let close = json!({"id": self.last, "sessionId": self.session, "method": "Page.handleJavaScriptDialog", "params": {"accept": false}});
                self.commands.write_all(format!("{close}\0").as_bytes()).unwrap();
            }
            name => self.events.push(name.to_owned()),
        }
    }

    /// Opens a page, and waits until it is loaded.
    pub fn open(&mut self, url: &str) {
        self.events.clear();
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        let start = Instant::now();
        while !self.events.iter().any(|event| event == "Page.loadEventFired") {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let message = self.messages.recv_timeout(left).expect("the page loads");
            self.note(&message);
        }
        self.frames();
    }

    /// Opens a file.
    pub fn open_file(&mut self, path: &Path) {
        self.open(&format!("file://{}", path.display()));
    }

    /// The value of an expression, awaited if it is a promise.
    pub fn eval(&mut self, expression: &str) -> Value {
        let answer = self
            .call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true, "awaitPromise": true}));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The text of the first element that a selector finds.
    pub fn text(&mut self, selector: &str) -> String {
        let found = self.eval(&format!("document.querySelector({}).textContent", json!(selector)));
        found.as_str().unwrap().to_owned()
    }

    /// The texts of all elements that a selector finds.
    pub fn texts(&mut self, selector: &str) -> Vec<String> {
        let found =
            self.eval(&format!("[...document.querySelectorAll({})].map((e) => e.textContent)", json!(selector)));
        serde_json::from_value(found).unwrap()
    }

    /// Two frames, after which what was asked for is drawn.
    pub fn frames(&mut self) {
        self.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))");
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str) {
        let start = Instant::now();
        while self.eval(&format!("Boolean({expression})")) != json!(true) {
            assert!(start.elapsed() < PATIENCE, "waited for {expression}; complaints {:?}", self.complaints);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses a key as a person does: `Enter`, `ArrowDown`, `Tab`.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => panic!("{key} has no code here"),
        };
        let mut down = json!({"type": "rawKeyDown", "key": key, "code": key, "windowsVirtualKeyCode": code});
        if key == "Enter" {
            down["type"] = json!("keyDown");
            down["text"] = json!("\r");
        }
        self.call("Input.dispatchKeyEvent", down);
        self.call(
            "Input.dispatchKeyEvent",
            json!({"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code}),
        );
        self.frames();
    }

    /// Types a text where the focus is, in place of what is there.
    pub fn write(&mut self, text: &str) {
        self.eval("document.activeElement.select && document.activeElement.select()");
        self.call("Input.insertText", json!({"text": text}));
        self.frames();
    }

    /// Clicks at the middle of the first element that a selector finds.
    pub fn click(&mut self, selector: &str) {
        let place = self.eval(&format!(
            "(() => {{ const e = document.querySelector({}); e.scrollIntoView({{block: 'nearest'}}); const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()",
            json!(selector)
        ));
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            self.call(
                "Input.dispatchMouseEvent",
                json!({"type": kind, "x": place[0], "y": place[1], "button": button, "clickCount": 1}),
            );
        }
        self.frames();
    }

    /// Moves the mouse.
    pub fn hover(&mut self, x: f64, y: f64) {
        self.call("Input.dispatchMouseEvent", json!({"type": "mouseMoved", "x": x, "y": y}));
        self.frames();
    }

    /// The size of the window, in CSS pixels.
    pub fn size(&mut self, width: u32, height: u32) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
        );
    }

    /// Whether people prefer dark colours.
    pub fn prefer(&mut self, scheme: &str) {
        self.call(
            "Emulation.setEmulatedMedia",
            json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
        );
        self.frames();
    }

    /// One of the browser's own measures of the tab.
    pub fn measure(&mut self, name: &str) -> f64 {
        let measures = self.call("Performance.getMetrics", json!({}));
        let found = measures["metrics"].as_array().unwrap().iter().find(|measure| measure["name"] == name);
        found.unwrap()["value"].as_f64().unwrap()
    }

    /// A picture of the window, as PNG.
    pub fn picture(&mut self, path: &Path) {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let bytes = data_encoding::BASE64.decode(answer["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It and its own processes are one group.
        killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL).ok();
        drop(self.child.wait());
        if std::thread::panicking() {
            println!("the browser complained: {:?}", self.complaints);
        }
    }
}
