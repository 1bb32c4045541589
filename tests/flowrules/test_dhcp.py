"""DHCP against scapy, which writes the requests and reads the answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from flowrules import tables
from flowrules.actions import Resubmit, ToController
from flowrules.addresses import ROUTER_MAC, ipv4_to_int, mac_to_int, mac_to_text
from flowrules.compile_dhcp import broadcast_dhcp, gateway_dhcp
from flowrules.dhcp import Kind, Lease, answer, read_request

MAC, OTHER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
ADDRESS, GATEWAY, EVERYONE = "172.31.0.4", "172.31.0.1", "255.255.255.255"
BROADCAST = "ff:ff:ff:ff:ff:ff"
LEASE = Lease(
    mac=mac_to_int(MAC),
    address=ipv4_to_int(ADDRESS),
    prefix_length=20,
    gateway=ipv4_to_int(GATEWAY),
    mtu=1450,
    seconds=3600,
    hostname="ip-172-31-0-4",
    domain="ec2.internal",
    dns=(ipv4_to_int("192.0.2.1"), ipv4_to_int("192.0.2.2")),
)
TOLD = {
    "server_id": GATEWAY,
    "lease_time": 3600,
    "subnet_mask": "255.255.240.0",
    "router": GATEWAY,
    "interface-mtu": 1450,
    "name_server": ("192.0.2.1", "192.0.2.2"),
    "hostname": b"ip-172-31-0-4",
    "domain": b"ec2.internal",
}


def request(*options, src="0.0.0.0", dst=EVERYONE, mac=MAC, ip=None, udp=None, **bootp):
    """A client's frame with these DHCP options."""
    fields = {"xid": 0x12345678, "chaddr": bytes.fromhex(MAC.replace(":", "")), **bootp}
    head = Ether(src=mac, dst=BROADCAST) / IP(src=src, dst=dst, **(ip or {})) / UDP(sport=68, dport=67, **(udp or {}))
    return bytes(head / BOOTP(**fields) / DHCP(options=[*options, "end"]))


def answered(frame, lease=LEASE):
    """What comes back, read and with its checksums proven right; None when nothing does."""
    asked = read_request(frame)
    reply = answer(asked, lease) if asked is not None else None
    if reply is None:
        return None
    parsed = Ether(reply)
    again = parsed.copy()
    del again[IP].chksum, again[UDP].chksum, again[IP].len, again[UDP].len
    assert bytes(again) == reply
    assert parsed.src == mac_to_text(ROUTER_MAC)
    assert (parsed[IP].src, parsed[UDP].sport, parsed[UDP].dport) == (GATEWAY, 67, 68)
    assert (parsed[BOOTP].op, parsed[BOOTP].xid, parsed[BOOTP].chaddr[:6]) == (
        2,
        0x12345678,
        bytes.fromhex("020000000001"),
    )
    assert (parsed[BOOTP].siaddr, parsed[BOOTP].giaddr) == ("0.0.0.0", "0.0.0.0"), "no other server, no relay"
    assert (parsed[BOOTP].hops, parsed[BOOTP].secs) == (0, 0)
    assert len(parsed[UDP].payload) >= 300
    return parsed


def told(reply):
    """The options by name; several values make a tuple."""
    return {item[0]: item[1] if len(item) == 2 else item[1:] for item in reply[DHCP].options if isinstance(item, tuple)}


def destination(reply):
    return reply.dst, reply[IP].dst


def test_a_discover_is_offered_everything():
    reply = answered(request(("message-type", "discover")))
    assert told(reply) == {"message-type": 2, **TOLD}
    assert (reply[BOOTP].yiaddr, reply[BOOTP].ciaddr) == (ADDRESS, "0.0.0.0")
    assert destination(reply) == (MAC, ADDRESS)


def test_who_cannot_be_spoken_to_yet_is_answered_by_broadcast():
    reply = answered(request(("message-type", "discover"), flags=0x8000))
    assert destination(reply) == (BROADCAST, EVERYONE)
    assert reply[BOOTP].flags == 0x8000


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ([("requested_addr", ADDRESS), ("server_id", GATEWAY)], {}),
        ([("requested_addr", ADDRESS)], {}),
        ([], {"ciaddr": ADDRESS, "src": ADDRESS}),
        ([], {"ciaddr": ADDRESS, "src": ADDRESS, "dst": GATEWAY}),
        ([("requested_addr", ADDRESS)], {"ciaddr": ADDRESS, "src": ADDRESS}),
    ],
    ids=["selecting", "after a reboot", "rebinding", "renewing", "with both"],
)
def test_its_own_address_is_acknowledged(options, more):
    reply = answered(request(("message-type", "request"), *options, **more))
    assert told(reply) == {"message-type": 5, **TOLD}
    assert reply[BOOTP].yiaddr == ADDRESS
    assert reply[BOOTP].ciaddr == more.get("ciaddr", "0.0.0.0")
    assert destination(reply) == (MAC, ADDRESS)


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ([("requested_addr", "172.31.0.5"), ("server_id", GATEWAY)], {}),
        ([("requested_addr", "192.168.1.7")], {}),
        ([], {"ciaddr": "172.31.0.5", "src": ADDRESS}),
        ([("requested_addr", ADDRESS)], {"ciaddr": "172.31.0.5"}),
    ],
)
def test_another_address_is_refused_to_everyones_ears(options, more):
    reply = answered(request(("message-type", "request"), ("client_id", b"\1me"), *options, **more))
    assert told(reply) == {"message-type": 6, "server_id": GATEWAY, "client_id": b"\1me"}
    assert (reply[BOOTP].yiaddr, reply[BOOTP].ciaddr) == ("0.0.0.0", "0.0.0.0")
    assert destination(reply) == (BROADCAST, EVERYONE)


def test_who_has_an_address_may_ask_for_the_rest():
    reply = answered(request(("message-type", "inform"), ciaddr=ADDRESS, src=ADDRESS))
    assert told(reply) == {"message-type": 5, **{name: value for name, value in TOLD.items() if name != "lease_time"}}
    assert reply[BOOTP].yiaddr == "0.0.0.0"
    assert destination(reply) == (MAC, ADDRESS)


@pytest.mark.parametrize(
    "frame",
    [
        request(("message-type", "release"), ("server_id", GATEWAY), ciaddr=ADDRESS, src=ADDRESS, dst=GATEWAY),
        request(("message-type", "decline"), ("requested_addr", ADDRESS), ("server_id", GATEWAY)),
        request(("message-type", "request"), ("requested_addr", ADDRESS), ("server_id", "172.31.0.9")),
        request(("message-type", "request")),
        request(("message-type", "inform"), ciaddr="172.31.0.5"),
        request(("message-type", "discover"), dst="172.31.0.9"),
        request(("message-type", "discover"), mac=OTHER_MAC, chaddr=bytes.fromhex("020000000002")),
    ],
    ids=["release", "decline", "another server", "for nothing", "not his", "another target", "another MAC"],
)
def test_what_is_sound_but_not_to_be_answered(frame):
    assert read_request(frame) is not None
    assert answered(frame) is None


def spoiled():
    """Frames with one fault each, by name."""
    kind = ("message-type", "discover")
    good = request(kind)
    yield "cut short", good[:-60]
    yield "another's hardware address", request(kind, mac=OTHER_MAC)
    yield "through a relay", request(kind, giaddr="172.31.0.9")
    yield "an answer", request(kind, op=2)
    yield "no Ethernet", request(kind, htype=6)
    yield "long hardware address", request(kind, hlen=16)
    yield "no cookie", request(kind, options=b"\0\0\0\0")
    yield "a fragment", request(kind, ip={"flags": "MF"})
    yield "a later fragment", request(kind, ip={"frag": 3})
    yield "wrong header checksum", request(kind, ip={"chksum": 1})
    yield "wrong checksum", request(kind, udp={"chksum": 1})
    yield "wrong length", request(kind, udp={"len": 100})
    yield "another port", good[:34] + b"\0\x45" + good[36:]
    yield "another protocol", request(kind, ip={"proto": 6})
    yield "no type", request(("hostname", "x"))
    yield "two types", request(kind, kind)
    yield "a server's type", request(("message-type", "offer"))
    yield "type of length 0", request((53, b""))
    yield "short address", request(kind, (50, b"\1\2\3"))
    yield "long server", request(kind, (54, b"\1\2\3\4\5"))
    yield "short client id", request(kind, (61, b"\1"))
    yield "short size", request(kind, (57, b"\1"))
    yield "overload of nothing", request(kind, (52, b"\4"))
    yield "overload without end", request(kind, (52, b"\1"), file=b"\x0c\x7f" + b"x" * 126)


@pytest.mark.parametrize(("name", "frame"), list(spoiled()), ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_malformed_is_nothing(name, frame):
    assert read_request(frame) is None, name


def test_options_that_do_not_end_are_nothing():
    body = BOOTP(xid=1, chaddr=bytes.fromhex("020000000001"), options=b"\x63\x82\x53\x63")
    head = Ether(src=MAC, dst=BROADCAST) / IP(src="0.0.0.0", dst=EVERYONE) / UDP(sport=68, dport=67) / body
    for options in (b"", b"\x35", b"\x35\x01", b"\x35\x01\x01", b"\x35\x01\x01\0\0", b"\x35\x01\x01\x0c\x05ab\xff"):
        assert read_request(bytes(head / Raw(options))) is None
    assert read_request(bytes(head / Raw(b"\0\x35\x01\x01\0\xff\x05trailing"))).kind is Kind.DISCOVER


def test_options_in_other_fields_and_in_parts_are_read():
    parts = [(61, b"\1ab"), (61, b"cd"), (52, b"\3")]
    file, name = b"\x32\x02\xac\x1f\0\xff", b"\x32\x02\0\x04\xff"
    asked = read_request(request(("message-type", "request"), *parts, file=file, sname=name))
    assert asked.client_id == b"\1abcd"
    assert asked.requested == ipv4_to_int(ADDRESS)


@pytest.mark.parametrize("trailer", [b"\0" * 7, b"\xff"])
def test_what_fills_a_frame_up_and_no_checksum_are_fine(trailer):
    frame = request(("message-type", "discover"), udp={"chksum": 0}, ip={"options": [b"\1"]})
    assert answered(frame + trailer) is not None


@given(client_id=st.binary(min_size=2, max_size=255), largest=st.one_of(st.none(), st.integers(0, 65535)))
def test_no_answer_is_bigger_than_the_client_can_take(client_id, largest):
    long = Lease(**{**{name: getattr(LEASE, name) for name in LEASE.__slots__}, "domain": "x" * 250, "dns": (1,) * 60})
    size = [] if largest is None else [("max_dhcp_size", largest)]
    reply = answered(request(("message-type", "discover"), ("client_id", client_id), *size), long)
    assert len(bytes(reply[IP])) <= max(576, min(largest or 576, long.mtu))
    said = told(reply)
    assert said["client_id"] == client_id
    assert (said["message-type"], said["server_id"], said["lease_time"]) == (2, GATEWAY, 3600)


@st.composite
def mutations(draw):
    """A sound request with some bytes changed, removed or put in."""
    kind = draw(st.sampled_from(["discover", "request", "inform", "release"]))
    options = draw(
        st.lists(
            st.sampled_from(
                [
                    ("requested_addr", ADDRESS),
                    ("client_id", b"\1abc"),
                    ("hostname", b"me"),
                    (52, b"\3"),
                    (57, b"\x05\0"),
                ]
            )
        )
    )
    frame = bytearray(request(("message-type", kind), *options, udp={"chksum": 0}))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(34, len(frame) - 1))
        match draw(st.sampled_from(["set", "cut", "grow"])):
            case "set":
                frame[at] = draw(st.integers(0, 255))
            case "cut":
                del frame[at : at + draw(st.integers(1, 4))]
            case "grow":
                frame[at:at] = draw(st.binary(min_size=1, max_size=4))
        if len(frame) < 60:
            break
    if draw(st.booleans()):
        # As long as it says that it is, so that what is behind the headers is looked at.
        ip = IP(bytes(frame[14:34]))
        ip.len = len(frame) - 14
        del ip.chksum
        udp_length = (len(frame) - 34).to_bytes(2, "big")
        frame[14:34] = bytes(ip)[:20]
        frame[38:40] = udp_length
    return bytes(frame)


@given(mutations())
def test_whatever_is_sent_the_answer_speaks_of_the_lease_alone(frame):
    asked = read_request(frame)
    reply = answer(asked, LEASE) if asked is not None else None
    if reply is None:
        return
    parsed = Ether(reply)
    assert parsed[BOOTP].yiaddr in (ADDRESS, "0.0.0.0")
    assert parsed[BOOTP].ciaddr in (ADDRESS, "0.0.0.0")
    assert parsed.dst in (MAC, BROADCAST)
    assert parsed[IP].dst in (ADDRESS, EVERYONE)


@given(st.binary(max_size=600))
def test_noise_is_nothing(noise):
    assert read_request(noise) is None


@given(st.integers(0, 400))
def test_every_beginning_of_a_request_is_nothing(size):
    frame = request(("message-type", "request"), ("requested_addr", ADDRESS))
    assert read_request(frame[: min(size, len(frame) - 1)]) is None


def test_the_flows_lead_to_the_share_of_the_port_and_from_there_before_the_controller():
    broadcast, again, show = broadcast_dhcp()
    for flow in (broadcast, again, show, gateway_dhcp(3, LEASE.gateway)):
        tables.check(flow)
        assert flow is show or flow.actions == (Resubmit(tables.SENDER_SHARE),)
    assert (show.table, show.actions) == (tables.DHCP, (ToController(),))
