use super::*;

fn packet(v6: bool, upper: u8, length: usize) -> Vec<u8> {
    let mut packet = vec![0; length];
    let (from, to) = if v6 { ("fd00::1", "fd00::2") } else { ("10.0.0.1", "10.0.0.2") };
    let fields = OuterFields { class: 0, dont_fragment: true, ttl: 64 };
    outer::write(&mut packet, (from.parse().unwrap(), to.parse().unwrap()), fields, upper, 7).unwrap();
    packet
}

fn answer(packet: &[u8]) -> Option<Vec<u8>> {
    let mut out = [0; MOST_TOO_BIG];
    let from = ip::layout(packet).unwrap().ends.1;
    too_big(packet, 1400, from, &mut out).map(|length| out[..length].to_vec())
}

fn sum(bytes: &[u8]) -> u32 {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(2), 0);
    let sum: u32 = padded.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    (sum & 0xffff) + (sum >> 16)
}

#[test]
fn the_sender_is_told_how_much_fits() {
    let too_long = packet(false, 17, 1500);
    let told = answer(&too_long).unwrap();
    assert_eq!((told.len(), told[9]), (576, 1));
    assert_eq!((&told[12..16], &told[16..20]), (&[10, 0, 0, 2][..], &[10, 0, 0, 1][..]));
    assert_eq!((&told[20..22], &told[24..28]), (&[3, 4][..], &[0, 0, 5, 120][..]));
    assert_eq!(told[28..], too_long[..548]);
    assert_eq!((sum(&told[..20]), sum(&told[20..])), (0xffff, 0xffff));

    let too_long = packet(true, 17, 1501);
    let told = answer(&too_long).unwrap();
    assert_eq!((told.len(), told[6]), (1280, 58));
    assert_eq!((&told[40..42], &told[44..48]), (&[2, 0][..], &[0, 0, 5, 120][..]));
    assert_eq!(told[48..], too_long[..1232]);
    let pseudo = [&told[8..40], &1240_u32.to_be_bytes(), &[0, 0, 0, 58], &told[40..]].concat();
    assert_eq!(sum(&pseudo), 0xffff);
}

#[test]
fn a_short_packet_is_quoted_whole_and_no_host_of_ipv6_hears_of_less_than_1280() {
    let told = answer(&packet(false, 17, 61)).unwrap();
    assert_eq!((told.len(), sum(&told[20..])), (20 + 8 + 61, 0xffff));
    let mut out = [0; MOST_TOO_BIG];
    let short = packet(true, 17, 100);
    too_big(&short, 900, ip::layout(&short).unwrap().ends.1, &mut out).unwrap();
    assert_eq!(out[44..48], [0, 0, 5, 0]);
}

#[test]
fn nothing_is_said_where_nothing_may_be_said() {
    let silent = |packet: &[u8]| answer(packet).is_none();
    let changed = |v6, upper, changes: &[(usize, u8)]| {
        let mut packet = packet(v6, upper, 100);
        changes.iter().for_each(|(at, byte)| packet[*at] = *byte);
        packet
    };
    assert!(silent(&changed(false, 17, &[(6, 0)])), "routers may fragment it");
    assert!(silent(&changed(false, 17, &[(6, 0x40), (7, 5)])), "a later fragment");
    assert!(silent(&changed(false, 1, &[(20, 3)])) && silent(&changed(false, 1, &[(20, 11)])), "an error");
    assert!(!silent(&changed(false, 1, &[(20, 8)])) && !silent(&changed(false, 1, &[(20, 0)])));
    assert!(silent(&changed(true, 58, &[(40, 1)])) && !silent(&changed(true, 58, &[(40, 128)])));
    assert!(silent(&changed(false, 17, &[(12, 0), (15, 0)])), "from nowhere");
    assert!(silent(&changed(false, 17, &[(12, 224)])) && silent(&changed(false, 17, &[(16, 224)])));
    assert!(!silent(&changed(true, 17, &[(24, 0xff)])) && silent(&changed(true, 17, &[(8, 0xff)])));
}
