//! Each choice, from arguments and a machine that the test makes up.

use std::collections::BTreeSet;

use clap::Parser;

use super::*;
use crate::cli::Cli;
use crate::pipeline::GuestsError;
use crate::pipeline::{Input, Module};
use crate::sandbox::{BUILTIN_GUEST, BUILTIN_HTTP2};
use crate::source::live::Direction;

/// Four cores, a large file, and nobody at a terminal.
const MACHINE: Machine = Machine {
    cores: 4,
    input_bytes: Some(1 << 30),
    stdout_is_terminal: false,
    stderr_is_terminal: false,
    output_is_terminal: false,
    color: None,
    process_id: 0x0001_2345,
};

fn arguments(line: &str) -> Watch {
    Cli::try_parse_from(["picotap"].into_iter().chain(line.split_whitespace())).expect("good arguments").watch
}

fn plan(line: &str) -> Plan {
    on(&MACHINE, line)
}

fn on(machine: &Machine, line: &str) -> Plan {
    Plan::new(&arguments(line), machine).expect("a plan")
}

fn config(line: &str) -> Config {
    plan(line).config
}

fn live(line: &str) -> Vec<LiveConfig> {
    match config(line).input {
        Input::Live(sources) => sources,
        Input::Files(files) => panic!("{files:?}"),
    }
}

#[test]
fn what_is_seen_twice_is_left_out_where_that_is_likely() {
    let drops = |line| config(line).drop_duplicates;
    for line in
        ["-r x.pcap", "-i eth0", "-i eth0 --fanout 2", "-i any --duplicates keep", "-i a -i b --duplicates keep"]
    {
        assert!(!drops(line), "{line}");
    }
    for line in ["-i any", "-i eth0 -i eth1", "-i eth0 --duplicates drop", "-r x.pcap --duplicates drop"] {
        assert!(drops(line), "{line}");
    }
}

#[test]
fn without_an_input_there_is_no_plan() {
    assert!(matches!(Plan::new(&arguments(""), &MACHINE), Err(PlanError::NoInput)));
    assert!(matches!(Plan::new(&arguments("--stats"), &MACHINE), Err(PlanError::NoInput)));
}

#[test]
fn standard_output_is_not_rotated() {
    for line in ["-r x.pcap --rotate-size 1", "-i lo --rotate-interval 60", "-r x.pcap -o - --rotate-size 1"] {
        assert!(matches!(Plan::new(&arguments(line), &MACHINE), Err(PlanError::NoLogFile)), "{line}");
    }
    assert_eq!(config("-r x.pcap").rotation, None);
    let rotation = config("-r x.pcap -o log --rotate-size 3 --rotate-interval 60").rotation;
    assert_eq!(rotation, Some(Rotation { size: Some(3 << 20), interval: Some(60_000_000_000), keep: 7 }));
}

#[test]
fn the_defaults_of_the_command_line_are_those_of_the_library() {
    // What is redacted is a set, whose order differs; another test looks at it.
    let shown = |mut config: Config| {
        config.settings.redaction = Redaction::off();
        format!("{config:?}")
    };
    let machine = Machine { input_bytes: Some(1), ..MACHINE };
    assert_eq!(
        shown(on(&machine, "-r x.pcap").config),
        shown(Config { cores: MACHINE.cores, ..Config::files(["x.pcap"]) })
    );
    let expected = Config {
        workers: 3,
        cores: MACHINE.cores,
        metrics_address: Some(([127, 0, 0, 1], 9464).into()),
        metrics_address_may_fail: true,
        page: Some(PageOptions::default()),
        drop_privileges: Some(DropPrivileges::default()),
        ..Config::live([LiveConfig::new("lo")])
    };
    assert_eq!(shown(config("-i lo")), shown(expected));
}

#[test]
fn the_page_is_served_on_loopback_and_elsewhere_only_where_it_is_asked_for() {
    for (line, served) in [
        ("-i lo", true),
        ("-i lo --no-page", false),
        ("-i lo --no-metrics", false),
        ("-i lo --metrics-addr 9000", true),
        ("-i lo --metrics-addr [::1]:9000", true),
        ("-i lo --metrics-addr 0.0.0.0:9000", false),
        ("-i lo --metrics-addr 0.0.0.0:9000 --page", true),
        ("-r x.pcap", false),
        ("-r x.pcap --metrics-addr 9000", true),
        ("-r x.pcap --metrics-addr 10.0.0.1:9000", false),
    ] {
        let config = config(line);
        assert_eq!((config.page.is_some(), config.shows()), (served, served), "{line}");
        assert_eq!(config.metrics_address_may_fail, line.contains("-i") && !line.contains("-addr"), "{line}");
    }
    assert!(matches!(Plan::new(&arguments("-r x.pcap --page"), &MACHINE), Err(PlanError::NoEndpoint)));
    assert_eq!(config("-i lo --page-host tap.example.").page.unwrap_or_default().hosts, ["tap.example"]);
}

#[test]
fn routes_are_made_where_something_shows_them() {
    for (line, made) in [
        ("-r x.pcap", true),
        ("-r x.pcap --format zeek", false),
        ("-r x.pcap --format zeek --report x.html", true),
        ("-r x.pcap --format text --metrics-routes 5", true),
        ("-i lo --format clf", true),
        ("-i lo --format clf --no-page", false),
    ] {
        assert_eq!(config(line).settings.routes.is_some(), made, "{line}");
    }
}

#[test]
fn commands_are_labels_only_where_processes_are_named() {
    let caps = config("-i lo --processes --metrics-processes 5 --metrics-routes 3").label_caps;
    assert_eq!((caps.hosts, caps.routes, caps.processes), (None, Some(3), Some(5)));
    let alone = ["picotap", "-i", "lo", "--metrics-processes", "5"];
    assert!(Cli::try_parse_from(alone).is_err());
}

#[test]
fn a_shard_and_a_sensor_go_to_the_run() {
    let config = config("-r x.pcap --shard 2/3 --sensor node-1");
    assert_eq!(config.shard, "2/3".parse().ok());
    assert_eq!(config.settings.sensor, "node-1");
    let refused = |line: &str| Cli::try_parse_from(std::iter::once("picotap").chain(line.split(' '))).is_err();
    assert!(refused("-r x.pcap --shard 4/3") && refused("-r x.pcap --shard 0/3"));
}

#[test]
fn a_filter_expression_goes_to_the_source() {
    assert_eq!(config("-r x.pcap tcp port 80").filter.as_deref(), Some("tcp port 80"));
    assert_eq!(config("-r x.pcap").filter, None);
    assert_eq!(config("-i lo tcp port 80").filter, None);
    assert_eq!(live("-i lo tcp port 80")[0].filter, "tcp port 80");
}

#[test]
fn each_interface_has_a_source_for_each_member_of_its_group() {
    let sources = live("-i va -i vb --fanout 2 -p -s 96 -B 128 -Q in");
    let all: Vec<_> = sources.iter().map(|source| (source.interface.as_str(), source.index, source.fanout)).collect();
    let group = Some(0x2345);
    assert_eq!(all, [("va", 0, group), ("va", 0, group), ("vb", 1, group), ("vb", 1, group)]);
    for source in &sources {
        assert_eq!((source.promiscuous, source.snaplen, source.buffer_kib), (false, 96, 128));
        assert_eq!(source.direction, Some(Direction::In));
    }
    assert_eq!(live("-i va")[0].fanout, None, "a group of one is none");
}

#[test]
fn files_go_through_all_cores_and_small_ones_through_one_sandbox() {
    let workers = |cores, input_bytes, line| on(&Machine { cores, input_bytes, ..MACHINE }, line).config.workers;
    let (small, large) = (Some(ONE_SANDBOX - 1), Some(ONE_SANDBOX));
    assert_eq!(workers(2, small, "-r x.pcap"), 1);
    assert_eq!(workers(2, large, "-r x.pcap"), 2);
    assert_eq!(workers(2, None, "-r -"), 2, "a pipe may bring anything");
    assert_eq!(workers(16, large, "-r x.pcap"), 4, "one reader feeds no more");
    assert_eq!(workers(16, small, "-r x.pcap --workers 7"), 7);
}

#[test]
fn a_live_capture_thread_has_a_core_of_its_own() {
    let workers = |cores, line| on(&Machine { cores, input_bytes: None, ..MACHINE }, line).config.workers;
    assert_eq!([1, 2, 16].map(|cores| workers(cores, "-i lo")), [1, 1, 15]);
    assert_eq!(workers(1, "-i lo --workers 3"), 3);
}

#[test]
fn a_queue_that_is_asked_for_is_given() {
    assert_eq!(config("-i lo --workers 2").queue_length(), 128);
    assert_eq!(config("-i lo --workers 2 --queue 9").queue_length(), 9);
    assert_eq!(config("-r x.pcap").queue_length(), 4);
}

#[test]
fn people_at_a_terminal_get_text() {
    let terminal = Machine { stdout_is_terminal: true, ..MACHINE };
    assert_eq!(on(&terminal, "-r x.pcap").config.format, FormatName::Text);
    assert_eq!(on(&terminal, "-r x.pcap -o log").config.format, FormatName::Json);
    assert_eq!(on(&terminal, "-r x.pcap -o -").config.format, FormatName::Text);
    assert_eq!(on(&terminal, "-r x.pcap --format zeek").config.format, FormatName::Zeek);
    assert_eq!(config("-r x.pcap").format, FormatName::Json);
}

#[test]
fn bodies_are_kept_where_something_shows_them() {
    let bodies = |line| config(line).settings.bodies.map(|bodies| bodies.bytes);
    assert_eq!(bodies("-r x.pcap"), None);
    assert_eq!(bodies("-r x.pcap --capture-bodies"), Some(4096));
    assert_eq!(bodies("-r x.pcap --capture-bodies=64k --format ecs"), Some(65536));
    assert_eq!(bodies("-r x.pcap --capture-bodies --fields ts,response_body"), Some(4096));
    assert_eq!(bodies("-r x.pcap --capture-bodies --format clf --report r.html"), Some(4096));
    assert_eq!(bodies("-i lo --capture-bodies --format text"), Some(4096), "the page");
    let terminal = Machine { stdout_is_terminal: true, ..MACHINE };
    assert_eq!(on(&terminal, "-r x.pcap --capture-bodies").config.format, FormatName::Json);
    for line in ["--format text", "--fields ts", "--format zeek", "--tls"] {
        let wrong = Plan::new(&arguments(&format!("-r x.pcap --capture-bodies {line}")), &MACHINE).expect_err(line);
        assert!(matches!(wrong, PlanError::NoBodies(_)), "{line}: {wrong}");
    }
    for line in ["--filter response_body:x", "--sort request_body", "--fields response_body_truncated"] {
        let wrong = Plan::new(&arguments(&format!("-r x.pcap {line}")), &MACHINE).expect_err(line);
        assert!(matches!(wrong, PlanError::NoBody(_)), "{line}: {wrong}");
    }
}

#[test]
fn lines_go_where_the_arguments_say() {
    assert_eq!(config("-r x.pcap").target, Target::Stdout);
    assert_eq!(config("-r x.pcap -o -").target, Target::Stdout);
    assert_eq!(config("-r x.pcap -o log").target, Target::File("log".into()));
}

#[test]
fn a_live_run_serves_metrics_unless_it_may_not() {
    let address = |line| config(line).metrics_address.map(|address| address.to_string());
    assert_eq!(address("-i lo").as_deref(), Some("127.0.0.1:9464"));
    assert_eq!(address("-i lo --metrics-addr 0.0.0.0:1").as_deref(), Some("0.0.0.0:1"));
    assert_eq!(address("-i lo --no-metrics"), None);
    assert_eq!(address("-r x.pcap"), None);
    assert_eq!(address("-r x.pcap --metrics-addr 1").as_deref(), Some("127.0.0.1:1"));
}

#[test]
fn colours_are_for_a_terminal_or_for_who_asks() {
    let color = |stdout, wish, line| {
        let machine = Machine { stdout_is_terminal: stdout, color: wish, ..MACHINE };
        let terminal = on(&machine, line).config.terminal;
        (terminal.is_colored(), terminal.columns().is_some())
    };
    assert_eq!(color(true, None, "-r x.pcap"), (true, true));
    assert_eq!(color(false, None, "-r x.pcap"), (false, false));
    assert_eq!(color(true, None, "-r x.pcap -o log"), (false, false));
    assert_eq!(color(true, Some(false), "-r x.pcap"), (false, true), "NO_COLOR");
    assert_eq!(color(false, Some(true), "-r x.pcap"), (true, false), "CLICOLOR_FORCE");
    assert_eq!(color(true, Some(false), "-r x.pcap --color always"), (true, true));
    assert_eq!(color(true, Some(true), "-r x.pcap --color never"), (false, true));
    assert_eq!(color(false, None, "-r x.pcap -o log --color always"), (true, false));
}

#[test]
fn a_summary_is_for_a_terminal_or_for_who_asks() {
    let terminal = Machine { stderr_is_terminal: true, ..MACHINE };
    let summary = |machine, line| on(machine, line).config.summary;
    assert!(summary(&terminal, "-r x.pcap") && summary(&MACHINE, "-r x.pcap --stats"));
    assert!(!summary(&MACHINE, "-r x.pcap") && !summary(&terminal, "-r x.pcap --stats -q"));
    assert!(config("-r x.pcap -q").quiet && !config("-r x.pcap").quiet);
}

#[test]
fn secrets_are_shown_only_on_request() {
    let hides = |line: &str| {
        let mut out = Vec::new();
        settings(&arguments(line)).redaction.target(b"GET", b"/?sid=1&mine=2&token=3", &mut out);
        String::from_utf8(out).expect("text")
    };
    assert_eq!(hides("-r x.pcap --no-redact"), "/?sid=1&mine=2&token=3");
    assert!(hides("-r x.pcap").ends_with("&mine=2&token=REDACTED"));
    assert!(hides("-r x.pcap --redact-query mine").ends_with("&mine=REDACTED&token=REDACTED"));
    let settings = settings(&arguments("-r x.pcap --header accept --no-community-id"));
    assert_eq!((settings.headers, settings.community_id), (vec!["accept".to_owned()], false));
}

#[test]
fn limits_are_taken_in_the_units_of_the_run() {
    let config = config("-r x.pcap --memory-limit 5 --fault-limit 7 --fault-time 250 --slow 20 --errors -c 3");
    assert_eq!((config.memory_limit, config.fault_limit), (5 << 20, 7));
    assert_eq!((config.fault_time, config.selection.slow), (Duration::from_millis(250), Some(20_000_000)));
    assert!(config.selection.errors && config.count == Some(3));
}

#[test]
fn files_drop_privileges_only_if_they_are_asked_to() {
    assert!(config("-r x.pcap").drop_privileges.is_none());
    let keep = config("-r dir/x.pcap --user nobody").drop_privileges.expect("asked for");
    assert_eq!((keep.user.as_deref(), keep.readable), (Some("nobody"), vec![PathBuf::from("dir")]));
    let keep = config("-i lo").drop_privileges.expect("live");
    assert!(keep.user.is_none() && keep.readable.is_empty() && keep.writable.is_empty());
}

#[test]
fn what_a_live_run_writes_and_rereads_stays_within_reach() {
    let line = "-i lo -o logs/http.json --metrics-file m.prom --quarantine-dir q --guest mods/p.wasm --guest \
                resp=more/r.wasm --shadow s/q.wasm";
    let keep = config(line).drop_privileges.expect("live");
    let paths = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<BTreeSet<_>>();
    assert_eq!(paths(&keep.writable), BTreeSet::from(["logs".into(), ".".into(), "q".into()]));
    assert_eq!(paths(&keep.readable), BTreeSet::from(["mods".into(), "more".into()]), "a shadow is read once");
    assert_eq!(keep.make, Some("q".into()));
    let keep = config("-i lo -o /dev/null").drop_privileges.expect("live");
    assert_eq!(paths(&keep.writable), BTreeSet::from(["/dev/null".into()]), "beside a device nothing is made");
}

#[test]
fn only_a_live_run_closes_descriptors_and_never_those_it_names() {
    assert_eq!(plan("-r x.pcap -o /dev/fd/7").keep_open(), None);
    assert_eq!(plan("-i lo").keep_open(), Some(&[][..]));
    let line = "-i lo -o /dev/fd/7 --metrics-file /proc/self/fd/8 --guest /dev/fd/9 --guest resp=/dev/fd/11 \
                --shadow /dev/fd/10";
    assert_eq!(plan(line).keep_open(), Some(&[7, 8, 10, 9, 11][..]));
}

#[test]
fn modules_are_read_when_the_plan_is_carried_out() {
    let read = |path: &Path| match path.to_str() {
        Some("missing.wasm") => Err(io::Error::from(io::ErrorKind::NotFound)),
        _ => Ok(path.to_string_lossy().into_owned().into_bytes()),
    };
    let shown = |module: &Module| (module.to_string(), module.wasm.clone());
    let line = "-i lo --guest resp=r.wasm --guest g.wasm --shadow s.wasm --shadow-sample 5";
    let config = plan(line).load(read).expect("all are there");
    let modules: Vec<_> = config.guests.iter().map(shown).collect();
    let expected = [
        ("http1 parser g.wasm", &b"g.wasm"[..]),
        ("built-in http2 parser", BUILTIN_HTTP2),
        ("resp parser r.wasm", b"r.wasm"),
    ];
    assert!(modules == expected.map(|(name, wasm)| (name.to_owned(), wasm.to_vec())));
    let shadow = config.shadow.expect("asked for");
    assert_eq!((&shadow.wasm[..], shadow.file, shadow.sample), (&b"s.wasm"[..], Some("s.wasm".into()), 5));
    let config = plan("-i lo").load(read).expect("nothing to read");
    let modules: Vec<_> = config.guests.iter().map(shown).collect();
    let built_in = [("built-in http1 parser", BUILTIN_GUEST), ("built-in http2 parser", BUILTIN_HTTP2)];
    let built_in = built_in.map(|(name, wasm)| (name.to_owned(), wasm.to_vec()));
    assert!(modules == built_in && config.shadow.is_none());
    for line in ["-i lo --guest missing.wasm", "-i lo --shadow missing.wasm", "-i lo --guest b=missing.wasm"] {
        let error = plan(line).load(read).expect_err("there is none").to_string();
        assert!(error.starts_with("missing.wasm: cannot be read: "), "{error}");
    }
}

#[test]
fn a_protocol_has_one_module() {
    for line in ["--guest a.wasm --guest b.wasm", "--guest a.wasm --guest http1=b.wasm", "--guest b=x --guest b=x"] {
        let plan = Plan::new(&arguments(&format!("-r x.pcap {line}")), &MACHINE);
        assert!(matches!(plan, Err(PlanError::Guests(GuestsError::Twice(_)))), "{line}");
    }
    let many = |count: u32| (0..count).map(|n| format!(" --guest p{n}=x.wasm")).collect::<String>();
    assert_eq!(config(&format!("-r x.pcap{}", many(14))).guests.len(), 16);
    let plan = Plan::new(&arguments(&format!("-r x.pcap{}", many(15))), &MACHINE);
    assert!(matches!(plan, Err(PlanError::Guests(GuestsError::TooMany(17)))));
}

#[test]
fn top_logs_serves_and_sums_up_only_what_it_is_asked_for() {
    let top = |line: &str| Plan::top(&arguments(line), &MACHINE, || "eth7".into()).map(|plan| plan.config);
    let refused = |line: &str| top(line).expect_err("no plan").to_string();
    let plain = top("-i lo").expect("a plan");
    assert!(!plain.lines && plain.shown && !plain.summary && plain.metrics_address.is_none());
    assert!(plain.settings.routes.is_some(), "it shows them");
    assert!(plain.drop_privileges.expect("live").terminal);
    assert!(!config("-i lo").drop_privileges.expect("live").terminal, "without top no terminal is touched");
    let all = top("-i lo -o x.log --format zeek --errors --metrics-addr 9 --stats").expect("a plan");
    assert!(all.lines && all.summary && all.metrics_address.is_some() && all.selection.errors);
    assert!(refused("").ends_with("such as: picotap top -i eth7"));
    for option in ["--format json", "--filter method=GET", "--slow 5", "--errors", "--rotate-size 5"] {
        let said = refused(&format!("-r x.pcap {option}"));
        assert!(said.contains(option.split(' ').next().expect("a name")), "{said}");
    }
    assert!(refused("-i lo --page").contains("--metrics-addr"));
    let machine = Machine { output_is_terminal: true, ..MACHINE };
    assert!(Plan::top(&arguments("-i lo -o /dev/tty"), &machine, String::new).is_err());
    assert!(refused("-i lo -o -").contains("--output -"));
}
