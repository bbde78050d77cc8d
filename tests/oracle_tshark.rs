//! tshark sees the same transactions in every fixture, or the fixture says why not.
//!
//! Compared is the list of client, its port, method, target and status. Where tshark's list is another one, it stands in
//! `tshark.txt` beside the capture and the README says who is right. `BLESS=1` writes those lists anew.

use std::fs;
use std::path::{Path, PathBuf};

mod support;

use support::line::essence;
use support::tool::need;
use support::tshark::transactions;

/// The one capture of a fixture; nothing where there are several files.
fn capture(place: &Path) -> Option<PathBuf> {
    let mut captures: Vec<_> =
        fs::read_dir(place).unwrap().map(|e| e.unwrap().path()).filter(|p| is_capture(p)).collect();
    captures.pop().filter(|_| captures.is_empty())
}

fn is_capture(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(".pcap"))
}

#[test]
fn tshark_sees_the_same_transactions() {
    let Some(tshark) = need("tshark_sees_the_same_transactions", "tshark") else { return };
    let only = std::env::var("CASE").unwrap_or_default();
    let mut wrong = vec![];
    let mut places: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir() && p.to_string_lossy().contains(&only))
        .collect();
    places.sort();
    for place in places {
        let readme = fs::read_to_string(place.join("README.md")).unwrap();
        let (Some(capture), true) = (capture(&place), readme.contains("tshark")) else { continue };
        let differs = readme.contains("tshark gives another list");
        let says = transactions(&tshark, &capture);
        let mut ours: Vec<String> =
            fs::read_to_string(place.join("expected.jsonl")).unwrap().lines().map(|line| essence(line).2).collect();
        ours.sort();
        let own = place.join("tshark.txt");
        if differs {
            let text: String = says.iter().map(|row| format!("{row}\n")).collect();
            if std::env::var_os("BLESS").is_some() {
                fs::write(&own, &text).unwrap();
            }
            let kept = fs::read_to_string(&own).unwrap_or_default();
            if kept != text || says == ours {
                wrong.push(format!("{}: the README says that tshark differs; it says {says:#?}", place.display()));
            }
        } else if says != ours {
            wrong.push(format!("{}: tshark says {says:#?}, expected {ours:#?}", place.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
