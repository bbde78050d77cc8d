//! What the kernel says of this process, under the names that Prometheus' client libraries use.

use prometheus::proto::{MetricFamily, MetricType};

use super::families::plain;

/// As it is now; what cannot be read is left out.
#[must_use]
pub fn now() -> Vec<MetricFamily> {
    let read = |name| std::fs::read_to_string(name).unwrap_or_default();
    let value = |name| nix::unistd::sysconf(name).ok().flatten().unwrap_or(0) as f64;
    let (ticks, page) = (value(nix::unistd::SysconfVar::CLK_TCK), value(nix::unistd::SysconfVar::PAGE_SIZE));
    families(&read("/proc/self/stat"), &read("/proc/self/statm"), ticks, page)
}

/// `stat` and `statm` are the texts of `/proc/self/stat` and `/proc/self/statm`.
fn families(stat: &str, statm: &str, ticks_per_second: f64, page_bytes: f64) -> Vec<MetricFamily> {
    // Field 2 is the program's name in brackets, which may itself hold spaces and brackets.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |number: usize| after_name.split_whitespace().nth(number.saturating_sub(3))?.parse::<f64>().ok();
    let pages = |number: usize| statm.split_whitespace().nth(number)?.parse::<f64>().ok();
    let gauge = |name, help, value: f64| plain(name, help, MetricType::GAUGE, value);
    let mut families = Vec::new();
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        let (help, seconds) = ("Processor time used, user and system.", (user + system) / ticks_per_second);
        families.push(plain("process_cpu_seconds_total", help, MetricType::COUNTER, seconds));
    }
    if let Some(threads) = field(20) {
        families.push(gauge("process_threads", "Threads.", threads));
    }
    if let Some(resident) = pages(1) {
        families.push(gauge("process_resident_memory_bytes", "Resident memory.", resident * page_bytes));
    }
    if let Some(virtual_pages) = pages(0) {
        let help = "Address space, most of it reserved for sandboxes and not memory.";
        families.push(gauge("process_virtual_memory_bytes", help, virtual_pages * page_bytes));
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 19";
        let families = families(stat, "100 20 3 4 5 6 7", 100.0, 4096.0);
        let text = prometheus::TextEncoder::new().encode_to_string(&families).unwrap();
        let found: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let wanted = [
            "process_cpu_seconds_total 2",
            "process_threads 17",
            "process_resident_memory_bytes 81920",
            "process_virtual_memory_bytes 409600",
        ];
        assert_eq!(found, wanted);
        assert!(self::families("", "", 100.0, 4096.0).is_empty());
    }

    #[test]
    fn this_process_can_be_read() {
        assert_eq!(now().len(), 4);
    }
}
