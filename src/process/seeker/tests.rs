//! A `/proc` of files and links, as proc(5) describes it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::super::message::{answers, write_question};
use super::*;

/// What a test says of the host.
struct Proc(tempfile::TempDir);

/// A socket as a line of `tcp` or `tcp6`: local and remote address, state, inode.
fn line(local: &str, remote: &str, state: &str, inode: u64) -> String {
    let end = |text: &str| {
        let address: SocketAddr = text.parse().expect("an address");
        let words = |octets: &[u8]| {
            let words = octets.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().expect("four")));
            words.map(|word| format!("{word:08X}")).collect::<String>()
        };
        let ip = match address.ip() {
            IpAddr::V4(ip) => words(&ip.octets()),
            IpAddr::V6(ip) => words(&ip.octets()),
        };
        format!("{ip}:{:04X}", address.port())
    };
    format!(
        "   0: {} {} {state} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1\n",
        end(local),
        end(remote)
    )
}

impl Proc {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, process: &str) -> PathBuf {
        self.0.path().join(process)
    }

    /// A process in a namespace, which holds sockets.
    fn process(&self, process: &str, namespace: u64, command: &str, sockets: &[u64]) -> &Self {
        let path = self.path(process);
        for directory in ["ns", "net", "fd"] {
            fs::create_dir_all(path.join(directory)).expect("a directory");
        }
        symlink(format!("net:[{namespace}]"), path.join("ns/net")).expect("a link");
        symlink("/dev/null", path.join("fd/0")).expect("a link");
        for (at, inode) in sockets.iter().enumerate() {
            symlink(format!("socket:[{inode}]"), path.join(format!("fd/{}", at + 3))).expect("a link");
        }
        fs::write(path.join("comm"), format!("{command}\n")).expect("a file");
        fs::write(path.join("cgroup"), "0::/\n").expect("a file");
        self
    }

    /// The sockets of a process's namespace, of IPv4 and IPv6, and its addresses of IPv4.
    fn network(&self, process: &str, tcp: &str, tcp6: &str, addresses: &[&str]) -> &Self {
        let path = self.path(process).join("net");
        let heading =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        fs::write(path.join("tcp"), heading.to_owned() + tcp).expect("a file");
        fs::write(path.join("tcp6"), heading.to_owned() + tcp6).expect("a file");
        let trie = addresses.iter().map(|ip| format!("           |-- {ip}\n              /32 host LOCAL\n"));
        fs::write(path.join("fib_trie"), trie.collect::<String>()).expect("a file");
        self
    }

    fn seeker(&self) -> Seeker {
        Seeker::new(self.0.path())
    }
}

fn endpoint(text: &str) -> Endpoint {
    let address: SocketAddr = text.parse().expect("an address");
    Endpoint { ip: address.ip(), port: address.port() }
}

fn ask(seeker: &mut Seeker, number: u64, one: &str, other: &str) {
    let mut message = Vec::new();
    let endpoints = [endpoint(one), endpoint(other)];
    write_question(&Asked::Connection(Question { worker: 1, number, endpoints }), &mut message);
    seeker.ask(&message);
}

fn look(seeker: &mut Seeker, refresh: bool) -> Vec<Answer> {
    let mut all = Vec::new();
    seeker.look(refresh, &mut |message| {
        all.extend(answers(message));
        true
    });
    all
}

/// What is said of an end: the outcome, and the process as `command/pid`.
fn said((outcome, process): &Answered) -> String {
    match process {
        None => outcome.name().to_owned(),
        Some(process) => shown(process),
    }
}

fn shown(process: &Process) -> String {
    let pid = process.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    format!("{}/{pid}", String::from_utf8_lossy(&process.command))
}

/// The ends of the connections that are answered, by number.
fn ends(answers: &[Answer]) -> Vec<(u64, [String; 2])> {
    let ends = answers.iter().filter_map(|answer| match answer {
        Answer::Connection { worker: 1, number, ends } => Some((*number, [said(&ends[0]), said(&ends[1])])),
        _ => None,
    });
    let mut ends: Vec<_> = ends.collect();
    ends.sort();
    ends
}

/// What is told of listeners.
fn listeners(answers: &[Answer]) -> Vec<String> {
    let told = answers.iter().filter_map(|answer| match answer {
        Answer::Listener(end, process) => {
            let process = process.as_deref().map_or_else(|| "gone".to_owned(), shown);
            Some(format!("{} {process}", SocketAddr::new(end.ip, end.port)))
        }
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

const LISTEN: &str = "0.0.0.0:0";

#[test]
fn a_listener_is_at_its_address_or_at_all_of_its_namespace() {
    let proc = Proc::new();
    let tcp = line("0.0.0.0:80", LISTEN, "0A", 11)
        + &line("10.0.0.1:80", LISTEN, "0A", 12)
        + &line("127.0.0.1:81", LISTEN, "0A", 13);
    let tcp6 = line("[::]:80", "[::]:0", "0A", 14) + &line("[::]:90", "[::]:0", "0A", 15);
    proc.process("self", 1, "picotap", &[]).network("self", &tcp, &tcp6, &["127.0.0.1", "10.0.0.1", "10.0.0.2"]);
    fs::write(proc.path("self").join("net/if_inet6"), "20010db8000000000000000000000001 02 40 00 80     eth0\n")
        .expect("a file");
    proc.process("5", 1, "all", &[11]).process("6", 1, "one", &[12]).process("7", 1, "local", &[13]);
    proc.process("8", 1, "six", &[14]).process("9", 1, "both", &[15]);
    let told = listeners(&look(&mut proc.seeker(), true));
    assert_eq!(
        told,
        [
            "10.0.0.1:80 one/6",
            "10.0.0.1:90 both/9",
            "10.0.0.2:80 all/5",
            "10.0.0.2:90 both/9",
            "127.0.0.1:80 all/5",
            "127.0.0.1:81 local/7",
            "127.0.0.1:90 both/9",
            "[2001:db8::1]:80 six/8",
            "[2001:db8::1]:90 both/9",
        ]
    );
}

#[test]
fn listeners_are_told_once_and_again_when_they_change_or_were_lost() {
    let proc = Proc::new();
    let tcp = line("10.0.0.1:80", LISTEN, "0A", 11);
    proc.process("self", 1, "picotap", &[]).network("self", &tcp, "", &["10.0.0.1"]).process("5", 1, "a", &[11]);
    let mut seeker = proc.seeker();
    assert_eq!(listeners(&look(&mut seeker, true)), ["10.0.0.1:80 a/5"]);
    assert_eq!(look(&mut seeker, true), []);
    // Its number is another process's now.
    fs::write(proc.path("5").join("comm"), "b\n").expect("a file");
    assert_eq!(listeners(&look(&mut seeker, true)), ["10.0.0.1:80 b/5"]);
    fs::remove_dir_all(proc.path("5")).expect("it ends");
    assert_eq!(listeners(&look(&mut seeker, true)), ["10.0.0.1:80 gone"]);
    proc.process("6", 1, "c", &[11]);
    seeker.look(true, &mut |_| false);
    let answers = look(&mut seeker, true);
    assert_eq!((&answers[0], listeners(&answers)), (&Answer::NoListeners, vec!["10.0.0.1:80 c/6".to_owned()]));
}

#[test]
fn workers_of_one_program_have_no_number_and_different_programs_no_name() {
    let proc = Proc::new();
    let tcp = line("10.0.0.1:80", LISTEN, "0A", 11)
        + &line("10.0.0.1:81", LISTEN, "0A", 12)
        + &line("10.0.0.1:82", LISTEN, "0A", 13);
    let tcp = tcp + &line("10.0.0.1:83", LISTEN, "0A", 14) + &line("10.0.0.1:83", LISTEN, "0A", 15);
    proc.process("self", 1, "picotap", &[]).network("self", &tcp, "", &["10.0.0.1"]);
    proc.process("5", 1, "nginx", &[11, 12, 14]).process("6", 1, "nginx", &[11, 15]).process("7", 1, "systemd", &[12]);
    // 13 belongs to nobody that may be looked at.
    let told = listeners(&look(&mut proc.seeker(), true));
    assert_eq!(told, ["10.0.0.1:80 nginx/-", "10.0.0.1:83 nginx/-"]);
}

#[test]
fn an_address_that_two_namespaces_have_is_ambiguous_but_in_the_own_one() {
    let proc = Proc::new();
    let listener = |inode| line("0.0.0.0:80", LISTEN, "0A", inode);
    proc.process("self", 1, "picotap", &[]).network("self", &listener(11), "", &["10.0.0.1", "127.0.0.1"]);
    proc.process("5", 1, "own", &[11]);
    proc.process("6", 2, "second", &[12]).network(
        "6",
        &listener(12),
        "",
        &["10.0.0.1", "10.0.0.2", "10.0.0.3", "127.0.0.1"],
    );
    proc.process("7", 3, "third", &[13]).network("7", &listener(13), "", &["10.0.0.3"]);
    let told = listeners(&look(&mut proc.seeker(), true));
    assert_eq!(told, ["10.0.0.1:80 own/5", "10.0.0.2:80 second/6", "127.0.0.1:80 own/5"]);
}

#[test]
fn both_ends_are_found_in_their_namespaces() {
    let proc = Proc::new();
    let own = line("10.0.0.1:1000", "10.0.0.2:80", "01", 21) + &line("127.0.0.1:1", "127.0.0.1:80", "01", 22);
    let other = line("10.0.0.2:80", "10.0.0.1:1000", "01", 31) + &line("127.0.0.1:80", "127.0.0.1:1", "01", 32);
    let mapped = line("[::ffff:10.0.0.2]:80", "[::ffff:10.0.0.9]:7", "01", 33);
    proc.process("self", 1, "picotap", &[]).network("self", &own, "", &["10.0.0.1", "127.0.0.1"]);
    proc.process("5", 1, "curl", &[21, 22]);
    proc.process("6", 2, "nginx", &[31, 32, 33]).network("6", &other, &mapped, &["10.0.0.2", "127.0.0.1"]);
    let mut seeker = proc.seeker();
    look(&mut seeker, true);
    assert!(!seeker.waits());
    ask(&mut seeker, 1, "10.0.0.1:1000", "10.0.0.2:80");
    assert!(seeker.waits());
    // The other side is the first here.
    ask(&mut seeker, 2, "10.0.0.2:80", "10.0.0.9:7");
    // The loopback that is captured is this namespace's.
    ask(&mut seeker, 3, "127.0.0.1:1", "127.0.0.1:80");
    ask(&mut seeker, 4, "10.0.0.1:1001", "10.0.0.2:80");
    ask(&mut seeker, 5, "192.0.2.1:1", "192.0.2.2:2");
    let found = ends(&look(&mut seeker, false));
    let wanted = [
        (1, ["curl/5", "nginx/6"]),
        (2, ["nginx/6", "elsewhere"]),
        (3, ["curl/5", "no_socket"]),
        (4, ["no_socket", "no_socket"]),
    ];
    assert_eq!(found, wanted.map(|(number, ends)| (number, ends.map(str::to_owned))));
    // That address may have been new: it waits for the next look at addresses.
    assert!(!seeker.waits());
    assert_eq!(ends(&look(&mut seeker, true)), [(5, ["elsewhere".to_owned(), "elsewhere".to_owned()])]);
    assert_eq!(look(&mut seeker, true), []);
}

#[test]
fn what_is_not_sure_is_said_by_its_reason() {
    let proc = Proc::new();
    let same = line("10.0.0.2:80", "10.0.0.1:1", "01", 31);
    let tcp = same.clone()
        + &line("10.0.0.2:80", "10.0.0.1:2", "01", 32)
        + &line("10.0.0.2:80", "10.0.0.1:3", "01", 33)
        + &line("10.0.0.2:80", "10.0.0.1:4", "06", 0)
        + &line("10.0.0.2:80", "10.0.0.1:5", "01", 0);
    proc.process("self", 1, "picotap", &[]).network("self", &tcp, "", &["10.0.0.2"]);
    proc.process("5", 1, "a", &[31, 32]).process("6", 1, "b", &[32]);
    proc.process("7", 2, "c", &[41]).network("7", &line("10.0.0.2:80", "10.0.0.1:1", "01", 41), "", &["10.0.0.2"]);
    let mut seeker = proc.seeker();
    for number in 1..=5 {
        ask(&mut seeker, number, &format!("10.0.0.1:{number}"), "10.0.0.2:80");
    }
    let servers = |answers: Vec<Answer>| -> Vec<_> {
        ends(&answers)
            .into_iter()
            .map(|(number, [client, server])| {
                assert_eq!(client, "elsewhere");
                format!("{number} {server}")
            })
            .collect()
    };
    assert_eq!(servers(look(&mut seeker, true)), ["1 ambiguous", "2 ambiguous", "3 no_holder", "4 no_socket"]);
    // Somebody may still accept it.
    assert_eq!(servers(look(&mut seeker, false)), [] as [&str; 0]);
    assert_eq!(servers(look(&mut seeker, false)), ["5 not_accepted"]);
    assert!(!seeker.waits());
}

#[test]
fn addresses_that_are_used_anew_belong_to_the_later_connection() {
    let proc = Proc::new();
    let tcp = line("10.0.0.2:80", "10.0.0.1:1", "01", 31);
    proc.process("self", 1, "picotap", &[]).network("self", &tcp, "", &["10.0.0.2"]).process("5", 1, "a", &[31]);
    let mut seeker = proc.seeker();
    ask(&mut seeker, 1, "10.0.0.1:1", "10.0.0.2:80");
    ask(&mut seeker, 2, "10.0.0.2:80", "10.0.0.1:1");
    assert_eq!(ends(&look(&mut seeker, true)), [(2, ["a/5".to_owned(), "elsewhere".to_owned()])]);
}

#[test]
fn questions_are_bounded() {
    let proc = Proc::new();
    proc.process("self", 1, "picotap", &[]).network("self", "", "", &["10.0.0.2"]);
    let mut seeker = proc.seeker();
    for number in 0..MAX_PENDING as u64 + 10 {
        ask(
            &mut seeker,
            number,
            &format!("10.0.{}.{}:1", number >> 8 & 255, number & 255),
            &format!("10.0.0.2:{}", number >> 16 | 1),
        );
        ask(&mut seeker, number, "10.1.1.1:1", &format!("10.0.0.2:{}", number % 60_000 + 1));
    }
    assert_eq!(seeker.pending.len(), MAX_PENDING);
    assert_eq!(ends(&look(&mut seeker, true)).len(), MAX_PENDING);
}

/// A namespace with so many addresses, whose processes listen at all of them, at so many ports.
fn namespace(net: u8, addresses: u32, ports: u16, inode: u64) -> Namespace {
    let listener = |port| socket(line(&format!("0.0.0.0:{port}"), LISTEN, "0A", inode).as_bytes()).expect("a socket");
    Namespace {
        through: Vec::new(),
        addresses: (0..addresses).map(|host| Ipv4Addr::from(u32::from(net) << 24 | host).into()).collect(),
        listeners: (1..=ports).map(listener).collect(),
    }
}

fn process_with_pid(pid: u32) -> Arc<Process> {
    Arc::new(Process { pid: Some(pid), command: b"a"[..].into(), container: None, pod: None })
}

#[test]
fn listeners_at_many_addresses_are_bounded_and_the_same_each_time() {
    let holders = HashMap::from([(1, vec![process_with_pid(1)]), (2, vec![process_with_pid(2)])]);
    // 6 million in each: only the own namespace is sure.
    let many = || [namespace(10, 2000, 3000, 1), namespace(11, 2000, 3000, 2)];
    let of = |namespaces: &[Namespace]| {
        let mut left = MAX_REACHED;
        let mut given = 0;
        let whole = reached(&namespaces[1], false, &holders, &mut left, &mut |_, _| given += 1);
        (whole, given)
    };
    assert_eq!(of(&many()), (false, MAX_REACHED));
    let first = endpoints(&many(), &holders);
    assert_eq!((first.len(), &first), (MAX_ENDPOINTS, &endpoints(&many(), &holders)));
    assert!(first.values().all(|process| process.pid == Some(1)));
    // The own one has few, and the other too many.
    let few = endpoints(&[namespace(10, 3, 2, 1), namespace(11, 2000, 3000, 2)], &holders);
    assert_eq!((few.len(), few.values().all(|process| process.pid == Some(1))), (6, true));
    // Too many to be told, and yet it is noticed which of these two have.
    let three = [namespace(10, 3, 2, 1), namespace(11, 100, 700, 2), namespace(11, 1, 700, 1)];
    let told = endpoints(&three, &holders);
    assert_eq!((told.len(), told.contains_key(&endpoint("11.0.0.0:5"))), (MAX_ENDPOINTS - 656, false));
}

/// Processes by number that are told, or gone.
fn named(answers: &[Answer]) -> Vec<String> {
    let told = answers.iter().filter_map(|answer| match answer {
        Answer::Process(number, process) => Some(process.as_deref().map_or_else(|| format!("{number} gone"), shown)),
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

fn name(seeker: &mut Seeker) -> Vec<Answer> {
    let mut all = Vec::new();
    seeker.name(&mut |message| {
        all.extend(answers(message));
        true
    });
    all
}

#[test]
fn processes_are_named_by_number_at_once_and_kept_right() {
    let proc = Proc::new();
    proc.process("self", 1, "picotap", &[]).network("self", "", "", &[]).process("5", 1, "a", &[]);
    let mut seeker = proc.seeker();
    let ask_names = |seeker: &mut Seeker, numbers: &[u32]| {
        let mut message = Vec::new();
        numbers.iter().for_each(|number| write_question(&Asked::Process(*number), &mut message));
        seeker.ask(&message);
    };
    ask_names(&mut seeker, &[5, 5, 6]);
    assert!(seeker.has_unnamed());
    assert_eq!(named(&name(&mut seeker)), ["a/5"]);
    assert!(!seeker.has_unnamed());
    assert_eq!(named(&look(&mut seeker, false)), Vec::<String>::new());
    assert_eq!(named(&look(&mut seeker, true)), ["6 gone"]);
    fs::write(proc.path("5").join("comm"), "b\n").expect("a file");
    assert_eq!(named(&look(&mut seeker, true)), ["b/5"]);
    // A message that is lost: all comes again.
    fs::write(proc.path("5").join("comm"), "c\n").expect("a file");
    seeker.look(true, &mut |_| false);
    assert_eq!(named(&look(&mut seeker, true)), ["c/5"]);
    fs::remove_dir_all(proc.path("5")).expect("gone");
    assert_eq!(named(&look(&mut seeker, true)), ["5 gone"]);
    assert!(seeker.named.is_empty());
}

#[test]
fn processes_by_number_are_bounded_and_forgotten() {
    let proc = Proc::new();
    proc.process("self", 1, "picotap", &[]).network("self", "", "", &[]).process("5", 1, "a", &[]);
    let mut seeker = proc.seeker();
    let mut message = Vec::new();
    (5..u32::try_from(MAX_NAMED).expect("few") + 100)
        .for_each(|number| write_question(&Asked::Process(number), &mut message));
    seeker.ask(&message);
    assert_eq!((seeker.named.len(), seeker.unnamed.len()), (MAX_NAMED, MAX_NAMED));
    assert_eq!(named(&name(&mut seeker)), ["a/5"]);
    assert_eq!(named(&look(&mut seeker, true)).len(), MAX_NAMED - 1);
    let told: Vec<String> = (0..NAMED_FOR).flat_map(|_| named(&look(&mut seeker, true))).collect();
    assert_eq!((told, seeker.named.len()), (vec!["5 gone".to_owned()], 0));
}

#[test]
fn the_real_one_knows_this_process() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let client = std::net::TcpStream::connect(address).expect("connected");
    let (_server, from) = listener.accept().expect("accepted");
    assert_eq!(client.local_addr().expect("an address"), from);
    let mut seeker = Seeker::new(Path::new("/proc"));
    ask(&mut seeker, 1, &from.to_string(), &address.to_string());
    let answers = look(&mut seeker, true);
    let own = std::process::id().to_string();
    let (_, found) = ends(&answers).pop().expect("an answer");
    assert!(found.iter().all(|process| process.ends_with(&format!("/{own}"))), "{found:?}");
    let listens = listeners(&answers).into_iter().find(|text| text.starts_with(&format!("{address} ")));
    assert!(listens.expect("it is told").ends_with(&format!("/{own}")));
}
