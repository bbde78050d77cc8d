//! What a run shows to people: the view of its transactions, with the condition of the capture.

use std::path::PathBuf;
use std::sync::Arc;

use super::condition;
use super::run::{Config, Input};
use super::scrape::Samples;
use crate::clock::wall_clock;
use crate::export::server::{Feed, Follower};
use crate::stream::InterfaceNames;
use crate::view::{Seen, Snapshot, View, page};

/// Capture files that are named.
const NAMED: usize = 3;

/// The view, and the counters beside it.
pub struct Show {
    view: Arc<View>,
    samples: Samples,
}

impl Show {
    pub(super) const fn new(view: Arc<View>, samples: Samples) -> Self {
        Self { view, samples }
    }

    /// What there is to show now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.since(None).0
    }

    /// The same, without the parts of time and the rows that somebody has seen; and what has been seen by then.
    #[must_use]
    pub fn since(&self, seen: Option<Seen>) -> (Snapshot, Seen) {
        let (mut snapshot, seen) = self.view.since(wall_clock(), seen);
        snapshot.health = condition::items(&self.samples.tally());
        (snapshot, seen)
    }

    /// Gives all as JSON, and then what has changed.
    fn follower(self: Arc<Self>) -> Follower {
        let mut seen = None;
        Box::new(move || {
            let (snapshot, by_then) = self.since(seen);
            seen = Some(by_then);
            serde_json::to_string(&snapshot).expect("a snapshot has no maps, and nothing in it fails")
        })
    }
}

/// The page and its data. `show`: gives what there is to show, once there is.
pub(super) fn feed(hosts: Vec<String>, show: impl Fn() -> Option<Arc<Show>> + Send + Sync + 'static) -> Feed {
    let follow = Box::new(move || show().map(Show::follower));
    Feed { page: page::html(None), policy: page::policy(), hosts, follow }
}

/// The view that a run fills. `began`: time of its beginning.
pub(super) fn view(config: &Config, names: &InterfaceNames, began: i64) -> Arc<View> {
    match &config.input {
        Input::Files(paths) => View::new(files(paths), None, InterfaceNames::default()),
        Input::Live(sources) => {
            let mut all: Vec<&str> = sources.iter().map(|source| source.interface.as_str()).collect();
            all.dedup();
            let several = all.len() > 1 || all.contains(&"any");
            let names = if several { names.clone() } else { InterfaceNames::default() };
            View::new(all.join(", "), Some(began), names)
        }
    }
}

/// Names of capture files, without their directories.
fn files(paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| match path.file_name() {
        _ if path.as_os_str() == "-" => "standard input".to_owned(),
        Some(name) => name.to_string_lossy().into_owned(),
        None => path.display().to_string(),
    };
    let mut text = paths.iter().take(NAMED).map(name).collect::<Vec<_>>().join(", ");
    if let Some(more) = paths.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text += &format!(" and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_people_know_them() {
        let named = |paths: &[&str]| files(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(named(&["/a/b.pcap"]), "b.pcap");
        assert_eq!(named(&["-", "b", "c", "d", "e"]), "standard input, b, c and 2 more");
    }
}
