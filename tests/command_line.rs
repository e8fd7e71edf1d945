//! The command line from outside: what a shell script and an operator rely on. Exit status, where a setting is taken
//! from, what is said on stdout and stderr, signals.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its message")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

fn tenure() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("TENURE_") {
            command.env_remove(variable);
        }
    }
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Whether the server behind this admin listener takes commands.
fn ready(admin: &str) -> bool {
    let mut probe = TcpStream::connect(admin).unwrap();
    probe
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    probe.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200")
}

/// A configuration file that listens on this port.
fn file(port: u16) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tenure.toml");
    fs::write(&path, format!("listen = \"127.0.0.1:{port}\"\n")).unwrap();
    (folder, path)
}

/// A server that runs until it is dropped at the latest.
struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = tenure()
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(arguments)
            .env("TENURE_DURABILITY", "memory")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// The first line of the log that has `part` in it.
    fn line_with(&mut self, part: &str) -> String {
        loop {
            let mut line = String::new();
            let length = self.stderr.read_line(&mut line).unwrap();
            assert!(length > 0, "the log ended before a line with {part:?}");
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn help_is_yes_and_a_mistake_is_trouble() {
    assert_eq!(
        tenure().arg("--help").output().unwrap().status.code(),
        Some(0)
    );
    for arguments in [
        &["no-such-command"][..],
        &["serve", "--shards", "many"],
        &["serve", "--shards", "6"],
        &["serve", "--config", "no-such-file.toml"],
        &["serve", "--listen", "0.0.0.0:0"],
    ] {
        let output = tenure().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}

/// It looks like a flag, and is what somebody took for a duration.
#[test]
fn a_duration_below_zero_is_refused_under_its_name() {
    let asked = tenure()
        .args(["acquire", "acme", "doc/1", "--ttl", "-5s"])
        .output()
        .unwrap();
    assert_eq!(asked.status.code(), Some(2));
    let said = stderr(&asked);
    assert!(said.contains("'-5s' for '--ttl <DURATION>'"), "{said}");
    assert!(said.contains("expected a duration such as"), "{said}");
}

#[test]
fn a_flag_is_over_a_variable_is_over_the_file_is_over_the_default() {
    let (_folder, path) = file(1001);
    let listens = |command: &mut Command| {
        let output = command.arg("--check").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let answer = String::from_utf8(output.stdout).unwrap();
        answer.trim_end().rsplit_once(' ').unwrap().1.to_owned()
    };
    assert_eq!(listens(tenure().arg("serve")), "127.0.0.1:7420");
    assert_eq!(
        listens(tenure().args(["serve", "--config"]).arg(&path)),
        "127.0.0.1:1001"
    );
    let with_file = || {
        let mut command = tenure();
        command
            .arg("serve")
            .env("TENURE_CONFIG", &path)
            .env("TENURE_LISTEN", "127.0.0.1:1002");
        command
    };
    assert_eq!(listens(&mut with_file()), "127.0.0.1:1002");
    assert_eq!(
        listens(with_file().args(["--listen", "127.0.0.1:1003"])),
        "127.0.0.1:1003"
    );
}

#[test]
fn a_wrong_variable_is_named() {
    for (variable, value, part) in [
        ("TENURE_SHARDS", "many", "invalid digit"),
        (
            "TENURE_LISTEN",
            "localhost",
            "expected an IP address and a port",
        ),
        ("TENURE_LOG_FORMAT", "xml", "[possible values: text, json]"),
    ] {
        let output = tenure().arg("serve").env(variable, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let error = stderr(&output);
        assert!(error.contains(part), "{error}");
        assert!(
            error.contains(&format!("from the environment variable {variable}")),
            "{error}"
        );
    }
}

#[test]
fn a_variable_says_yes_in_several_ways() {
    for yes in ["1", "true", "yes", "on"] {
        let mut command = tenure();
        command
            .args(["serve", "--listen", "0.0.0.0:0", "--check"])
            .env("TENURE_INSECURE", yes);
        assert_eq!(command.output().unwrap().status.code(), Some(0), "{yes}");
    }
}

#[test]
fn help_shows_no_key() {
    let output = tenure()
        .arg("--help")
        .env("TENURE_KEY", "do-not-show-me")
        .output()
        .unwrap();
    assert!(
        !String::from_utf8(output.stdout)
            .unwrap()
            .contains("do-not-show-me")
    );
}

#[test]
fn a_server_logs_in_json_answers_probes_and_ends_at_the_first_signal() {
    for signal in ["TERM", "INT"] {
        let mut server = Running::start(&["--log-format", "json"]);
        let line = server.line_with("listening");
        let line = serde_json::from_str::<serde_json::Value>(&line).unwrap();
        assert_eq!(line["level"], "INFO");
        let admin = line["admin"].as_str().unwrap().to_owned();
        server.line_with("no keys are configured");

        while !ready(&admin) {
            thread::sleep(Duration::from_millis(10));
        }

        server.signal(signal);
        server.line_with("shutting down");
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
        let mut stdout = String::new();
        server
            .child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        assert_eq!(stdout, "");
    }
}

#[test]
fn a_server_for_people_says_what_to_type_next() {
    let mut server = Running::start(&[]);
    let listens = server.line_with("listening");
    let listens = listens
        .split("listen=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let next = format!("tenure ping --server {listens}\n");
    assert!(line.ends_with(&next), "{line}");
}
