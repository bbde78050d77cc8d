//! A network is two namespaces, client and server, on one wire that the test makes and takes away again. nginx serves in
//! the second, and its access log records what happened.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::program::scratch;
use super::tool::{need, skip};

#[derive(Debug)]
pub struct Network {
    pub client: String,
    pub server: String,
    directory: PathBuf,
    nginx: Option<Child>,
}

const CONFIGURATION: &str = "
daemon off; worker_processes 1; pid PLACE/nginx.pid; error_log PLACE/error.log; user root;
events { worker_connections 512; }
http {
    log_format bare '$remote_addr $remote_port $connection_requests $request_method $request_uri $status $body_bytes_sent';
    access_log PLACE/access.log bare;
    client_body_temp_path PLACE/tmp; proxy_temp_path PLACE/tmp; fastcgi_temp_path PLACE/tmp; uwsgi_temp_path PLACE/tmp;
    scgi_temp_path PLACE/tmp;
    keepalive_requests 100000;
    server {
        listen 80; listen [::]:80; root PLACE/site;
        location /empty { return 204; }
        location /moved { return 301 /; }
        location /short { return 200 'short'; }
        location /long { return 200 'LONG'; }
    }
    SERVERS
}
";

impl Network {
    /// Nothing, after the skip of `test` has been noted, where a tool or the right is missing.
    pub fn new(test: &str) -> Option<Self> {
        for tool in ["ip", "nginx", "curl", "wrk"] {
            need(test, tool)?;
        }
        static MADE: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let (client, server) = (format!("picotap-c-{unique}"), format!("picotap-s-{unique}"));
        if !ip(&["netns", "add", &client]) {
            skip(test, "no right to make network namespaces");
            return None;
        }
        let directory = scratch(&format!("network-{unique}"));
        let network = Self { client, server, directory, nginx: None };
        let (client, server) = (network.client.as_str(), network.server.as_str());
        assert!(ip(&["netns", "add", server]));
        assert!(ip(&["-n", client, "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", server]));
        for (namespace, link, host) in [(client, "wire0", 1), (server, "wire1", 2)] {
            for arguments in [
                vec!["link", "set", "lo", "up"],
                vec!["addr", "add", &format!("10.99.0.{host}/24"), "dev", link],
                vec!["addr", "add", &format!("fd99::{host}/64"), "dev", link, "nodad"],
                vec!["link", "set", link, "up"],
            ] {
                assert!(ip(&[&["-n", namespace], &arguments[..]].concat()), "{arguments:?}");
            }
        }
        Some(network)
    }

    /// Starts nginx in the server's namespace.
    pub fn serve(self) -> Self {
        self.serve_also("")
    }

    /// The same with more for its configuration, in which PLACE is the network's directory.
    pub fn serve_also(mut self, servers: &str) -> Self {
        fs::remove_dir_all(&self.directory).ok();
        fs::create_dir_all(self.directory.join("site")).unwrap();
        fs::create_dir_all(self.directory.join("tmp")).unwrap();
        fs::write(self.directory.join("site/index.html"), "<html>It works</html>\n").unwrap();
        fs::write(self.directory.join("site/large.bin"), super::message::filler(200_000)).unwrap();
        fs::write(self.directory.join("site/body.bin"), super::message::filler(20_000)).unwrap();
        let directory = self.directory.to_str().unwrap();
        let text = CONFIGURATION
            .replace("SERVERS", servers)
            .replace("PLACE", directory)
            .replace("LONG", &"0123456789".repeat(300));
        let file = self.directory.join("nginx.conf");
        fs::write(&file, text).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.server, "nginx", "-c"]).arg(file);
        self.nginx = Some(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("nginx answers", || self.curl(&["http://10.99.0.2/short"]));
        // No capture will show the log's rows about these attempts.
        fs::write(self.directory.join("access.log"), "").unwrap();
        self
    }

    /// A command in one of the namespaces.
    pub fn inside(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program).stdin(Stdio::null());
        command
    }

    /// Whether curl is content.
    pub fn curl(&self, arguments: &[&str]) -> bool {
        let mut command = Self::inside(&self.client, "curl");
        command.args(["-sS", "-g", "-m", "20"]).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }

    /// One curl asks for `/short?TEXT=1` and so on to `count`, on one connection.
    pub fn ask(&self, text: &str, count: usize) {
        let urls = (1..=count).map(|number| format!("url = \"http://10.99.0.2/short?{text}={number}\"\n"));
        let list = self.file("urls", &urls.collect::<String>());
        assert!(self.curl(&["-K", list.to_str().unwrap()]), "{text}");
    }

    /// Starts picotap on the server's end of the wire, its output in the file `lines`, and waits until it captures. Its ring and its
    /// queue are long: a busy machine may hold its threads up, and what is tested here is not how it drops.
    pub fn capture(&self, args: &[&str]) -> Child {
        self.capture_in(&self.server, &[&["-i", "wire1"], args].concat())
    }

    /// The same in any namespace, on the interfaces that are among the arguments.
    pub fn capture_in(&self, namespace: &str, args: &[&str]) -> Child {
        let mut command = Self::inside(namespace, env!("CARGO_BIN_EXE_picotap"));
        command.args(["--format", "json", "--no-metrics", "-B", "65536", "--queue", "256"]).args(args);
        // To a file: a pipe that nobody reads would hold the lines up.
        let lines = fs::File::create(self.directory.join("lines")).unwrap();
        // A socket's name must be short.
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        command.env("NOTIFY_SOCKET", &socket);
        let mut child = command.stdout(lines).stderr(Stdio::piped()).spawn().unwrap();
        let (mut bytes, start) = ([0; 64], Instant::now());
        while manager.recv(&mut bytes).is_err() {
            let is_over = start.elapsed() > Duration::from_secs(60);
            if is_over || child.try_wait().unwrap().is_some() {
                let state = fs::read_to_string(format!("/proc/{}/wchan", child.id()));
                drop(child.kill());
                let said = child.wait_with_output().unwrap();
                panic!("picotap is not ready: {state:?}: {}", String::from_utf8_lossy(&said.stderr));
            }
        }
        assert!(bytes.starts_with(b"READY=1\n"));
        child
    }

    /// Rows of the access log: address, port, number on the connection, method, target, status, body bytes.
    pub fn logged(&self) -> Vec<String> {
        self.rows("access.log")
    }

    /// Rows of any of nginx's logs.
    pub fn rows(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// A file in the network's own directory that a program may add to.
    pub fn append(&self, name: &str) -> fs::File {
        fs::create_dir_all(&self.directory).unwrap();
        fs::File::options().create(true).append(true).open(self.directory.join(name)).unwrap()
    }

    /// A file in the network's own directory.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(mut nginx) = self.nginx.take() {
            // `ip netns exec` has become nginx itself.
            drop(Command::new("kill").arg(nginx.id().to_string()).status());
            drop(nginx.wait());
        }
        for namespace in [&self.client, &self.server] {
            ip(&["netns", "del", namespace]);
        }
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.directory).ok();
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Waits for something that must come within twenty seconds.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: waited for twenty seconds");
        std::thread::sleep(Duration::from_millis(20));
    }
}
