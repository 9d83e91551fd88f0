"""No notation of an inner address gets a feed past the guard, and ordinary public addresses do."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import FetchRefused
from agent.sources.guard import check_addresses, check_host, refusal

INNER = (
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2620:4f:8000::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
)
OUTER = (
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
)
DISGUISED = (
    "0",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "0x",
    "1.2.3",
    "1.2.3.4.5",
    "08.8.8.8",
    "256.1.1.1",
    "127.1.",
    "10.0x1",
)


@pytest.mark.parametrize("address", INNER)
def test_inner_addresses_are_refused_with_a_reason(address: str) -> None:
    assert refusal(address)


@pytest.mark.parametrize("address", OUTER)
def test_public_addresses_pass(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "172.20.1.1", "192.168.1.1", "100.100.1.1", "fd00::1"]
)
def test_the_opt_in_opens_loopback_and_lan(address: str) -> None:
    assert refusal(address) and refusal(address, allow_private=True) is None


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
)
def test_the_opt_in_opens_nothing_else(address: str) -> None:
    assert refusal(address, allow_private=True)


@given(st.ip_addresses())
def test_nothing_passes_that_python_knows_to_be_inner(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if refusal(str(address)) is None:
        assert address.is_global and not address.is_multicast and not address.is_reserved


@given(st.text(max_size=20))
def test_what_is_no_address_is_refused(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        assert refusal(text)


@pytest.mark.parametrize("host", DISGUISED)
def test_disguised_addresses_are_no_hosts(host: str) -> None:
    with pytest.raises(FetchRefused, match="disguised"):
        check_host(host)


@pytest.mark.parametrize(
    "host", ["example.org", "8.8.8.8", "::1", "0x7f.example", "1.2.3.com", "a.b.c3", "localhost"]
)
def test_names_and_plain_addresses_are_hosts(host: str) -> None:
    check_host(host)


def test_one_inner_address_among_many_condemns_the_host() -> None:
    with pytest.raises(FetchRefused, match=r"evil\.example.*10\.0\.0\.1 \(private\)"):
        check_addresses("evil.example", ["8.8.8.8", "10.0.0.1"])
