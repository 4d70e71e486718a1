//! The loop of a keeper: receive what there is, judge it, hand on what is let in, send back who is asked for a cookie.

use std::os::fd::AsFd;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use espalier_ike::{Doorkeeper, Verdict};
use espalier_model::sa::UdpPath;
use espalier_sys::udp::{Batch, Datagram, UdpSocket};
use espalier_sys::{poll, thread};

use super::flood::FloodLog;
use super::{IkeDatagram, NAT_TRAVERSAL, NON_ESP_MARKER, Shared};

/// The longest datagram.
//= RFC 7296 §2: messages of any length that UDP has are taken
const LONGEST: usize = 65_535;
/// Batches taken from one socket before the others are asked.
const TURN: usize = 32;
/// A keeper that turns datagrams away lets some come together: to be woken for each would cost more than to judge it.
const PAUSE: Duration = Duration::from_millis(2);

/// Runs until the door is dropped.
pub(super) fn run(shared: &Shared, lane: usize, mut keeper: Doorkeeper, nice: i32) {
    if let Err(error) = thread::give_way(nice) {
        tracing::warn!(%error, "a flood of first messages will take processor time from packets");
    }
    let (Some(sockets), Some(counters)) = (shared.lanes.get(lane), shared.counters.get(lane)) else { return };
    let ([a, b, c, d], stopped) = (sockets, shared.stopped.as_fd());
    let (mut batch, mut answers, mut log) = (Batch::new(LONGEST), Vec::new(), FloodLog::default());
    while let Ok([.., false]) = poll::wait([a.as_fd(), b.as_fd(), c.as_fd(), d.as_fd(), stopped], log.patience()) {
        let before = keeper.counters();
        sockets.iter().for_each(|socket| serve(shared, socket, &mut keeper, &mut batch, &mut answers));
        let after = keeper.counters();
        *counters.lock().unwrap_or_else(PoisonError::into_inner) = after;
        log.note(Instant::now(), after);
        if after != before && !matches!(poll::wait([stopped], Some(PAUSE)), Ok([false])) {
            return;
        }
    }
}

fn serve(
    shared: &Shared,
    socket: &UdpSocket,
    keeper: &mut Doorkeeper,
    batch: &mut Batch,
    answers: &mut Vec<(UdpPath, Vec<u8>)>,
) {
    let marker = if socket.local_addr().port() == NAT_TRAVERSAL { &NON_ESP_MARKER[..] } else { &[] };
    let policy = shared.policy.load();
    for _ in 0..TURN {
        let Ok(more) = socket.recv_batch(batch) else { return };
        let now = Instant::now();
        for Datagram { path, bytes, .. } in batch.datagrams() {
            let message = bytes.get(marker.len()..).unwrap_or_default();
            let letterbox = match keeper.judge(now, &policy, path.remote, message) {
                Verdict::ForSa => &shared.letterbox.for_sas,
                Verdict::First => &shared.letterbox.first,
                Verdict::Ask(answer) => {
                    answers.push((path, [marker, &answer].concat()));
                    continue;
                }
                Verdict::Drop => continue,
            };
            let _ = letterbox.try_send(IkeDatagram { path, bytes: message.to_vec() });
        }
        socket.send_batch(answers.iter().map(|(path, answer)| (*path, &answer[..])));
        answers.clear();
        if !more {
            return;
        }
    }
}
