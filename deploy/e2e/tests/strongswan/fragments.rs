//! IKE messages that do not fit a packet (RFC 7383): both ends cut them, so that the wire never has to cut a datagram.

use espalier_e2e::pki::{Leaf, Pki};

use crate::scene::{By, Files, GATEWAY, NODE, Papers, both_roles};

both_roles! {
    a_chain_of_four_kilobytes_crosses_in_small_fragments => |by| {
        let pki = Pki::padded(1_800).unwrap();
        let leaf = |name| Leaf { padding: 1_800, ..Leaf::of(name) };
        crossed(by, Papers::new(&pki, leaf(NODE), leaf(GATEWAY)));
    };
}

fn crossed(by: By, papers: Papers) {
    let scene = Files::certificates(papers).charon("fragment_size = 576").scene();
    let capture = scene.capture();
    let _agent = scene.tunnel(by);
    scene.assert_passes();
    let seen = capture.stop().unwrap();
    assert_eq!((seen.ip_fragments, seen.canaries), (0, 0), "{seen:?}");
    let log = scene.swan.log();
    // More than eight of charon's at 576 bytes, and of ours at 1,280: a chain of 4 kB and what goes along.
    for (line, least) in [("generating IKE_AUTH", "EF(8/"), ("parsed IKE_AUTH", "EF(4/")] {
        assert!(log.lines().any(|l| l.contains(line) && l.contains(least)), "{line} {least}: {log}");
    }
}
