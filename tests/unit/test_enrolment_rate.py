"""Wrong enrolment tokens: an address that has tried too many waits, others do not."""

import pytest

from skerry.hub.trust import enrolment_rate
from skerry.hub.trust.enrolment_rate import EnrolmentRate
from skerry.kit.errors import Busy
from skerry.testing.manual_clock import ManualClock


def test_an_address_that_guesses_waits_and_nobody_else(manual_clock: ManualClock) -> None:
    rate = EnrolmentRate(3, manual_clock)
    for _ in range(3):
        rate.check("192.0.2.1")
        rate.failed("192.0.2.1")
        manual_clock.advance(60.0)
    rate.check("192.0.2.2")
    with pytest.raises(Busy, match="too many wrong tokens") as found:
        rate.check("192.0.2.1")
    assert found.value.after == 3600 - 180
    manual_clock.advance(3600.0 - 180)
    rate.check("192.0.2.1")


def test_a_network_of_a_customer_is_one_address(manual_clock: ManualClock) -> None:
    rate = EnrolmentRate(1, manual_clock)
    rate.failed("2001:db8:1:2::3")
    with pytest.raises(Busy):
        rate.check("2001:db8:1:2::4")
    rate.check("2001:db8:1:3::4")


def test_memory_is_bounded(manual_clock: ManualClock) -> None:
    rate = EnrolmentRate(1, manual_clock)
    for number in range(enrolment_rate._MOST + 1):
        rate.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    rate.check("10.0.0.0")
    with pytest.raises(Busy):
        rate.check("10.0.0.1")
