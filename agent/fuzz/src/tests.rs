//! The corpora, replayed; and a little noise.

use std::fs;
use std::path::{Path, PathBuf};

use espalier_ike::wire::{NotifyType, PayloadType, ProtocolId};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::*;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn replay(name: &str) {
    let target = find(name).unwrap();
    let inputs = corpus(name);
    assert!(inputs.len() >= 5, "{name} has {} inputs", inputs.len());
    for (path, input) in inputs {
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "{name}: {}", path.display());
    }
}

fn begin(name: &str) {
    let (target, inputs) = (find(name).unwrap(), seeds::of(name));
    assert!(inputs.len() >= 5, "{name} has {} inputs to start from", inputs.len());
    for input in inputs {
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "{name}: {input:?}");
    }
}

/// Changes inputs at random.
fn disturb(name: &str) {
    let (target, inputs) = (find(name).unwrap(), seeds::of(name));
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..500 {
        let input = &inputs[rng.random_range(0..inputs.len())];
        let mut bytes = input.clone();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..=bytes.len());
            match rng.random_range(0..4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, rng.random()),
                2 => {
                    let mut more = [0; 8];
                    rng.fill_bytes(&mut more);
                    bytes.extend(more);
                }
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.random()),
            }
        }
        let outcome = std::panic::catch_unwind(|| target(&bytes));
        assert!(outcome.is_ok(), "{name}: {bytes:?}");
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(mod $name {
            #[test]
            fn every_input_of_the_corpus_passes() {
                super::replay(stringify!($name));
            }

            #[test]
            fn every_input_to_start_from_passes() {
                super::begin(stringify!($name));
            }

            #[test]
            fn altered_inputs_pass() {
                super::disturb(stringify!($name));
            }
        })*

        #[test]
        fn every_target_is_tested_and_named_once() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|(name, _)| name), tested);
        }
    };
}

targets! { outer door inner fragments certificates exchange liar packets forms frames plan }

#[test]
fn inputs_to_start_from_hold_moves_addresses_and_ah() {
    let inputs = seeds::of("inner");
    let count = |wanted: &dyn Fn(PayloadType, &[u8]) -> bool| {
        let holds = |input: &&Vec<u8>| {
            let chain = chain::Chain::read(PayloadType(input[0]), &input[1..]);
            chain.payloads().any(|(kind, body)| wanted(kind, body))
        };
        inputs.iter().filter(holds).count()
    };
    for told in [NotifyType::UPDATE_SA_ADDRESSES, NotifyType::COOKIE2, NotifyType::ADDITIONAL_IP4_ADDRESS] {
        let number = told.0.to_be_bytes();
        assert!(count(&|kind, body| kind == PayloadType::NOTIFY && body[2..4] == number) > 0, "{told:?}");
    }
    assert!(count(&|kind, _| kind == PayloadType::CP) >= 2, "a request and its answer");
    assert!(count(&|kind, body| kind == PayloadType::SA && body[5] == ProtocolId::AH.0) >= 4, "alone and around ESP");
}

#[test]
fn the_corpora_stay_small() {
    for (name, _) in TARGETS {
        let inputs = corpus(name);
        let bytes: usize = inputs.iter().map(|(_, input)| input.len()).sum();
        assert!(inputs.len() <= 400 && bytes <= 1 << 20, "{name}: {} inputs, {bytes} bytes", inputs.len());
    }
}
