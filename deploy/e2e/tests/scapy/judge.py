"""An independent judge of ESP and AH packets: scapy's IPsec layer.

Reads requests from standard input, a JSON object a line, and answers each with a line. A request names one SA, packets to open and
packets to seal; bytes are written in hexadecimal digits. What scapy refuses is answered by {"error": ...} in its place.
"""

import json
import logging
import sys

logging.getLogger("scapy").setLevel(logging.CRITICAL)

from scapy.config import conf  # noqa: E402
from scapy.layers.inet import IP, UDP  # noqa: E402
from scapy.layers.inet6 import (  # noqa: E402
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH, ESP, SecurityAssociation  # noqa: E402

# What is inside is not looked into: bytes go out as they came in.
LOOKED_INTO = [IP, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, UDP, AH]
conf.layers.filter([*LOOKED_INTO, ESP])


def ip(data):
    """Reads a packet of either version."""
    return (IP if data[0] >> 4 == 4 else IPv6)(data)


def header(ends):
    """Makes the outer header of tunnel mode; the filter above keeps scapy from looking for routes."""
    if ends is None:
        return None
    source, destination = ends
    if ":" in source:
        return IPv6(src=source, dst=destination, hlim=64)
    return IP(src=source, dst=destination, ttl=64, id=4711)


def association(sa, protocol):
    """Makes one SA of a request."""
    return SecurityAssociation(
        protocol,
        spi=sa["spi"],
        crypt_algo=sa.get("crypt"),
        crypt_key=bytes.fromhex(sa.get("crypt_key") or ""),
        auth_algo=sa.get("auth"),
        auth_key=bytes.fromhex(sa.get("auth_key") or ""),
        tunnel_header=header(sa.get("tunnel")),
        nat_t_header=UDP(sport=4500, dport=4500) if sa.get("udp") else None,
        esn_en=sa["esn"],
    )


def attempt(work):
    """Returns the bytes of a packet, or what scapy says against it."""
    try:
        return bytes(work()).hex()
    except Exception as error:  # whatever scapy raises is its verdict
        return {"error": f"{type(error).__name__}: {error}"}


def answer(request):
    """Opens and seals. SAs are listed from the innermost to the outermost."""
    sas = [association(sa, {"esp": ESP, "ah": AH}[sa["protocol"]]) for sa in request["sas"]]

    def opened(packet, upper):
        packet = ip(bytes.fromhex(packet))
        for sa in reversed(sas):
            packet = ip(bytes(sa.decrypt(packet, esn=upper)))
        return packet

    def sealed(packet, number):
        packet = ip(bytes.fromhex(packet))
        for position, sa in enumerate(sas):
            if position > 0:
                # scapy would sign the ESP inside in place of the AH around it, if it saw it.
                conf.layers.unfilter()
                conf.layers.filter(LOOKED_INTO)
                packet = ip(bytes(packet))
            packet = sa.encrypt(packet, seq_num=number & 0xFFFFFFFF, esn=number >> 32)
        if len(sas) > 1:
            conf.layers.unfilter()
            conf.layers.filter([*LOOKED_INTO, ESP])
        return packet

    return {
        "opened": [attempt(lambda p=p, u=u: opened(p, u)) for p, u in request.get("open", [])],
        "sealed": [attempt(lambda p=p, n=n: sealed(p, n)) for p, n in request.get("seal", [])],
    }


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
