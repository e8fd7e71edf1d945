//! Standings that are made up, and what is told of them: ratios, who takes part, the table, the charts. No server is started
//! here; that is for `bench/tests/compare.rs`.

use super::*;

fn contestant(peer: Peer) -> Contestant {
    Contestant {
        peer,
        address: SocketAddr::from(([127, 0, 0, 1], 1)),
        pid: None,
    }
}

fn trial(course: Course, depth: u32) -> Trial {
    Trial {
        course,
        connections: 50,
        depth,
        paths: 100_000,
        rate: None,
        without: Vec::new(),
    }
}

fn figures(pairs_per_second: f64, server_ns: f64) -> Figures {
    Figures {
        pairs_per_second,
        operations_per_second: 2.0 * pairs_per_second,
        server_user_ns: Some(server_ns),
        server_system_ns: Some(0.0),
        p99_us: 100.0,
        ..Figures::default()
    }
}

fn standing(depth: u32, rounds: &[(Peer, f64)]) -> Standing {
    let contestants: Vec<_> = rounds.iter().map(|(peer, _)| contestant(*peer)).collect();
    let trial = trial(Course::Pairs, depth);
    let mut standing = trial.begin(&contestants, std::slice::from_ref(&trial));
    for (entry, (_, rate)) in standing.systems.iter_mut().zip(rounds) {
        entry.rounds.push(figures(*rate, 1e6 / rate));
    }
    standing.compare();
    standing
}

#[test]
fn ratios_are_to_redis_and_to_the_floor() {
    let rates = [
        (Peer::Tenure, 300.0),
        (Peer::Floor, 600.0),
        (Peer::Redis, 100.0),
    ];
    let standing = standing(64, &rates);
    let tenure = &standing.systems[0];
    assert_eq!(tenure.to_redis.unwrap().rate, 3.0);
    assert_eq!(tenure.to_floor.unwrap().rate, 0.5);
    assert_eq!(tenure.to_floor.unwrap().server, Some(2.0));
    assert!(!standing.is_void);
}

#[test]
fn a_floor_that_is_too_near_makes_it_void() {
    let rates = [(Peer::Floor, 499.0), (Peer::Redis, 100.0)];
    assert!(standing(64, &rates).is_void);
    assert!(
        !standing(16, &rates).is_void,
        "only at the deepest pipeline"
    );
    assert!(Table(&[standing(64, &rates)]).to_string().contains("VOID"));
}

#[test]
fn who_cannot_pipeline_takes_part_once() {
    let trials = [1, 16, 64].map(|depth| trial(Course::Pairs, depth));
    let contestants = [contestant(Peer::Etcd), contestant(Peer::Redis)];
    let depths = |trial: &Trial| {
        let systems = trial.begin(&contestants, &trials).systems;
        systems.iter().map(|entry| entry.depth).collect::<Vec<_>>()
    };
    assert_eq!(depths(&trials[0]), [1, 1]);
    assert_eq!(depths(&trials[1]), [16]);
    let renewals = [16, 64].map(|depth| trial(Course::Renew, depth));
    let first = renewals[0].begin(&contestants, &renewals);
    assert_eq!(
        (first.systems[0].system, first.systems[0].depth),
        (Peer::Etcd, 1)
    );
}

#[test]
fn who_cannot_wait_is_not_asked_to() {
    let trial = trial(Course::HandOff, 20);
    let contestants = [Peer::Tenure, Peer::Floor, Peer::Redis, Peer::Slock].map(contestant);
    let standing = trial.begin(&contestants, std::slice::from_ref(&trial));
    let systems: Vec<_> = standing.systems.iter().map(|entry| entry.system).collect();
    assert_eq!(systems, [Peer::Tenure, Peer::Slock]);
}

#[test]
fn at_half_of_its_rate_the_slow_are_left_out() {
    let rates = [
        (Peer::Tenure, 300.0),
        (Peer::Redis, 100.0),
        (Peer::Nats, 20.0),
    ];
    let trials = at_half_of_redis(&[standing(16, &rates)]);
    assert_eq!(trials.len(), 1);
    assert_eq!(trials[0].rate, Some(50));
    assert!(trials[0].without.contains(&Peer::Nats));
    assert!(!trials[0].without.contains(&Peer::Tenure));
}

#[test]
fn a_failure_is_told_and_hurts_nobody_else() {
    let contestants = [contestant(Peer::Redis)];
    let terms = Terms {
        rounds: 2,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(1),
        threads: 1,
        orgs: 1,
    };
    let standings = run(
        &contestants,
        &[trial(Course::Pairs, 1)],
        &terms,
        &mut |_, _| {},
    );
    let text = Table(&standings).to_string();
    assert!(
        text.contains("redis has failed: cannot connect to"),
        "{text}"
    );
}

#[test]
fn a_chart_has_a_bar_for_each_system_and_its_number() {
    let rates = [
        (Peer::Tenure, 310.0),
        (Peer::Redis, 100.0),
        (Peer::Etcd, 1.0),
    ];
    let charts = charts(&[standing(16, &rates)]);
    let names: Vec<_> = charts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["pairs-rate.svg", "pairs-cost.svg"]);
    let rate = &charts[0].1;
    assert_eq!(rate.matches("<rect").count(), 3);
    assert!(
        rate.contains(">3.1 x<") && rate.contains(">0.01 x<"),
        "{rate}"
    );
    assert!(charts[1].1.contains("\u{2192} 100 x"), "beyond the others");
    let (line, number) = (rate.find("<line"), rate.find("class=\"number\""));
    assert!(
        line.is_some() && line < number,
        "the line of Redis is behind the numbers"
    );
}
