"""Numbers of pings that begin anew on the wire."""

from topologies.ping import answered


def said(numbers):
    return "".join(
        f"[1.5] 64 bytes from 10.0.0.1: icmp_seq={number % 65536} ttl=63 time=0.1 ms\n" for number in numbers
    )


def test_a_loss_is_found_also_after_the_numbers_have_begun_anew():
    sent = [*range(1, 140_000)]
    lost = {5, 65_535, 65_536, 65_537, 70_000, *range(90_000, 105_000), 131_071, 131_072}
    came = [number for number in sent if number not in lost]
    came[100], came[101] = came[101], came[100]
    assert answered(said(came)) == set(sent) - lost


def test_what_is_no_answer_is_not_counted():
    assert answered("From 10.0.0.1 icmp_seq=7 Destination Host Unreachable\n2 packets transmitted") == set()
