//! The binary that libFuzzer drives. The environment variable `ESPALIER_FUZZ_TARGET` names the target. With `ESPALIER_FUZZ_SEEDS`
//! it writes inputs to start from into a folder of that name, and ends.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;
use std::{env, fs, process};

use espalier_fuzz::{find, seeds};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn start() {
    let name = env::var("ESPALIER_FUZZ_TARGET").unwrap_or_default();
    let target = find(&name).expect("ESPALIER_FUZZ_TARGET names a target");
    if let Some(folder) = env::var_os("ESPALIER_FUZZ_SEEDS").map(PathBuf::from) {
        for (number, seed) in seeds::of(&name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:04}")), seed).expect("the folder can be written to");
        }
        process::exit(0);
    }
    TARGET.get_or_init(|| target);
}

fuzz_target!(init: start(), |data: &[u8]| if let Some(target) = TARGET.get() {
    target(data);
});
