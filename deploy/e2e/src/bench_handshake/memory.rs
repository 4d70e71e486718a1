//! Handshakes between endpoints in one thread, without sockets.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use espalier_ike::{Endpoint, Now, Output};
use espalier_model::sa::UdpPath;

use crate::fleet::Fleet;
use espalier_e2e::rate::per_second;

/// Orders of one end that a handshake must have led to.
#[derive(Default)]
struct Seen {
    up: usize,
    inbound: usize,
    outbound: usize,
}

/// Lets every initiator set up its SA with the responder. All endpoints are new, so nothing is remembered from another round; only
/// reading the configuration is not measured. Returns the handshakes per second.
pub(crate) fn round(fleet: &Fleet) -> Result<f64> {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let now = Now { instant: Instant::now(), unix };
    let (mut responder, peers) = fleet.responder()?;
    responder.configure(now, peers);
    let initiators = fleet.initiators()?;
    let (mut here, mut there) = (Seen::default(), Seen::default());
    let mut done = Vec::with_capacity(initiators.len());
    let start = Instant::now();
    for (mut initiator, peer) in initiators {
        initiator.configure(now, vec![peer]);
        shake(now, &mut initiator, &mut here, &mut responder, &mut there);
        // Taking endpoints down is not part of a handshake.
        done.push(initiator);
    }
    let time = start.elapsed();
    for seen in [here, there] {
        ensure!([seen.up, seen.inbound, seen.outbound] == [done.len(); 3], "not every handshake was completed");
    }
    per_second(done.len(), time)
}

/// Carries messages until neither end has more to say.
fn shake(now: Now, initiator: &mut Endpoint, here: &mut Seen, responder: &mut Endpoint, there: &mut Seen) {
    loop {
        let mut quiet = true;
        for (path, datagram) in orders(initiator, here) {
            responder.handle_datagram(now, path, &datagram);
            quiet = false;
        }
        for (path, datagram) in orders(responder, there) {
            initiator.handle_datagram(now, path, &datagram);
            quiet = false;
        }
        if quiet {
            return;
        }
    }
}

/// Carries out the orders of one end; returns what it sends, as the other sees it.
fn orders(endpoint: &mut Endpoint, seen: &mut Seen) -> Vec<(UdpPath, Vec<u8>)> {
    let mut sent = Vec::new();
    while let Some(output) = endpoint.poll_output() {
        match output {
            Output::Transmit { path, datagram } => {
                sent.push((UdpPath { local: path.remote, remote: path.local }, datagram));
            }
            Output::Up(..) => seen.up += 1,
            Output::InstallInbound(_) => seen.inbound += 1,
            Output::UseOutbound(_) => seen.outbound += 1,
            Output::Replaced(..) | Output::Down(..) | Output::TurnedAway(..) => {}
            Output::Remove(..) | Output::MovePath(..) | Output::Addresses(..) | Output::Door(_) => {}
            Output::Keylog(_) => {}
            Output::ChildRefused { .. } | Output::Told(_) | Output::Moved { .. } => {}
            Output::Measure(_) | Output::Keepalive(_) => {}
        }
    }
    sent
}
