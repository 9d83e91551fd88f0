"""Which network addresses a feed may make us dial.

A feed's URL and every redirect are somebody else's words, so an address must prove that it is out on the
public internet. `ipaddress.is_global` is not enough: on Python 3.11 it passes NAT64 (64:ff9b::/96), 6to4
(2002::/16), IPv4-compatible (::7f00:1), site-local (fec0::/10), multicast and 192.0.0.8. So IPv6 is an
allowlist, the one block that is global unicast, less the ranges in it that tunnel or document; IPv4 is the
IANA special-purpose registry as a denylist.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from agent.errors import FetchRefused

IPV4_SPECIAL: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(net), why)
    for net, why in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
IPV6_GLOBAL = IPv6Network("2000::/3")
IPV6_SPECIAL: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(net), why)
    for net, why in (
        ("2001::/23", "Teredo, ORCHID and other assignments"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
    )
)
# What `allow_private` opens. Link-local stays shut: 169.254.169.254 hands out a cloud machine's credentials.
OPT_IN = tuple(
    ip_network(net)
    for net in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
)
_NUMERIC_LABEL = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")


def refusal(address: str, allow_private: bool = False) -> str | None:
    """Why `address` (an IP in text form) must not be dialled; None if it may."""
    try:
        ip = ip_address(address)
    except ValueError:
        return "not an IP address"
    if allow_private and any(ip.version == net.version and ip in net for net in OPT_IN):
        return None
    return _special4(ip) if isinstance(ip, IPv4Address) else _special6(ip)


def _special4(ip: IPv4Address) -> str | None:
    return next((why for net, why in IPV4_SPECIAL if ip in net), None)


def _special6(ip: IPv6Address) -> str | None:
    if ip not in IPV6_GLOBAL:
        if ip.ipv4_mapped is not None:
            return "an IPv4 address mapped into IPv6"
        return "loopback" if ip.is_loopback else "link-local" if ip.is_link_local else "outside 2000::/3"
    return next((why for net, why in IPV6_SPECIAL if ip in net), None)


def check_host(host: str) -> None:
    """Refuse hosts that only look like names: `0x7f.1`, `2130706433`, `0177.0.0.1`, `0`.

    Raises:
        FetchRefused: the last label is a number, yet the whole is no plain IP address.
    """
    if not host:
        raise FetchRefused("the URL has no host; write it as https://example.org/feed.xml")
    last = host.rstrip(".").rpartition(".")[2]
    if ":" in host or not _NUMERIC_LABEL.fullmatch(last):
        return
    try:
        IPv4Address(host)
    except ValueError:
        raise FetchRefused(
            f"the host {host!a} is a disguised IP address; write it plainly, as 192.0.2.1"
        ) from None


def check_addresses(host: str, addresses: Sequence[str], allow_private: bool = False) -> None:
    """Refuse a host if any address it resolves to is off limits: a mixed answer is a rebinding attempt.

    Raises:
        FetchRefused: names the host, the address and why.
    """
    for address in addresses:
        why = refusal(address, allow_private)
        if why is not None:
            hint = (
                ""
                if allow_private
                else "; if it is your own, set allow_private on this source and name the host in its url"
            )
            raise FetchRefused(
                f"the host {host!a} resolves to {address} ({why}), which feeds may not reach{hint}"
            )


def check_private(host: str, addresses: Sequence[str]) -> None:
    """Refuse a host that any address puts outside this machine and the local network: what is sent there
    unencrypted could be read on the way.

    Raises:
        FetchRefused: names the host and the address.
    """
    for address in addresses:
        if refusal(address) is None:
            raise FetchRefused(
                f"the host {host!a} resolves to {address}, out on the internet; an API key goes there only over https"
            )
