//! Everything that a run opens and checks before its threads start, in an order that matters: inputs and sockets first, then
//! privileges are dropped, and only then are modules compiled and files written.

use std::sync::{Arc, OnceLock};

use super::config::{Config, Failure, Input};
use crate::clock::{now, wall_clock};
use crate::daemon::health::Health;
use crate::daemon::privileges;
use crate::daemon::sd_notify::Supervisor;
use crate::daemon::shutdown::Shutdown;
use crate::export::log::{self, Log};
use crate::export::metrics::Metrics;
use crate::export::open::{self, LOG_MODE};
use crate::export::server::{self, Bound, EndpointCounters, Server};
use crate::helper::{Helper, Work};
use crate::pipeline::keep::{self, KeptFile};
use crate::pipeline::key_logs::{self, KeyLogFile};
use crate::pipeline::load::{self, Parsers};
use crate::pipeline::opened::Opened;
use crate::pipeline::probed::Saved;
use crate::pipeline::processes::Seeking;
use crate::pipeline::scrape::{Samples, Scrape, pages};
use crate::pipeline::shared::Shared;
use crate::pipeline::show::{self, Show};
use crate::pipeline::writer;
use crate::probe::{Follower, Ring, Scope};
use crate::process::{Connects, Directory};
use crate::sandbox::driver::MAX_LOADED;
use crate::sandbox::engine::Engine;
use crate::stream::InterfaceNames;
use crate::tls::keys::KeyStore;
use crate::view::View;

/// Instances for which address space is reserved, unless there are more parsers: 64 TiB.
const MAX_INSTANCES: usize = 16_384;

/// What is open and checked before the threads of a run start.
pub(super) struct Prepared {
    /// The inputs.
    pub(super) input: Opened,
    /// Names of the interfaces, by the number that frames carry.
    pub(super) names: InterfaceNames,
    /// The service manager.
    pub(super) supervisor: Arc<Supervisor>,
    /// The HTTP endpoint, which answers already.
    pub(super) server: Option<Server>,
    /// Answers scrapes, once it is set.
    pub(super) scrape: Arc<OnceLock<Scrape>>,
    /// The view of the transactions, if anything shows it.
    pub(super) view: Option<Arc<View>>,
    /// What is shown to people, once it is set.
    pub(super) show: Arc<OnceLock<Arc<Show>>>,
    /// Compiles modules, and keeps the clock of the sandboxes.
    pub(super) engine: Arc<Engine>,
    /// The parsers.
    pub(super) parsers: Parsers,
    /// The log.
    pub(super) log: Log,
    /// The file of packets that are kept.
    pub(super) kept: Option<KeptFile>,
    /// What the threads will share.
    pub(super) shared: Arc<Shared>,
    /// Key logs that are read while the run goes on: live.
    pub(super) key_logs: Vec<KeyLogFile>,
    /// Probes in the TLS libraries of processes.
    pub(super) probes: Option<Ring>,
    /// The key log to which is added what captured connections use.
    pub(super) saved_keys: Option<Saved>,
    /// The helper process, if it has work.
    pub(super) helper: Option<Helper>,
    /// Metrics over transactions, if they are served or written.
    pub(super) metrics: Option<Arc<Metrics>>,
}

/// Opens and checks everything; `shown`: the caller shows what is seen, whatever the configuration says. Nothing if a stop is requested meanwhile.
///
/// # Errors
/// Whatever keeps the run from beginning.
pub(super) fn prepare(config: &Config, shutdown: &Shutdown, shown: bool) -> Result<Option<Prepared>, Failure> {
    let started = wall_clock();
    if config.reads_secrets() {
        // Secrets, and what they open.
        privileges::forbid_dumps()?;
    }
    let (follower, probes) =
        config.probes.as_ref().map(|scope| probes(scope, config.quiet)).transpose()?.flatten().unzip();
    let figures = follower.as_ref().map(Follower::figures);
    // Before anything else, so that it holds nothing of what is opened here.
    let helper = start_helper(config, follower, probes.as_ref());
    let mut input = Opened::new(config, shutdown)?;
    let names = input.name_interfaces()?;
    let bound = bind(config)?;
    let (live, captures) = (config.is_live(), config.captures());
    let supervisor = Arc::new(connect_supervisor(live)?);
    let mut keys = KeyStore::default();
    if config.probes.is_some() {
        keys = keys.by_transcript();
        figures.unwrap_or_default().publish(keys.probes_mut());
    }
    let saved_keys = config.save_key_log.as_deref().map(Saved::open).transpose()?;
    if saved_keys.is_some() {
        keys = keys.remembering_used();
    }
    let mut logs = key_logs::open(&config.key_logs, live)?;
    if !live {
        for notice in key_logs::read(std::mem::take(&mut logs), &mut keys)? {
            if !config.quiet {
                eprintln!("picotap: {notice}");
            }
        }
    }
    // By the user who started picotap, as the inputs are: it is they who may read what is captured.
    let inputs = if let Input::Files(paths) = &config.input { paths.as_slice() } else { &[] };
    let kept = config.keep.as_ref().map(|keep| keep::open(keep, inputs, &names)).transpose()?;
    let connects = if config.processes && live && helper.is_some() { connects(config.quiet) } else { None };
    // A confined process cannot connect.
    let socket = log::connect(&config.target, !live)?;
    drop_privileges(config, &input)?;
    if !config.quiet && live {
        print_memory(config);
    }
    let health = Arc::new(Health::new(if live { captures } else { 0 }, config.workers, now()));
    let scrape = Arc::new(OnceLock::new());
    let show = Arc::new(OnceLock::new());
    let (serves, endpoint) = (bound.is_some(), bound.as_ref().map(Bound::counters).unwrap_or_default());
    let server = bound.map(|bound| serve(bound, config, &health, &scrape, &show)).transpose()?;
    let engine = Arc::new(Engine::new(instances(config))?);
    let Some(parsers) = load::parsers(&engine, config, live, shutdown)? else { return Ok(None) };
    if let Some(path) = &config.report {
        // It is written at the end, by the same user: who waits for it learns now that it cannot be.
        open::try_replace(path, LOG_MODE).map_err(|error| Failure::Report { path: path.clone(), error })?;
    }
    let log = writer::open(config, socket, &names, started, shutdown)?;
    let directory =
        (config.processes && live).then(|| Arc::new(Directory::new(config.workers).with_connects(connects)));
    let ended = helper.as_ref().map(Helper::ended).unwrap_or_default();
    let shared = Shared::new(captures, config.workers, &parsers.parsers, health).with_helper(ended, directory);
    let shared = Arc::new(shared);
    let samples = || samples(config, &shared, started, endpoint.clone());
    let metrics = (serves || config.metrics_file.is_some()).then(|| metrics(config, samples()));
    let view = (shown || config.report.is_some() || serves && config.page.is_some())
        .then(|| show::view(config, &names, started));
    if let Some(view) = &view {
        let set = show.set(Arc::new(Show::new(Arc::clone(view), samples())));
        debug_assert!(set.is_ok(), "nothing else sets it");
    }
    if config.reads_secrets() {
        shared.with_keys(|store| *store = keys);
    }
    if let Opened::Files(files) = &mut input {
        key_logs::take_from(files, &shared, config.drop_privileges.is_some());
    }
    if let Some(metrics) = &metrics {
        let set = scrape.set(Scrape { shared: Arc::clone(&shared), metrics: Arc::clone(metrics) });
        debug_assert!(set.is_ok(), "nothing else sets it");
    }
    let key_logs = logs;
    Ok(Some(Prepared {
        input,
        names,
        supervisor,
        server,
        scrape,
        view,
        show,
        engine,
        parsers,
        log,
        kept,
        shared,
        key_logs,
        probes,
        saved_keys,
        helper,
        metrics,
    }))
}

/// Probes of what is to be probed. Where this machine has none and nothing was named, that is said, and the run goes on.
fn probes(scope: &Scope, quiet: bool) -> Result<Option<(Follower, Ring)>, Failure> {
    match Follower::start(scope) {
        Ok((follower, ring, notices)) => {
            for notice in notices.iter().filter(|_| !quiet) {
                eprintln!("picotap: {notice}");
            }
            Ok(Some((follower, ring)))
        }
        Err(error) if *scope == Scope::Auto => {
            eprintln!("picotap: {error}; TLS is read with the secrets of key logs alone");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Instances that may exist at once: in each worker, and in its shadow, one for each state format of each protocol and one
/// that is about to take over; and a few for self-tests. Each takes 4 GiB of address space, of which there are 128 TiB, so
/// that many workers with many modules get fewer for the formats of old parsers: then a change is refused while these are
/// in use.
fn instances(config: &Config) -> u32 {
    let sets = if config.shadow.is_some() { 2 } else { 1 };
    let parsers = config.workers * config.guests.len() * sets;
    let all = (parsers * (MAX_LOADED + 2)).min(MAX_INSTANCES).max(parsers * 2) + 4;
    u32::try_from(all).unwrap_or(u32::MAX)
}

/// Starts the helper process, if there is work for it. Without it the run goes on. `follower`: what is probed, which becomes its own; `ring`: what
/// stays of that.
fn start_helper(config: &Config, follower: Option<Follower>, ring: Option<&Ring>) -> Option<Helper> {
    let handed = follower.as_ref().map(Follower::descriptors).unwrap_or_default();
    let mut works: Vec<Box<dyn Work>> = Vec::new();
    if config.processes && config.is_live() {
        works.push(Box::new(Seeking::new()));
    }
    let names = !works.is_empty();
    if let Some(follower) = follower {
        works.push(Box::new(follower));
    }
    if works.is_empty() {
        return None;
    }
    let user = config.drop_privileges.as_ref().and_then(|keep| keep.user.as_deref());
    match Helper::start(works, user) {
        Ok(helper) => {
            // What is missing is printed even with --quiet.
            if !config.quiet || helper.is_limited() {
                eprintln!("picotap: {}", helper.report());
            }
            if let Some(ring) = ring {
                ring.close_others(&handed);
            }
            Some(helper)
        }
        Err(error) => {
            let named = names.then_some("no process is named");
            let followed = ring.map(|_| "probes stay as they are, whatever is started later");
            let without: Vec<_> = [named, followed].into_iter().flatten().collect();
            eprintln!("picotap: there is no helper process: {error}; {}", without.join(", "));
            None
        }
    }
}

/// What the kernel tells of processes that connect. Without it the run goes on.
fn connects(quiet: bool) -> Option<Connects> {
    match Connects::start() {
        Ok(connects) => Some(connects),
        Err(error) => {
            if !quiet {
                eprintln!(
                    "picotap: --processes: clients of short connections have no name, since the kernel does not tell who connects \
                     (that takes CAP_BPF and CAP_PERFMON, or root): {error}"
                );
            }
            None
        }
    }
}

/// The service manager of a live run. A run over files reports to none, though it may inherit the environment of a service.
fn connect_supervisor(live: bool) -> Result<Supervisor, Failure> {
    let supervisor = if live { Supervisor::connect() } else { Ok(Supervisor::default()) };
    supervisor.map_err(|e| Failure::System("the service manager cannot be told", e))
}

fn drop_privileges(config: &Config, input: &Opened) -> Result<(), Failure> {
    let Some(keep) = &config.drop_privileges else { return Ok(()) };
    let report = privileges::drop_all(keep, &input.packet_sockets())?;
    // A restriction that is missing is printed even with --quiet.
    if !config.quiet || !report.is_whole() {
        eprintln!("picotap: {report}");
    }
    Ok(())
}

fn print_memory(config: &Config) {
    let rings: u64 = match &config.input {
        Input::Files(_) => 0,
        Input::Live(sources) => sources.iter().map(|source| u64::from(source.buffer_kib) << 10).sum(),
    };
    let (own, rings) = (config.memory_bound() >> 20, rings >> 20);
    eprintln!("picotap: memory is bound to {own} MiB, and {rings} MiB of the kernel's for packets");
}

/// Starts to answer requests.
fn serve(
    bound: Bound,
    config: &Config,
    health: &Arc<Health>,
    scrape: &Arc<OnceLock<Scrape>>,
    show: &Arc<OnceLock<Arc<Show>>>,
) -> Result<Server, Failure> {
    let address = bound.address();
    if !config.quiet {
        eprintln!("picotap: metrics on http://{address}/metrics");
    }
    if !config.quiet && config.page.is_some() {
        eprintln!("picotap: page on http://{address}/");
    }
    let feed = config.page.as_ref().map(|page| {
        let show = Arc::clone(show);
        show::feed(page.hosts.clone(), move || show.get().cloned())
    });
    Ok(bound.serve(pages(health, scrape, feed))?)
}

/// Binds the endpoint's address, if there is to be an endpoint.
fn bind(config: &Config) -> Result<Option<Bound>, Failure> {
    match config.metrics_address.map(server::bind).transpose() {
        Err(error) if config.metrics_address_may_fail => {
            if !config.quiet {
                eprintln!("picotap: {error}; nothing is served");
            }
            Ok(None)
        }
        bound => Ok(bound?),
    }
}

/// picotap's own counters.
fn samples(config: &Config, shared: &Arc<Shared>, started: i64, endpoint: EndpointCounters) -> Samples {
    let started = u64::try_from(started / 1_000_000_000).unwrap_or(0);
    Samples::new(Arc::clone(shared), started, config.queue_length(), endpoint)
}

/// The metrics, with picotap's own among them.
fn metrics(config: &Config, samples: Samples) -> Arc<Metrics> {
    let metrics = Metrics::new(config.label_caps).expect("names and bounds are constants, tested");
    metrics.register(Box::new(samples)).expect("no name is there twice: a test scrapes them all");
    Arc::new(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Guests, Module, ShadowModule};

    #[test]
    fn there_is_room_for_every_parser_twice_and_no_more_address_space_than_there_is() {
        let files = Config::files(["x.pcap"]);
        assert_eq!(instances(&files), 2 * 6 + 4);
        let module =
            |n: u8| Module { protocol: format!("p{n}").parse().expect("a name"), wasm: Vec::new(), file: None };
        let guests = Guests::new((0..14).map(module)).expect("sixteen protocols");
        assert_eq!(instances(&Config { guests: guests.clone(), workers: 2, ..files.clone() }), 2 * 16 * 6 + 4);
        let shadow = Some(ShadowModule { wasm: Vec::new(), file: None, sample: 1 });
        let most = Config { guests, shadow, workers: 256, ..files };
        assert_eq!(instances(&most), 2 * 16 * 256 * 2 + 4);
    }
}
