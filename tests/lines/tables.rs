//! DuckDB and pandas read the tables (`--format csv` and `tsv`), and find in each cell what the JSON lines say.

use crate::support;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use support::program::{picotap, run, scratch};
use support::tool::has;

const PYTHON: &str = "target/tools/bin/python";

/// Appends what a run makes of every capture to one file, and reads it.
fn written(name: &str, options: &[&str]) -> PathBuf {
    let path = scratch(name);
    fs::remove_file(&path).ok();
    for capture in support::fixtures::captures("pcap") {
        // Some captures are damaged on purpose, which is exit code 1.
        let outcome =
            run(picotap().args(options).args(["--header", "via", "--workers", "1", "-o"]).arg(&path).arg(capture));
        assert!(matches!(outcome.code, Some(0 | 1)), "{}", outcome.stderr);
    }
    path
}

const FIELDS: &str = "ts,conn,seq,client,client_port,server,server_port,method,host,target,route,version,status,reason,request_body_bytes,\
    response_body_bytes,request_head_bytes,response_body_decoded_bytes,lost_bytes,ttfb_us,duration_us,interim,tunnel,via,via_conn,via_target,\
    proxy,proxy_port,protocol,operation,outcome,error,stream,scheme,stream_error,grpc_service,grpc_method,grpc_status,grpc_message,\
    grpc_request_messages,user_agent,referer,community_id,trace_id,parent_id,response_headers.via,flags";

#[test]
fn duckdb_and_pandas_read_what_the_lines_say() {
    if !has(&[PYTHON]) {
        return;
    }
    let lines = written("tables.json", &["--format", "json"]);
    let csv = written("tables.csv", &["--fields", FIELDS]);
    let tsv = written("tables.tsv", &["--fields", FIELDS, "--format", "tsv"]);
    let head = fs::read_to_string(&csv).unwrap().lines().filter(|line| line.starts_with("ts,conn,")).count();
    assert_eq!(head, 1, "one header, however many runs append");
    let output = Command::new(PYTHON).arg("tests/tables.py").args([&lines, &csv, &tsv]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains(" 47 columns")).count(), 4);
}
