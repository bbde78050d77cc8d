//! Prints status and target of each transaction of a capture: `cargo run --example embed -- fixtures/http.pcap`.
#![expect(clippy::print_stdout, reason = "that is what it is for")]

fn main() -> Result<(), picotap::ReadError> {
    for path in std::env::args().skip(1) {
        for transaction in picotap::Reader::open(path)? {
            let transaction = transaction?;
            let target = transaction.target().unwrap_or_default();
            println!("{} {}", transaction.status, String::from_utf8_lossy(target));
        }
    }
    Ok(())
}
