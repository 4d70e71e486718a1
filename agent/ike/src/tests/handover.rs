//! From one SA to the next: in which order, so that no packet is lost.

use super::*;

/// The peer takes nothing on the old SA any more once it has the answer to its deletion.
#[test]
fn what_goes_out_uses_the_new_sa_before_the_deletion_of_the_old_one_is_answered() {
    let mut pair = Pair::with_peers([peer(0, psk("secret")), peer(1, psk("secret"))]);
    pair.drive(|_| 1);
    pair.nodes[0].endpoint.reauthenticate_now(pair.now);
    pair.collect();
    let mut switched = 0;
    while !pair.wire.is_empty() {
        let (to, path, datagram) = pair.wire.remove(0);
        let endpoint = &mut pair.nodes[to].endpoint;
        endpoint.handle_datagram(pair.now, UdpPath { local: path.remote, remote: path.local }, &datagram);
        let outputs: Vec<Output> = std::iter::from_fn(|| endpoint.poll_output()).collect();
        let switch = outputs.iter().rposition(|output| matches!(output, Output::UseOutbound(_)));
        let answer = outputs.iter().position(|output| matches!(output, Output::Transmit { .. }));
        if let (1, Some(switch), Some(answer)) = (to, switch, answer) {
            assert!(switch < answer, "it is answered first");
            switched += 1;
        }
        for output in outputs {
            if let Output::Transmit { path, datagram } = output {
                pair.wire.push((1 - to, path, datagram));
            }
        }
    }
    assert_eq!(switched, 1, "the responder switches with the deletion");
    assert_eq!(pair.nodes[1].endpoint.sa_count(), 1);
}
