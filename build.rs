//! Compiles the C guests to WebAssembly with clang, and the daemon's parsers on to machine code with wasmtime, into
//! `OUT_DIR`. No build output is committed.
//!
//! The parser's source is the crates.io package `picohttpparser-sys` (a build dependency that is never linked), found
//! by asking cargo about a package that depends on it alone; `PICOHTTPPARSER_DIR` names another checkout. `PICOTAP_CLANG` names another clang.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "src/sandbox/settings.rs"]
mod settings;

/// The advice in errors about a missing tool.
const INSTALL: &str = "on Debian 12 or later: apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 libpcap-dev; elsewhere \
     clang with the target wasm32-wasi, wasm-ld, wasi-libc, compiler-rt for wasm32 and libpcap; in picotap's repository deploy/setup.sh does it";

/// A module compiled from C by clang.
struct Guest<'a> {
    /// Name of the `.wasm` file in `OUT_DIR`.
    name: &'static str,
    /// Files under `guest/`.
    sources: &'a [&'a str],
    /// Whether picohttpparser is compiled in.
    picohttpparser: bool,
    /// Further arguments for clang.
    flags: &'a [&'a str],
}

/// A library: no start function, no imports, and memory of a fixed size with the stack below the data, so that an
/// overflowing stack traps.
const LIBRARY: &[&str] = &[
    "-nostartfiles",
    "-Wl,--no-entry",
    "-Wl,--stack-first",
    "-Wl,-z,stack-size=65536",
    "-Wl,--initial-memory=4194304",
    "-Wl,--max-memory=4194304",
    "-msimd128",
    "-D__SSE4_2__=1",
    "-DNDEBUG",
    // picohttpparser's inner loop is written to be inlined: only then are its tables constants to our SIMD header.
    "-mllvm",
    "-inline-threshold=2000",
    // An indirect jump costs more than the comparisons it saves, since the usual case comes first.
    "-fno-jump-tables",
    "-flto",
];

/// The daemon's parser.
const PARSER: &[&str] = &[
    "module.c",
    "http1/http1.c",
    "http1/message.c",
    "http1/pairing.c",
    "http1/start.c",
    "http1/head.c",
    "http1/lenient.c",
    "http1/fields.c",
    "http1/framing.c",
    "http1/chunked.c",
    "http1/resync.c",
    "http1/recognise.c",
    "http1/relay.c",
];

/// The daemon's parser of HTTP/2.
const HTTP2: &[&str] = &[
    "module.c",
    "http2/http2.c",
    "http2/head.c",
    "http2/streams.c",
    "http2/extra.c",
    "http2/search.c",
    "http2/hpack.c",
    "http2/tables.c",
];

/// The parsers that are part of the program, and run as machine code that the build makes.
const BUILT_IN: &[&str] = &["picotap", "http2"];

const GUESTS: &[Guest] = &[
    Guest { name: "picotap", sources: PARSER, picohttpparser: true, flags: &[] },
    Guest { name: "http2", sources: HTTP2, picohttpparser: false, flags: &[] },
    // Another parser, of start lines only.
    Guest { name: "lines", sources: &["module.c", "lines/lines.c"], picohttpparser: false, flags: &[] },
    // Another protocol: Redis'.
    Guest { name: "resp", sources: &["module.c", "resp/resp.c"], picohttpparser: false, flags: &[] },
    // For tests: the parser with faults that a header triggers, and with another state format.
    Guest {
        name: "planted",
        sources: PARSER,
        picohttpparser: true,
        flags: &["-DPICO_PLANTED", "guest/http1/planted.c"],
    },
    Guest { name: "reformed", sources: PARSER, picohttpparser: true, flags: &["-DSTATE_FORMAT=1001u"] },
    Guest {
        name: "http2-planted",
        sources: HTTP2,
        picohttpparser: false,
        flags: &["-DPICO_PLANTED", "guest/http1/planted.c"],
    },
    // For tests: what the contract says of extra state, twice, and of connections that become something else.
    Guest { name: "state", sources: &["module.c", "testing/state.c"], picohttpparser: false, flags: &[] },
    Guest {
        name: "state-reformed",
        sources: &["module.c", "testing/state.c"],
        picohttpparser: false,
        flags: &["-DSTATE_FORMAT=2001u"],
    },
    Guest { name: "turns", sources: &["module.c", "testing/turns.c"], picohttpparser: false, flags: &[] },
    Guest {
        name: "turns-two",
        sources: &["module.c", "testing/turns.c"],
        picohttpparser: false,
        flags: &["-DPROTOCOL=\"two\""],
    },
    Guest {
        name: "turns-two-reformed",
        sources: &["module.c", "testing/turns.c"],
        picohttpparser: false,
        flags: &["-DPROTOCOL=\"two\"", "-DSTATE_FORMAT=3002u"],
    },
    Guest {
        name: "turns-three",
        sources: &["module.c", "testing/turns.c"],
        picohttpparser: false,
        flags: &["-DPROTOCOL=\"three\"", "-DSTATE_FORMAT=3001u"],
    },
];

/// The guests of `picotap parse`, built with cargo feature `parse`: the parser, with a file of each way's own around it.
const WAYS: &[Guest] = &[
    // A program: starts through wasi-libc, its memory grows, and the heap after the data belongs to malloc.
    Guest {
        name: "pico",
        sources: &["ways/argv.c"],
        picohttpparser: true,
        flags: &[UNEXPORTED, "-D__heap_base=ways_buffers"],
    },
    Guest {
        name: "externref",
        sources: &["ways/externref.c"],
        picohttpparser: true,
        flags: &[UNEXPORTED, "-Wl,--export=get_input_buf,--export=get_output_buf", "-mreference-types"],
    },
    Guest {
        name: "bridged",
        sources: &["ways/bridged.c"],
        picohttpparser: true,
        flags: &[
            UNEXPORTED,
            "-Wl,--export=get_input_buf,--export=get_output_buf",
            "-Wl,--export-table,--growable-table",
            "-mreference-types",
        ],
    },
    Guest { name: "picotap-import", sources: &[], picohttpparser: true, flags: &["-Wl,--import-memory"] },
];

/// Removes the parser's exports: a way exports its own functions under their names.
const UNEXPORTED: &str = "-Dexport_name(name)=used";

fn main() {
    println!("cargo::rerun-if-changed=guest");
    println!("cargo::rerun-if-changed=build.rs");
    for (source, _) in BPF {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-changed=src/sandbox/settings.rs");
    for name in ["PICOHTTPPARSER_DIR", "PICOTAP_CLANG", "DOCS_RS"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    // docs.rs has no clang for wasm32 and runs nothing: the documentation needs only that the modules are there.
    let built = if env::var_os("DOCS_RS").is_some() { documented() } else { build() };
    if let Err(message) = built {
        println!("cargo::error={message}");
    }
}

/// Empty modules, for rustdoc.
fn documented() -> Result<(), String> {
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?);
    for name in GUESTS.iter().chain(WAYS).map(|guest| guest.name).chain(["bridge"]) {
        for path in [format!("{name}.wasm"), format!("{name}.cwasm")] {
            fs::write(out.join(&path), "").map_err(|e| format!("{path}: {e}"))?;
        }
    }
    for (_, object) in BPF {
        fs::write(out.join(object), "").map_err(|e| format!("{object}: {e}"))?;
    }
    println!("cargo::rustc-env=PICOTAP_CLANG_VERSION=");
    println!("cargo::rustc-env=PICOHTTPPARSER_SOURCE=");
    Ok(())
}

fn build() -> Result<(), String> {
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?);
    // All that is missing at once.
    let (clang, pcap) = (clang(), libpcap());
    let missing = [clang.as_ref().err(), pcap.as_ref().err()];
    let missing: Vec<&str> = missing.into_iter().flatten().map(String::as_str).collect();
    if !missing.is_empty() {
        return Err(format!("{}. Install: {INSTALL}", missing.join("; ")));
    }
    let clang = clang?;
    let parser = picohttpparser()?;
    // In parallel: each takes seconds, nearly all of it in the linker.
    std::thread::scope(|scope| {
        let compile = |guest: &'static Guest<'static>| {
            let flags = [LIBRARY, guest.flags].concat();
            compile(&clang, &parser, &Guest { flags: &flags, ..*guest }, &out)
        };
        let threads: Vec<_> = GUESTS.iter().map(|guest| scope.spawn(move || compile(guest))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a compilation panicked".to_owned())?)
    })?;
    machine_code(&out)?;
    BPF.iter().try_for_each(|program| bpf(&clang, &out, *program))?;
    if env::var_os("CARGO_FEATURE_PARSE").is_some() {
        ways(&clang, &parser, &out)?;
    }
    println!("cargo::rustc-env=PICOTAP_CLANG_VERSION={}", version(&clang));
    println!("cargo::rustc-env=PICOHTTPPARSER_SOURCE={}", parser.display());
    Ok(())
}

/// Features of x86-64 processors since about 2015 (level x86-64-v3); on an older one the program compiles the parser
/// when it starts.
const X86_64_V3: &[&str] = &[
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_bmi1",
    "has_bmi2",
    "has_lzcnt",
];

/// Compiles the daemon's parsers to machine code for the target. Where wasmtime cannot (it supports only the build machine's
/// own architecture), the files are empty, and the program compiles the parsers when it starts.
fn machine_code(out: &Path) -> Result<(), String> {
    let target = env::var("TARGET").map_err(|e| format!("TARGET: {e}"))?;
    for name in BUILT_IN {
        let wasm = fs::read(out.join(format!("{name}.wasm"))).map_err(|e| format!("{name}.wasm: {e}"))?;
        let code = compile_ahead(&target, &wasm).unwrap_or_else(|e| {
            println!("cargo::warning=the parsers will be compiled at every start of the program: {target}: {e:#}");
            Vec::new()
        });
        fs::write(out.join(format!("{name}.cwasm")), code).map_err(|e| format!("{name}.cwasm: {e}"))?;
    }
    Ok(())
}

#[allow(unsafe_code, reason = "wasmtime cannot know whether the processor has the features")]
fn compile_ahead(target: &str, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let mut config = settings::settings();
    config.target(target)?;
    if target.starts_with("x86_64") {
        for flag in X86_64_V3 {
            // SAFETY: wasmtime loads the code only on processors that have all of them.
            unsafe { config.cranelift_flag_enable(flag) };
        }
    }
    wasmtime::Engine::new(&config)?.precompile_module(wasm)
}

/// What runs in the kernel: the programs of probes, and the one that sees who connects.
const BPF: [(&str, &str); 2] =
    [("src/probe/calls.bpf.c", "calls.bpf.o"), ("src/process/connects.bpf.c", "connects.bpf.o")];

/// Compiles such a program, for the registers of the target. For an architecture without any the file is empty.
fn bpf(clang: &str, out: &Path, (source, object): (&str, &str)) -> Result<(), String> {
    let object = out.join(object);
    let registers = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => "-DPICO_X86_64",
        Ok("aarch64") => "-DPICO_AARCH64",
        _ => return fs::write(&object, "").map_err(|e| format!("{}: {e}", object.display())),
    };
    // The loader needs the types that -g adds; the directory of the build is in none of them.
    let flags = ["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-fdebug-compilation-dir=.", "-Wall", "-Wextra", "-Werror"];
    let status = Command::new(clang).args(flags).args([registers, "-c", source, "-o"]).arg(&object).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{source}: {clang} cannot compile it for bpf")),
        Err(e) => Err(format!("{clang}: {e}")),
    }
}

/// Compiles the guests of `picotap parse`, and the WAT of the bridge.
fn ways(clang: &str, parser: &Path, out: &Path) -> Result<(), String> {
    for way in WAYS {
        let sources = [way.sources, PARSER].concat();
        let library =
            LIBRARY.iter().filter(|flag| way.name != "pico" || !flag.starts_with("-Wl,") && **flag != "-nostartfiles");
        let flags: Vec<&str> = library.chain(way.flags).copied().collect();
        compile(clang, parser, &Guest { name: way.name, sources: &sources, picohttpparser: true, flags: &flags }, out)?;
    }
    let source = Path::new("guest/ways/bridge.wat");
    let text = fs::read_to_string(source).map_err(|e| format!("{}: {e}", source.display()))?;
    let module = wat::parse_str(&text).map_err(|e| format!("{}: {e}", source.display()))?;
    fs::write(out.join("bridge.wasm"), module).map_err(|e| format!("bridge.wasm: {e}"))
}

/// The name of a clang with the wasm32 target.
fn clang() -> Result<String, String> {
    let named = env::var("PICOTAP_CLANG").ok();
    let candidates: Vec<String> = match named {
        Some(name) => vec![name],
        None => ["clang-19", "clang-20", "clang-21", "clang"].map(String::from).to_vec(),
    };
    for name in &candidates {
        let Ok(output) = Command::new(name).arg("--print-targets").output() else { continue };
        if String::from_utf8_lossy(&output.stdout).contains("wasm32") {
            return Ok(name.clone());
        }
    }
    Err(format!("clang with the wasm32 target is not installed (tried {})", candidates.join(", ")))
}

fn version(clang: &str) -> String {
    let output = Command::new(clang).arg("--version").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Checks for libpcap first: otherwise only the final link fails, with an error that fills a screen.
fn libpcap() -> Result<(), String> {
    if env::var_os("LIBPCAP_LIBDIR").is_some() {
        return Ok(());
    }
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?);
    let source = out.join("libpcap.c");
    fs::write(&source, "int main(void){return 0;}").map_err(|e| format!("{}: {e}", source.display()))?;
    let linked = Command::new(&compiler).arg(&source).args(["-lpcap", "-o"]).arg(out.join("libpcap")).output();
    match linked {
        Ok(output) if output.status.success() => Ok(()),
        Ok(_) => Err("libpcap and its development files are not installed".to_owned()),
        Err(e) => Err(format!("{compiler}, the C compiler that Rust links with, cannot be run ({e})")),
    }
}

/// The directory that holds picohttpparser.c.
fn picohttpparser() -> Result<PathBuf, String> {
    if let Some(named) = env::var_os("PICOHTTPPARSER_DIR") {
        let directory = PathBuf::from(named);
        if directory.join("picohttpparser.c").is_file() {
            return Ok(directory);
        }
        return Err(format!("PICOHTTPPARSER_DIR={}: contains no picohttpparser.c", directory.display()));
    }
    let stub = stub().map_err(|e| format!("cannot write the package that locates picohttpparser: {e}"))?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--offline", "--filter-platform"])
        .arg(env::var("TARGET").map_err(|e| format!("TARGET: {e}"))?)
        .arg("--manifest-path")
        .arg(stub)
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        return Err(format!("cargo metadata: {text} (or set PICOHTTPPARSER_DIR to its source)"));
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let packages = metadata.get("packages").and_then(|packages| packages.as_array()).cloned().unwrap_or_default();
    let text = |package: &serde_json::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    let package = packages.iter().find(|package| text(package, "name").as_deref() == Some("picohttpparser-sys"));
    let manifest = package
        .and_then(|package| text(package, "manifest_path"))
        .ok_or("cargo metadata lists no picohttpparser-sys")?;
    let root = Path::new(&manifest).parent().ok_or("picohttpparser-sys has no directory")?;
    Ok(root.join("deps/picohttpparser"))
}

/// Writes the manifest of a package that depends only on picohttpparser-sys. For it, cargo metadata needs only crates that are
/// already downloaded; for picotap it would need those of tests and other platforms too, which a fresh machine, `cargo
/// install` and a program that depends on picotap do not have.
fn stub() -> Result<PathBuf, String> {
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| e.to_string())?);
    let directory = out.join("parser-source");
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map(|()| path).map_err(|e| format!("{name}: {e}"))
    };
    fs::create_dir_all(&directory).map_err(|e| e.to_string())?;
    write("lib.rs", "")?;
    write(
        "Cargo.toml",
        "[package]\nname = \"parser-source\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n\
         [dependencies]\npicohttpparser-sys = { version = \"1.0.0\", default-features = false }\n[workspace]\n",
    )
}

fn compile(clang: &str, parser: &Path, guest: &Guest, out: &Path) -> Result<(), String> {
    let target = out.join(format!("{}.wasm", guest.name));
    let mut command = Command::new(clang);
    command.args(["--target=wasm32-wasi", "-std=c11", "-O3", "-fwrapv"]);
    command.args(["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]);
    command.args(["-fno-ident", "-Wl,--strip-debug"]).args(guest.flags);
    // The warnings of what is not ours are not for us to mend.
    command.args(["-I", "guest", "-I", "guest/http1", "-I", "guest/simd", "-isystem"]).arg(parser);
    command.args(guest.sources.iter().map(|name| Path::new("guest").join(name)));
    if guest.picohttpparser {
        command.arg("guest/http1/upstream.c");
    }
    command.arg("-o").arg(&target);
    let output = command.output().map_err(|e| format!("{clang}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if stderr.contains("wasm-ld") || stderr.contains("file not found") || stderr.contains("cannot open") {
        eprintln!("{stderr}");
        return Err(format!("{clang} lacks a part for wasm32-wasi (linker, libc or runtime). Install: {INSTALL}"));
    }
    eprintln!("{stderr}");
    Err(format!("{clang} could not compile guest module {}: see above", guest.name))
}
