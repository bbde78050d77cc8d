//! A service is another program on the server's end of a network, stopped when the test is over.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use super::network::{Network, until};

pub struct Service {
    child: Child,
}

impl Service {
    /// Starts a program in the server's namespace, and waits until it accepts connections at each of `addresses`.
    pub fn start(network: &Network, program: &str, args: &[&str], addresses: &[&str]) -> Self {
        let mut command = Network::inside(&network.server, program);
        command.args(args).stdout(Stdio::null()).stderr(network.append(&format!("{program}.log")));
        // `ip netns exec` becomes the program itself.
        let mut service = Self { child: command.spawn().unwrap() };
        for address in addresses {
            until(&format!("{program} listens at {address}"), || {
                assert!(service.child.try_wait().unwrap().is_none(), "{program} has ended: see {program}.log");
                let address = (*address).to_owned();
                within(&network.server, move || TcpStream::connect(address).is_ok())
            });
        }
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status());
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > Duration::from_secs(5) {
                drop(self.child.kill());
                drop(self.child.wait());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Does something in a network namespace: sockets made there stay in it.
pub fn within<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    enter(namespace, work).join().unwrap()
}

fn enter<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let namespace = std::fs::File::open(format!("/var/run/netns/{namespace}")).unwrap();
    std::thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
}

/// A server of SOCKS 4 and 4a at this address of the server's namespace, for `count` connections.
pub fn socks4(network: &Network, address: &str, count: usize) -> JoinHandle<()> {
    let address = address.to_owned();
    let listener = within(&network.server, move || TcpListener::bind(address).unwrap());
    enter(&network.server, move || {
        for client in listener.incoming().take(count) {
            relay(client.unwrap()).unwrap();
        }
    })
}

/// Serves one client to its end.
fn relay(mut client: TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut request = [0; 8];
    client.read_exact(&mut request)?;
    assert_eq!(request[..2], [4, 1], "SOCKS 4, connect");
    text(&mut client)?; // the user
    let (ip, port) = ([request[4], request[5], request[6], request[7]], u16::from_be_bytes([request[2], request[3]]));
    let host = if ip[..3] == [0, 0, 0] { text(&mut client)? } else { std::net::Ipv4Addr::from(ip).to_string() };
    let server = (host, port).to_socket_addrs()?.find_map(|address| TcpStream::connect(address).ok());
    client.write_all(&[0, if server.is_some() { 90 } else { 91 }, 0, 0, 0, 0, 0, 0])?;
    let Some(mut server) = server else { return Ok(()) };
    let (mut back, mut answers) = (client.try_clone()?, server.try_clone()?);
    let returning = std::thread::spawn(move || {
        drop(std::io::copy(&mut answers, &mut back));
        back.shutdown(std::net::Shutdown::Write)
    });
    std::io::copy(&mut client, &mut server)?;
    server.shutdown(std::net::Shutdown::Write)?;
    returning.join().unwrap().or(Ok(()))
}

/// Up to a zero, which is dropped.
fn text(from: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = vec![];
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        if byte == [0] {
            return Ok(String::from_utf8(bytes).unwrap());
        }
        bytes.push(byte[0]);
    }
}
