//! The process as the kernel sees it (proc(5)); what cannot be read is zero.

use std::fs;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::limits::PROCESS_FRESH_MS;

/// Units of `/proc/self/stat`'s times: USER_HZ, which is 100 on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: f64,
    pub(super) virtual_bytes: f64,
    pub(super) open_fds: f64,
    pub(super) max_fds: f64,
    pub(super) threads: f64,
    pub(super) start_seconds: f64,
}

/// The figures now, or a moment ago: reading them takes dozens of system calls, which a crowd of
/// scrapes must not repeat.
pub(super) fn figures() -> Process {
    static LAST: Mutex<Option<(Instant, Process)>> = Mutex::new(None);
    let Ok(mut last) = LAST.lock() else {
        return read();
    };
    match *last {
        Some((at, process)) if at.elapsed() < Duration::from_millis(PROCESS_FRESH_MS) => process,
        _ => last.insert((Instant::now(), read())).1,
    }
}

fn read() -> Process {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name, in parentheses, may hold spaces: fields are counted behind it, from 3.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let field = |number: usize| -> f64 {
        let text = fields.get(number - 3);
        text.and_then(|text| text.parse().ok()).unwrap_or(0.0)
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    // Once: the kernel computes it from the wall clock, whose steps must not move it.
    static BOOT_SECONDS: OnceLock<f64> = OnceLock::new();
    let boot_seconds = BOOT_SECONDS.get().copied().unwrap_or_else(|| {
        let found = fs::read_to_string("/proc/stat").map(|boot| number_after(&boot, "btime"));
        found.map_or(0.0, |seconds| *BOOT_SECONDS.get_or_init(|| seconds))
    });
    Process {
        cpu_seconds: (field(14) + field(15)) / TICKS_PER_SECOND,
        threads: field(20),
        virtual_bytes: field(23),
        resident_bytes: 1_024.0 * number_after(&status, "VmRSS:"),
        max_fds: number_after(&limits, "Max open files"),
        start_seconds: boot_seconds + field(22) / TICKS_PER_SECOND,
        open_fds: open_fds(),
    }
}

/// Since Linux 6.2 the size of the folder is the count; on older kernels the entries are listed one
/// by one.
fn open_fds() -> f64 {
    let folder = "/proc/self/fd";
    let count = match fs::metadata(folder) {
        Ok(metadata) if metadata.len() > 0 => metadata.len(),
        _ => fs::read_dir(folder).map_or(0, |entries| entries.count() as u64),
    };
    u32::try_from(count).map_or(0.0, f64::from)
}

/// The first number of the line that begins with `name`.
fn number_after(text: &str, name: &str) -> f64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_is_understood() {
        let process = super::read();
        assert!(process.resident_bytes > 100_000.0 && process.resident_bytes < 1e10);
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.open_fds >= 3.0 && process.max_fds >= process.open_fds);
        assert!(process.threads >= 1.0);
        assert!(process.start_seconds > 1.6e9);
    }
}
