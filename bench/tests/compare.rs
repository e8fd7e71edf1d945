//! The comparison as it is typed: it comes to its end, its figures make sense, and what it has started ends with it. What
//! the figures are is nobody's business here: this is a debug build on a busy machine.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its message")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn compare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure-bench"));
    command.arg("compare").stdin(Stdio::null());
    command
}

#[test]
fn a_short_comparison_comes_to_its_end_with_figures() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let output = compare()
        .args(["--only", "tenure,floor", "--course", "pairs,renew"])
        .args(["--connections", "4", "--depth", "4", "--paths", "1000"])
        .args(["--rounds", "2", "--milliseconds", "200", "--warm-up", "50"])
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("acquire and release: 4 connections, depth 4, 1,000 paths"));

    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    let standings = report["standings"].as_array().unwrap();
    assert_eq!(
        standings.len(),
        2,
        "without Redis there is no half of its rate"
    );
    for standing in standings {
        let systems = standing["systems"].as_array().unwrap();
        let names: Vec<_> = systems
            .iter()
            .map(|entry| entry["system"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["tenure", "floor"]);
        for entry in systems {
            assert_eq!(entry["failure"], Value::Null, "{entry}");
            assert_eq!(entry["rounds"].as_array().unwrap().len(), 2);
            let figure = |name: &str| entry["median"][name].as_f64().unwrap();
            assert!(figure("operations_per_second") > 0.0, "{entry}");
            assert!(figure("p50_us") <= figure("p99_us"), "{entry}");
            assert_eq!(figure("lost"), 0.0, "{entry}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn whoever_interrupts_it_leaves_no_server_behind() {
    let mut running = compare()
        .args(["--only", "floor", "--rounds", "100"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = running.id();
    let server = within(Duration::from_secs(60), || {
        fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (_, after_name) = stat.rsplit_once(')')?;
            let parent: u32 = after_name.split_whitespace().nth(1)?.parse().ok()?;
            let arguments = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            (parent == pid && arguments.contains("floor")).then(|| entry.path())
        })
    });
    let killed = Command::new("kill").arg(pid.to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(running.wait().unwrap().code(), Some(130));
    assert!(!server.exists(), "it ends first");
}

/// What comes to be in time.
fn within<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < time, "it has not come to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}
