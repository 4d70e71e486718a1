//! How long a packet may be that a form carries whole (RFC 4301 §8.2.1).

use espalier_model::profile::Mode;
use espalier_model::sa::{ChildSa, Encapsulation, Form};

use crate::ah;
use crate::outer::header_len;
use crate::transform::{HEADER_LEN, TRAILER_LEN, UDP_HEADER_LEN, alignment};

/// Returns the longest packet that travels in this form through an underlay of this MTU without fragments; 0 when none does.
///
/// In transport mode it counts with its IP header, whatever options that has.
#[must_use]
pub fn longest_packet(form: &Form, underlay: u16, outer_ipv4: bool) -> u16 {
    let room = usize::from(underlay);
    let longest = match form.mode {
        Mode::Tunnel => inside(form, room, header_len(!outer_ipv4), !outer_ipv4),
        // A longer header leaves less room for text, which comes in steps: the worst case counts.
        Mode::Transport => {
            let base = header_len(!outer_ipv4);
            let lengths = (base..base + 16).step_by(if outer_ipv4 { 4 } else { 8 });
            lengths.map(|header| inside(form, room, header, !outer_ipv4).map(|text| header + text)).min().flatten()
        }
    };
    longest.and_then(|length| u16::try_from(length).ok()).unwrap_or(0)
}

/// Returns the longest packet that an SA carries through an underlay of which nothing is known.
pub(crate) fn usual_mtu(sa: &ChildSa) -> u16 {
    longest_packet(&sa.form(), ETHERNET, sa.path.local.is_ipv4())
}

/// Returns how much there may be inside behind a header of this length.
fn inside(form: &Form, room: usize, header: usize, v6: bool) -> Option<usize> {
    let udp = if form.encapsulation == Encapsulation::Udp { UDP_HEADER_LEN } else { 0 };
    let ah = form.ah.map_or(0, |suite| ah::header_len(suite, v6));
    let room = room.checked_sub(header + udp + ah)?;
    let Some(cipher) = form.esp.map(|suite| suite.cipher()) else { return Some(room) };
    let text = room.checked_sub(HEADER_LEN + cipher.iv_len() + cipher.icv_len())?;
    (text / alignment(cipher) * alignment(cipher)).checked_sub(TRAILER_LEN)
}

/// The usual MTU of an underlay.
const ETHERNET: u16 = 1_500;

#[cfg(test)]
mod tests {
    use espalier_model::suite::{AhSuite, EspSuite};

    use super::*;
    use crate::inner_mtu;

    fn form(esp: Option<EspSuite>, ah: Option<AhSuite>, mode: Mode, encapsulation: Encapsulation) -> Form {
        Form { esp, ah, esn: true, mode, encapsulation }
    }

    #[test]
    fn each_form_leaves_its_own_room() {
        let (gcm, cbc, sha) = (Some(EspSuite::Aes256Gcm16), Some(EspSuite::Aes256CbcSha256), Some(AhSuite::Sha256));
        let (ip, udp) = (Encapsulation::Ip, Encapsulation::Udp);
        for (form, v4, v6) in [
            (form(gcm, None, Mode::Tunnel, udp), 1438, 1418),
            (form(gcm, None, Mode::Tunnel, ip), 1446, 1426),
            (form(gcm, None, Mode::Transport, udp), 1458, 1458),
            (form(gcm, None, Mode::Transport, ip), 1466, 1466),
            (form(cbc, None, Mode::Transport, ip), 1446, 1446),
            (form(None, sha, Mode::Tunnel, ip), 1452, 1428),
            (form(None, sha, Mode::Transport, ip), 1472, 1468),
            (form(gcm, sha, Mode::Tunnel, ip), 1418, 1394),
        ] {
            let room = (longest_packet(&form, 1500, true), longest_packet(&form, 1500, false));
            assert_eq!(room, (v4, v6), "{form}");
        }
        assert_eq!(longest_packet(&form(gcm, sha, Mode::Tunnel, ip), 60, true), 0);
    }

    #[test]
    fn inside_udp_it_is_the_mtu_of_the_tunnel() {
        for suite in EspSuite::ALL {
            for underlay in 68..1600 {
                for ipv4 in [true, false] {
                    let form = form(Some(*suite), None, Mode::Tunnel, Encapsulation::Udp);
                    assert_eq!(longest_packet(&form, underlay, ipv4), inner_mtu(*suite, underlay, ipv4), "{suite}");
                }
            }
        }
    }
}
