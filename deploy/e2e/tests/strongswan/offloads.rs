//! Packets that are moved one by one: none of the kernel's help is needed to be understood.

use espalier_e2e::transfer::{datagrams, stream};

use crate::scene::{By, Files, assert_protected, both_roles};

both_roles! {
    everything_passes_without_any_offload => without_offloads;
}

fn without_offloads(by: By) {
    let mut scene = Files::psk().scene();
    scene.arguments =
        &["--tun-segmentation=false", "--tun-coalescing=false", "--udp-segmentation=false", "--udp-coalescing=false"];
    let capture = scene.capture();
    let _agent = scene.tunnel(by);
    scene.assert_status(&["tun-segmentation off, udp-coalescing off, udp-segmentation off"]);
    scene.assert_passes();
    let (node, gateway) = (&scene.node().namespace, (&scene.gateway().namespace, scene.gateway().inner(true)));
    stream(node, gateway, 2 << 20).unwrap();
    for length in [1, 1_300, 3_000] {
        datagrams(node, gateway, 40, length).unwrap();
    }
    assert_protected(capture.stop().unwrap());
}
