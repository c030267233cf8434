"""MQTT on the wire: streams cut anywhere, packets there and back, and what breaks the format."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.gate import packets
from skerry.gate.fields import Fields, Malformed, integer_of, properties_of, without
from skerry.gate.packets import Connect, Packet, Passage, Reader, Subscribe, Will

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
ids = st.integers(1, 65535)
whole = st.builds(
    packets.packet, st.integers(0x10, 0xFF), st.binary(max_size=300) | st.just(b"x" * 20_000)
)
REASON = bytes((0x1F, 0, 2)) + b"hi"
PROPERTIES = st.sampled_from([b"", bytes((0x11, 0, 0, 0, 9)), bytes((0x21, 0, 20)), REASON])


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


def one(raw: bytes) -> Packet:
    (found,) = Reader(2**28).feed(raw)
    return found


@given(st.lists(whole, max_size=5), st.lists(st.integers(0, 100_000), max_size=8))
def test_a_stream_may_be_cut_anywhere(sent: list[bytes], cuts: list[int]) -> None:
    reader = Reader(2**20)
    got = [found.raw for piece in pieces(b"".join(sent), cuts) for found in reader.feed(piece)]
    assert got == sent
    assert reader.waiting == 0


@given(st.lists(whole, max_size=5), st.lists(st.integers(0, 100_000), max_size=8))
def test_what_passes_is_what_came(sent: list[bytes], cuts: list[int]) -> None:
    passage = Passage()
    ends = {0, *accumulate(map(len, sent))}
    got, seen = b"", 0
    for piece in pieces(b"".join(sent), cuts):
        for part in passage.feed(piece):
            raw = part if isinstance(part, bytes) else part.raw
            got += raw
            seen += not isinstance(part, bytes)
            assert passage.between == (len(got) in ends)
    assert got == b"".join(sent)
    assert seen == sum(raw[0] >> 4 != packets.PUBLISH for raw in sent)


@given(st.integers(0, 268_435_455))
def test_lengths(value: int) -> None:
    assert Fields(integer_of(value)).integer() == value
    assert packets.head_of(b"\x30" + integer_of(value), 0) == (1 + len(integer_of(value)), value)


def test_a_packet_over_the_limit_is_refused_by_its_length_alone() -> None:
    with pytest.raises(Malformed, match="at most 100"):
        list(Reader(100).feed(b"\x30" + integer_of(1000)))
    with pytest.raises(Malformed):
        list(Reader(100).feed(b"\x30\xff\xff\xff\xff"))


connects = st.builds(
    Connect,
    level=st.sampled_from([4, 5]),
    clean=st.booleans(),
    keepalive=st.integers(0, 65535),
    properties=PROPERTIES,
    client_id=texts,
    will=st.none() | st.builds(Will, st.integers(0, 2), PROPERTIES, texts, st.binary(max_size=40)),
    user=st.none(),
    password=st.none(),
)


@given(connects, texts)
def test_the_brokers_connect_has_the_other_id_and_all_the_rest(asked: Connect, name: str) -> None:
    if asked.level == 4:
        will = asked.will._replace(properties=b"") if asked.will else None
        asked = asked._replace(properties=b"", will=will)
    read = packets.read_connect(one(packets.connect(asked, name)).body)
    assert read == asked._replace(client_id=name)


def test_user_and_password_are_read_and_not_passed_on() -> None:
    body = b"\0\4MQTT\5\xc2\0\x3c\0\0\2me\0\4user\0\6secret"
    asked = packets.read_connect(body)
    assert (asked.user, asked.password, asked.client_id) == ("user", b"secret", "me")
    assert b"secret" not in packets.connect(asked, "x-me")
    assert b"user" not in packets.connect(asked, "x-me")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\4MQTT\5\xc3\0\x3c\0\0\2me\0\4user\0\6secret",
        b"\0\4MQTT\5\x1e\0\x3c\0\0\2me",
        b"\0\4MQTT\5\x22\0\x3c\0\0\2me",
        b"\0\4MQTT\5\2\0\x3c\0\0\2me\0",
        b"\0\4MQTT\5\2\0\x3c\4\x15\0\1x\0\2me",
        b"\0\4MQTT\5\2\0\x3c\1\x7f\0\2me",
        b"\0\4MQTT\5\2\0\x3c\0\0\2m\0",
        b"\0\6MQIsdp\3\2\0\x3c\0\2me",
        b"\0\4MQTT\6\2\0\x3c\0\2me",
    ],
)
def test_connects_that_are_none(body: bytes) -> None:
    with pytest.raises(Malformed):
        packets.read_connect(body)


@given(st.binary(max_size=60), st.sampled_from([4, 5]))
def test_garbage_is_malformed_or_read(body: bytes, level: int) -> None:
    for flags in range(16):
        raw = packets.packet(0x30 | flags, body)
        for read in (
            lambda raw=raw: packets.read_publish(one(raw), level),
            lambda: packets.read_connect(body),
            lambda: packets.read_subscribe(body, level),
            lambda: packets.suback_codes(body, level),
        ):
            try:
                read()
            except Malformed:
                continue


@given(texts, st.binary(max_size=50), st.integers(0, 2), ids)
def test_publishes(topic: str, payload: bytes, qos: int, packet_id: int) -> None:
    read = packets.read_publish(one(packets.publish(topic, payload, qos, packet_id)), 5)
    assert (read.topic, bytes(read.payload), read.qos) == (topic, payload, qos)
    assert read.packet_id == (packet_id if qos else 0)
    assert not read.alias


def test_an_alias_a_response_topic_and_retain_are_seen() -> None:
    properties = bytes((0x23, 0, 1, 0x08, 0, 3)) + b"a/b"
    raw = packets.packet(0x31, b"\0\0", integer_of(len(properties)), properties, b"payload")
    read = packets.read_publish(one(raw), 5)
    assert read.alias
    assert read.response_topic == "a/b"
    assert bytes(read.payload) == b"payload"
    assert packets.unretained(one(raw)) == b"\x30" + raw[1:]


@given(
    st.builds(
        Subscribe,
        ids,
        PROPERTIES,
        st.lists(st.tuples(texts, st.integers(0, 255)), min_size=1).map(tuple),
    ),
    st.sampled_from([4, 5]),
)
def test_subscribes(asked: Subscribe, level: int) -> None:
    if level == 4:
        asked = asked._replace(properties=b"")
    raw = packets.subscribe(asked, level)
    assert raw[0] == 0x82
    assert packets.read_subscribe(one(raw).body, level) == asked


@given(ids, st.sampled_from([4, 5]), st.binary(max_size=9))
def test_subacks(packet_id: int, level: int, codes: bytes) -> None:
    raw = packets.suback(packet_id, level, codes)
    assert packets.suback_codes(one(raw).body, level) == (packet_id, codes)


def test_no_alias_is_offered_and_a_chosen_id_is_told() -> None:
    properties = bytes((0x22, 0, 10, 0x21, 0, 20))
    body = b"\0\0" + integer_of(len(properties)) + properties
    raw, accepted = packets.connack(one(packets.packet(0x20, body)), 5, "name")
    assert accepted
    left = Fields(one(raw).body, 2).property_bytes()
    assert left == bytes((0x21, 0, 20, 0x12, 0, 4)) + b"name"
    refused, accepted = packets.connack(one(b"\x20\2\0\5"), 4, None)
    assert (refused, accepted) == (b"\x20\2\0\5", False)


def test_refusals_have_the_versions_own_numbers() -> None:
    assert packets.refused_connack(5, packets.NOT_AUTHORIZED) == b"\x20\3\0\x87\0"
    assert packets.refused_connack(4, packets.NOT_AUTHORIZED) == b"\x20\2\0\5"
    assert packets.refused_publish(1, 7, packets.NOT_AUTHORIZED) == b"\x40\3\0\7\x87"
    assert packets.refused_publish(2, 7, packets.QUOTA_EXCEEDED) == b"\x50\3\0\7\x97"


@given(PROPERTIES, PROPERTIES)
def test_properties_are_taken_out_whole(one_: bytes, other: bytes) -> None:
    numbers = {number for number, _, _ in properties_of(one_)}
    assert without(one_ + other, numbers) == (b"" if one_ == other else other)
    assert without(one_ + other, ()) == one_ + other
