//! Tests of the configuration: layers, messages, exposure, and that the documentation lists every key.
//! Rule: a key that is added is in the file, the flags, the environment and docs/operating.md, or a test here fails.

use std::collections::BTreeMap;
use std::fs;

use clap::{Args, Command};
use tempfile::TempDir;
use tenure_engine::{Millis, Role};

use super::*;

/// A configuration file of its own folder.
struct File {
    _folder: TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tenure.toml");
    fs::write(&path, text).unwrap();
    File {
        _folder: folder,
        path,
    }
}

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::load(Some(&file(text).path), Settings::default())
}

fn refusal(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

const KEY: &str = r#"
[[keys]]
name = "desk"
key = "0123456789abcdef"
role = "member"
orgs = ["acme", "test-*"]
"#;

#[test]
fn nothing_set_is_a_server_for_development() {
    let config = Config::load(None, Settings::default()).unwrap();
    assert_eq!(config.listen, LISTEN);
    assert_eq!(config.admin, Some(ADMIN));
    assert!(config.is_open() && !config.has_tls());
    assert!(config.shards.is_power_of_two());
    assert!(config.workers >= 1);
    assert!(config.policy.is_empty());
}

#[test]
fn a_file_sets_every_key() {
    let config = load(
        r#"
        listen = "127.0.0.1:1"
        admin = "off"
        tls_cert = "server.pem"
        tls_key = "/etc/server.key"
        tls_client_ca = "ca.pem"
        insecure = true
        connections_max = 2
        workers = 5
        shards = 4
        in_flight_max = 3
        outbound_bytes_max = 300000
        hello_timeout_ms = 4000
        stream_events_max = 13
        stream_bytes_max = 140000
        stream_age_ms = 15000
        streams_bytes_max = 16000000
        log = "warn,tenure=debug"
        log_format = "json"
        shutdown_grace_ms = 5
        [policy]
        ttl_default_ms = 60000
        ttl_min_ms = 2000
        ttl_max_ms = 120000
        queue_max = 7
        grace_ms = 8000
        release_on_disconnect = false
        sessions_max = 9
        holds_max = 10
        session_holds_max = 11
        session_waits_max = 12
        [[keys]]
        name = "desk"
        key = "0123456789abcdef"
        role = "moderator"
        orgs = ["acme", "test-*"]
        "#,
    )
    .unwrap();
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.admin, None);
    assert!(
        config.tls_cert.as_ref().unwrap().is_absolute(),
        "taken from where the file lies"
    );
    assert_eq!(
        config.tls_key.as_deref(),
        Some(Path::new("/etc/server.key"))
    );
    assert!(config.insecure);
    let numbers = [
        config.connections_max,
        config.workers,
        config.shards,
        config.in_flight_max,
        config.outbound_bytes_max,
    ];
    assert_eq!(numbers, [2, 5, 4, 3, 300_000]);
    assert_eq!(config.hello_timeout(), Duration::from_secs(4));
    let keeping = config.keeping();
    let expected = Bounds {
        entries_max: 13,
        bytes_max: 140_000,
        age_max: Millis(15_000),
    };
    assert_eq!((keeping.each, keeping.bytes_max), (expected, 16_000_000));
    assert_eq!(config.shutdown_grace(), Duration::from_millis(5));
    assert_eq!(config.log_format, LogFormat::Json);
    let expected = PolicyLayer {
        ttl_default: Some(Millis(60_000)),
        ttl_min: Some(Millis(2_000)),
        ttl_max: Some(Millis(120_000)),
        queue_max: Some(7),
        grace: Some(Millis(8_000)),
        release_on_disconnect: Some(false),
        sessions_max: Some(9),
        holds_max: Some(10),
        session_holds_max: Some(11),
        session_waits_max: Some(12),
    };
    assert_eq!(config.policy, expected);
    let [key] = &config.keys[..] else {
        panic!("{:?}", config.keys)
    };
    assert_eq!(
        (&*key.principal.name, key.principal.role),
        ("desk", Role::Moderator)
    );
    assert!(key.principal.may_speak_for("test-7") && !key.principal.may_speak_for("globex"));
}

#[test]
fn a_flag_is_over_the_file() {
    let over = Settings {
        shards: Some(8),
        policy: PolicySettings {
            queue_max: Some(2),
            ..Default::default()
        },
        ..Default::default()
    };
    let text = "shards = 4\nin_flight_max = 9\n[policy]\nqueue_max = 1\ngrace_ms = 3";
    let config = Config::load(Some(&file(text).path), over).unwrap();
    assert_eq!((config.shards, config.in_flight_max), (8, 9));
    assert_eq!(
        (config.policy.queue_max, config.policy.grace),
        (Some(2), Some(Millis(3)))
    );
}

#[test]
fn a_key_file_is_read_from_where_the_configuration_lies_and_trimmed() {
    let file = file(&KEY.replace("key = \"0123456789abcdef\"", "key_file = \"desk.key\""));
    fs::write(file.path.with_file_name("desk.key"), "fedcba9876543210\n").unwrap();
    let config = Config::load(Some(&file.path), Settings::default()).unwrap();
    assert_eq!(config.keys[0].secret.expose(), "fedcba9876543210");
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_known_ones() {
    let file = file("shards = 4\nshard = 8\n");
    let error = Config::load(Some(&file.path), Settings::default())
        .unwrap_err()
        .to_string();
    let begin = format!(
        "{}, line 2, column 1: unknown field `shard`, expected ",
        file.path.display()
    );
    assert!(error.starts_with(&begin), "{error}");
    assert!(
        error.contains("`shards`") && error.contains("--help"),
        "{error}"
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_its_key() {
    let error = refusal("\nshards = \"eight\"\n");
    assert!(
        error.contains("line 2, column 10: shards: invalid type: string"),
        "{error}"
    );
    let error = refusal("listen = \"localhost\"");
    assert!(
        error.contains("listen: expected an IP address and a port"),
        "{error}"
    );
    let error = refusal("admin = \"none\"");
    assert!(error.contains("found `none`, or `off`"), "{error}");
    let error = refusal(&KEY.replace("member", "owner"));
    assert!(
        error.contains("role: unknown variant `owner`, expected one of"),
        "{error}"
    );
}

#[test]
fn an_impossible_value_says_what_to_do_and_where_it_was_set() {
    let file = file("shards = 6");
    let error = Config::load(Some(&file.path), Settings::default())
        .unwrap_err()
        .to_string();
    let expected = format!(
        "shards: expected a power of two from 1 to 1024, found 6; leave it out for about four for \
         each core (set in {}, or by TENURE_SHARDS, or by --shards)",
        file.path.display()
    );
    assert_eq!(error, expected);
    for (text, part) in [
        (
            "in_flight_max = 0",
            "in_flight_max: expected a number from 1 to 1000000, found 0",
        ),
        (
            "workers = 0",
            "workers: expected a number from 1 to 1024, found 0",
        ),
        (
            "outbound_bytes_max = 10",
            "outbound_bytes_max: expected a number from 262144",
        ),
        (
            "streams_bytes_max = 4000000",
            "streams_bytes_max: expected a number from 4194304",
        ),
        ("log = \"tenure=loud\"", "log: expected a filter such as"),
        (
            "tls_cert = \"a.pem\"",
            "tls_key: expected a PEM file, since tls_cert is set",
        ),
        (
            "tls_client_ca = \"a.pem\"",
            "tls_cert: expected a PEM file, since tls_client_ca is set",
        ),
        (
            "[policy]\nttl_min_ms = 400000",
            "policy.ttl_default_ms: expected a number from ttl_min_ms (400000)",
        ),
    ] {
        let error = refusal(text);
        assert!(error.starts_with(part), "{error}");
    }
}

#[test]
fn a_key_that_protects_nothing_is_refused() {
    for (from, to, part) in [
        (
            "0123456789abcdef",
            "short",
            "the key of `desk`: expected at least 16 bytes, found 5",
        ),
        (
            "\"desk\"",
            "\" \"",
            "`name` of entry 1: expected 1 to 256 bytes without",
        ),
        (
            "[\"acme\", \"test-*\"]",
            "[]",
            "`orgs` of `desk`: expected at least one pattern",
        ),
        (
            "test-*",
            "*-test",
            "`orgs` of `desk`: expected a star at the end alone",
        ),
        (
            "key = \"0123456789abcdef\"",
            "",
            "the key of `desk`: expected key or key_file, found neither",
        ),
        (
            "key = ",
            "key_file = \"a\"\nkey = ",
            "expected key or key_file, found both",
        ),
    ] {
        let error = refusal(&KEY.replace(from, to));
        assert!(error.contains(part), "{error}");
    }
    let error = refusal(&format!("{KEY}{}", KEY.replace("desk", "ops")));
    assert!(
        error.contains("the key of `ops`: expected a key of its own"),
        "{error}"
    );
    let other_role = KEY.replace("0123", "4567").replace("member", "admin");
    let error = refusal(&format!("{KEY}{other_role}"));
    assert!(
        error.contains("the key of `desk`: expected the role and orgs of the entry before"),
        "{error}"
    );
}

#[test]
fn one_name_may_have_two_keys_while_they_are_rotated() {
    let config = load(&format!("{KEY}{}", KEY.replace("0123", "4567"))).unwrap();
    assert_eq!(config.keys.len(), 2);
}

#[test]
fn no_message_shows_a_secret() {
    for text in [
        KEY.replace("role", "rule"),
        KEY.replace("0123456789abcdef\"", "0123456789abcdef"),
        KEY.replace("\"0123456789abcdef\"", "[\"0123456789abcdef\"]"),
        KEY.replace("\"0123456789abcdef\"", "123456789"),
        format!("{KEY}{KEY}").replacen("desk", "ops", 1),
        KEY.replace("0123456789abcdef", "0123456789"),
    ] {
        let error = load(&text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("123456789"), "{shown}");
    }
    let config = load(KEY).unwrap();
    assert!(!format!("{config:?}").contains("0123456789"));
}

#[test]
fn beyond_this_machine_keys_and_tls_are_needed() {
    let tls = "tls_cert = \"a\"\ntls_key = \"b\"\n";
    let open = "listen = \"0.0.0.0:7420\"\n";
    assert!(load(&format!("{open}{tls}{KEY}")).is_ok());
    assert!(load(&format!("{open}insecure = true")).is_ok());
    assert!(load("listen = \"[::1]:7420\"").is_ok());

    let error = refusal(open);
    for part in [
        "listen: 0.0.0.0:7420",
        "anyone",
        "tls_cert",
        "[[keys]]",
        "--insecure",
        "127.0.0.1:7420",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    let error = refusal(&format!("{open}{KEY}"));
    assert!(
        error.contains("in the clear") && !error.contains("[[keys]]"),
        "{error}"
    );
    let error = refusal(&format!("{open}{tls}"));
    assert!(
        error.contains("[[keys]]") && !error.contains("tls_cert"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Some(Path::new("/nowhere/tenure.toml")), Settings::default());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("/nowhere/tenure.toml") && error.contains("TENURE_CONFIG"),
        "{error}"
    );
}

/// Flag and variable of every key that has them, by key as the file spells it.
fn keys() -> BTreeMap<String, (String, String)> {
    let command = Settings::augment_args(Command::new("test"));
    let arguments = command.get_arguments().map(|argument| {
        let flag = argument.get_long().unwrap().to_owned();
        let variable = argument.get_env().unwrap().to_str().unwrap().to_owned();
        let key = flag.replace('-', "_");
        let key = key
            .strip_prefix("policy_")
            .map_or_else(|| key.clone(), |key| format!("policy.{key}"));
        (key, (flag, variable))
    });
    arguments.collect()
}

#[test]
fn flag_and_variable_are_spelled_like_the_key() {
    for (key, (flag, variable)) in keys() {
        let (table, name) = key.split_once('.').unwrap_or(("", &key));
        let table = if table.is_empty() {
            String::new()
        } else {
            format!("[{table}]\n")
        };
        // An unknown key says so; a known one of the wrong kind says something else.
        let error = toml::from_str::<Settings>(&format!("{table}{name} = {{}}")).unwrap_err();
        assert!(!error.message().contains("unknown field"), "{key}: {error}");
        assert_eq!(
            variable,
            format!("TENURE_{}", flag.replace('-', "_").to_uppercase())
        );
    }
}

#[test]
fn the_defaults_that_help_tells_are_the_defaults() {
    let command = Settings::augment_args(Command::new("test"));
    let told = command.get_arguments().filter_map(|argument| {
        let help = argument.get_help().unwrap().to_string();
        let default = help
            .split_once("[default: ")?
            .1
            .trim_end_matches(']')
            .to_owned();
        Some((argument.get_long().unwrap().to_owned(), default))
    });
    let told: BTreeMap<_, _> = told.collect();
    let config = Config::default();
    let policy = Policy::BUILT_IN;
    let millis = |Millis(ms): Millis| ms.to_string();
    for (flag, is) in [
        ("listen", config.listen.to_string()),
        ("admin", config.admin.unwrap().to_string()),
        ("insecure", config.insecure.to_string()),
        ("connections-max", config.connections_max.to_string()),
        ("in-flight-max", config.in_flight_max.to_string()),
        ("outbound-bytes-max", config.outbound_bytes_max.to_string()),
        ("hello-timeout-ms", config.hello_timeout_ms.to_string()),
        ("stream-events-max", config.stream_events_max.to_string()),
        ("stream-bytes-max", config.stream_bytes_max.to_string()),
        ("stream-age-ms", config.stream_age_ms.to_string()),
        ("streams-bytes-max", config.streams_bytes_max.to_string()),
        ("log", config.log),
        ("log-format", String::from("text")),
        ("viewer-stale-ms", config.viewer_stale_ms.to_string()),
        ("shutdown-grace-ms", config.shutdown_grace_ms.to_string()),
        ("policy-ttl-default-ms", millis(policy.ttl_default)),
        ("policy-ttl-min-ms", millis(policy.ttl_min)),
        ("policy-ttl-max-ms", millis(policy.ttl_max)),
        ("policy-queue-max", policy.queue_max.to_string()),
        ("policy-grace-ms", millis(policy.grace)),
        (
            "policy-release-on-disconnect",
            policy.release_on_disconnect.to_string(),
        ),
        ("policy-sessions-max", policy.sessions_max.to_string()),
        ("policy-holds-max", policy.holds_max.to_string()),
        (
            "policy-session-holds-max",
            policy.session_holds_max.to_string(),
        ),
        (
            "policy-session-waits-max",
            policy.session_waits_max.to_string(),
        ),
    ] {
        assert_eq!(told.get(flag), Some(&is), "--{flag}");
    }
}

#[test]
fn the_documentation_lists_every_key() {
    let document = include_str!("../../docs/operating.md");
    for (key, (flag, variable)) in keys() {
        let row = format!("| `{key}` | `{variable}` | `--{flag}` |");
        assert!(
            document.contains(&row),
            "docs/operating.md has no row that begins {row}"
        );
    }
    for key in ["name", "key", "key_file", "role", "orgs"] {
        let row = format!("| `keys[].{key}` |");
        assert!(
            document.contains(&row),
            "docs/operating.md has no row that begins {row}"
        );
    }
}
