//! Many endpoints at once, in virtual time, from a seed.
//!
//! `ESPALIER_SEEDS` says how many seeds are tried, `ESPALIER_RUNS` how many meshes of a hundred endpoints; `ESPALIER_SEED`
//! replays one. A failure prints the command that does so.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails, in its helpers too")]

mod authority;
mod flows;
mod hostile;
mod nonces;
mod world;

use std::ops::Range;
use std::time::Duration;

use espalier_ike::{Auth, PeerConfig};
use espalier_model::profile::{Activation, AdditionalKeyExchanges, Profile};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use authority::Authority;
use world::{Network, World, peer, psk};

const DAY: i64 = 86_400;
const BAD: Network = Network { loss: 0.1, twice: 0.05, delay: Duration::from_millis(40) };

/// Every fourth seed has the default with ML-KEM. It takes twice the time, and the others try more orders of messages in it.
fn profile(seed: u64) -> Profile {
    let standard = Profile::standard("default".parse().unwrap());
    let additional_key_exchange = AdditionalKeyExchanges::NONE;
    if seed.is_multiple_of(4) { standard } else { Profile { additional_key_exchange, ..standard } }
}

/// For large meshes: most of the time would go into asking who is still there.
fn patient(seed: u64) -> Profile {
    Profile { liveness_seconds: 100, ..profile(seed) }
}

/// Who starts: the named initiator of each pair, or both ends of each.
#[derive(Clone, Copy, Debug)]
enum Start {
    Named,
    Both,
}

/// Starts all endpoints within 10 ms.
fn start(world: &mut World, seed: u64, profile: &Profile, start: Start) {
    start_with(world, seed, profile, start, &psk());
}

fn start_with(world: &mut World, seed: u64, profile: &Profile, start: Start, auth: &Auth) {
    let count = world.nodes.len();
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
    let mut order: Vec<_> = (0..count).map(|node| (rng.random_range(0..10_000_u64), node)).collect();
    order.sort_unstable();
    let mut before = 0;
    for (at, here) in order {
        world.run(Duration::from_micros(at - before));
        before = at;
        let named = |there: usize| matches!(start, Start::Both) || (here + there).is_multiple_of(2) == (here < there);
        let peers = (0..count)
            .filter(|there| *there != here)
            .map(|there| PeerConfig { auth: auth.clone(), ..peer(here, there, profile, named(there)) });
        world.configure(here, peers.collect());
    }
}

fn seeds() -> Range<u64> {
    number("ESPALIER_SEED").map_or_else(|| 0..number("ESPALIER_SEEDS").unwrap_or(2), |seed| seed..seed + 1)
}

/// A tenth of the seeds, for runs with real signatures.
fn short(seeds: Range<u64>) -> Range<u64> {
    if number("ESPALIER_SEED").is_some() { seeds } else { seeds.start..seeds.end.div_ceil(10) }
}

/// Runs with a hundred endpoints.
fn runs() -> Range<u64> {
    number("ESPALIER_SEED").map_or_else(|| 0..number("ESPALIER_RUNS").unwrap_or(1), |seed| seed..seed + 1)
}

/// Prints how a seed is replayed, should the test fail while this is there.
struct Replay {
    test: &'static str,
    seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { test, seed } = self;
            let command = "cargo test --release --workspace --test simulation -- --exact";
            eprintln!("replay it: ESPALIER_SEED={seed} {command} {test}");
        }
    }
}

/// Runs a test with every seed.
fn each(test: &'static str, seeds: Range<u64>, run: impl Fn(u64)) {
    for seed in seeds {
        let _replay = Replay { test, seed };
        run(seed);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Without further rekeys everything comes to rest.
fn calm(world: &mut World, seed: u64, auth: &Auth) {
    let count = world.nodes.len();
    for here in 0..count {
        let others = (0..count).filter(|there| *there != here);
        let peers = others.map(|there| PeerConfig { auth: auth.clone(), ..peer(here, there, &profile(seed), true) });
        world.configure(here, peers.collect());
    }
    world.rest();
}

#[test]
fn twenty_endpoints_that_start_at_once_end_with_one_sa_for_each_pair() {
    each("twenty_endpoints_that_start_at_once_end_with_one_sa_for_each_pair", seeds(), |seed| {
        let way = if seed % 2 == 0 { Start::Named } else { Start::Both };
        let mut world = World::new(seed, 20, BAD);
        start(&mut world, seed, &patient(seed), way);
        world.run(Duration::from_secs(60));
        world.rest();
        world.assert_whole(&format!("seed {seed}, {way:?}"));
        // Every half of every pair has been shown to carry packets.
        assert!(world.flows.arrived >= 20 * 19, "{} packets", world.flows.arrived);
    });
}

#[test]
fn a_hundred_endpoints_that_start_at_once_end_with_one_sa_for_each_pair() {
    let authority = Authority::new();
    each("a_hundred_endpoints_that_start_at_once_end_with_one_sa_for_each_pair", runs(), |run| {
        // Every twentieth run with real certificates and signatures: a run takes ten times as long with them.
        let signed = run % 20 == 0;
        let (authority, auth) = if signed { (Some(&authority), Auth::Certificate) } else { (None, psk()) };
        let way = if run % 2 == 0 { Start::Named } else { Start::Both };
        let mut world = World::with_authority(run, 100, BAD, authority);
        start_with(&mut world, run, &patient(run), way, &auth);
        world.run(Duration::from_secs(10));
        world.rest();
        world.assert_whole(&format!("run {run}, {way:?}"));
    });
}

#[test]
fn rules_on_demand_wait_for_packets_and_end_with_one_sa_for_each_pair() {
    const NODES: usize = 5;
    each("rules_on_demand_wait_for_packets_and_end_with_one_sa_for_each_pair", seeds(), |seed| {
        let way = if seed % 2 == 0 { Start::Named } else { Start::Both };
        let mut rng = StdRng::seed_from_u64(seed ^ 0xa5c);
        let mut world = World::new(seed, NODES, BAD);
        start(&mut world, seed, &Profile { activation: Activation::OnDemand, ..profile(seed) }, way);
        world.rest();
        assert!(world.nodes.iter().all(|node| node.endpoint.sa_count() == 0), "seed {seed}: nobody has asked");
        let pairs: Vec<_> = (0..NODES).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
        for (one, other) in pairs.iter().copied() {
            // One end, the other, or both within what a message takes.
            let first = rng.random_range(0..3);
            if first != 0 {
                world.acquire(one, other);
            }
            world.run(Duration::from_millis(rng.random_range(0..60)));
            if first != 1 {
                world.acquire(other, one);
            }
        }
        // What is lost in a collision is asked for again.
        for _ in 0..30 {
            world.run(Duration::from_secs(1));
            for (one, other) in pairs.iter().copied() {
                world.acquire(one, other);
            }
        }
        world.rest();
        world.assert_whole(&format!("seed {seed}, {way:?}"));
    });
}

#[test]
fn rekeys_from_both_ends_lose_no_packet() {
    each("rekeys_from_both_ends_lose_no_packet", seeds(), |seed| {
        let mut fast = profile(seed);
        (fast.ike_rekey_seconds, fast.child_rekey_seconds) = (13, 5);
        let mut world = World::new(seed, 4, BAD);
        start(&mut world, seed, &fast, Start::Both);
        world.run(Duration::from_secs(20));
        let (settled, before) = (world.flows.lost.len(), world.flows.arrived);
        world.run(Duration::from_secs(100));
        let lost = &world.flows.lost[settled..];
        assert!(lost.is_empty(), "seed {seed}: {} lost: {:?}", lost.len(), lost.first());
        assert!(world.flows.arrived - before > 150, "{} halves were replaced", world.flows.arrived - before);
        calm(&mut world, seed, &psk());
        world.assert_whole(&format!("seed {seed}"));
    });
}

#[test]
fn crashes_partitions_clocks_and_rebinding_end_with_one_sa_for_each_pair() {
    const NODES: usize = 6;
    each("crashes_partitions_clocks_and_rebinding_end_with_one_sa_for_each_pair", seeds(), |seed| {
        let way = if seed % 2 == 0 { Start::Named } else { Start::Both };
        let mut rng = StdRng::seed_from_u64(seed ^ 0xbad);
        let mut fast = profile(seed);
        (fast.ike_rekey_seconds, fast.child_rekey_seconds) = (40, 15);
        let mut world = World::new(seed, NODES, BAD);
        start(&mut world, seed, &fast, way);
        for _ in 0..12 {
            world.run(Duration::from_millis(rng.random_range(100..15_000)));
            let node = rng.random_range(0..NODES);
            match rng.random_range(0..5) {
                0 => world.crash(node),
                1 => world.rebind(node, rng.random_range(10_000..60_000)),
                2 => world.cut.extend((0..NODES).filter(|_| rng.random_bool(0.5)).map(|n| (n.min(node), n.max(node)))),
                3 => world.jump(node, if rng.random_bool(0.5) { DAY } else { -DAY }),
                _ => world.cut.clear(),
            }
        }
        world.cut.clear();
        world.run(Duration::from_secs(120));
        calm(&mut world, seed, &psk());
        world.assert_whole(&format!("seed {seed}, {way:?}"));
    });
}

#[test]
fn a_clock_that_jumps_a_day_ends_no_sa_and_loses_no_packet() {
    let authority = Authority::new();
    each("a_clock_that_jumps_a_day_ends_no_sa_and_loses_no_packet", short(seeds()), |seed| {
        let mut rng = StdRng::seed_from_u64(seed ^ 0xc10c);
        let mut fast = profile(seed);
        (fast.ike_rekey_seconds, fast.child_rekey_seconds) = (13, 5);
        let mut world = World::with_authority(seed, 3, BAD, Some(&authority));
        start_with(&mut world, seed, &fast, Start::Both, &Auth::Certificate);
        world.run(Duration::from_secs(20));
        let settled = world.flows.lost.len();
        for _ in 0..12 {
            let node = rng.random_range(0..3);
            world.jump(node, if rng.random_bool(0.5) { DAY } else { -DAY });
            world.run(Duration::from_secs(5));
        }
        assert_eq!(world.flows.lost[settled..], [""; 0], "seed {seed}");
        assert!(world.nodes.iter().all(|node| node.downs == 0), "seed {seed}: an SA was lost");
        calm(&mut world, seed, &Auth::Certificate);
        world.assert_whole(&format!("seed {seed}"));
    });
}

#[test]
fn no_shortened_or_altered_message_changes_anything_but_a_counter() {
    let authority = Authority::new();
    for (seed, auth) in [(4, psk()), (8, Auth::Certificate)] {
        let good = Network { loss: 0.0, twice: 0.0, delay: Duration::from_millis(5) };
        let mut fast = profile(seed);
        (fast.ike_rekey_seconds, fast.child_rekey_seconds) = (13, 5);
        let mut world = World::with_authority(seed, 2, good, Some(&authority));
        world.assailed = true;
        start_with(&mut world, seed, &fast, Start::Both, &auth);
        world.run(Duration::from_secs(40));
        world.assailed = false;
        calm(&mut world, seed, &auth);
        world.assert_whole("after the attack");
    }
}

#[test]
fn a_rotation_of_keys_replaces_everything_and_loses_no_packet() {
    each("a_rotation_of_keys_replaces_everything_and_loses_no_packet", seeds(), |seed| {
        let way = if seed % 2 == 0 { Start::Named } else { Start::Both };
        let mut world = World::new(seed, 4, BAD);
        start(&mut world, seed, &profile(seed), way);
        world.rest();
        world.assert_whole(&format!("seed {seed}"));
        let before: Vec<_> = world.nodes.iter().map(|n| n.endpoint.status()).collect();
        world.flows.lost.clear();
        for here in 0..4 {
            let mut peers = world.nodes[here].peers.clone();
            peers.iter_mut().for_each(|peer| peer.key_epoch = 1);
            world.run(Duration::from_millis(30));
            world.configure(here, peers);
        }
        world.run(Duration::from_secs(30));
        world.rest();
        world.assert_whole(&format!("seed {seed} after the rotation"));
        assert_eq!(world.flows.lost, Vec::<String>::new(), "seed {seed}");
        for (node, before) in world.nodes.iter().zip(&before) {
            for (sa, old) in node.endpoint.status().iter().zip(before) {
                assert_ne!((sa.spis, sa.children[0].inbound), (old.spis, old.children[0].inbound));
                assert_eq!((sa.key_epoch, sa.children[0].key_epoch), (1, 1), "seed {seed}");
            }
        }
    });
}
