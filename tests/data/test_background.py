"""Reading ahead keeps order and bounds; writing behind loses nothing and hides no error."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from slipstream.data.background import WriteBehind, read_ahead, to_device, to_host


def running(name):
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def test_results_come_in_the_order_of_the_items():
    def slow_when_even(number):
        time.sleep(0.02 * (number % 2 == 0))
        return number * 10

    assert list(read_ahead(slow_when_even, range(9), num_threads=3, num_ahead=4)) == [n * 10 for n in range(9)]
    assert list(read_ahead(slow_when_even, [], num_threads=3, num_ahead=4)) == []
    assert not running("read ahead")


def test_no_more_than_asked_for_is_read_ahead():
    read = []
    results = read_ahead(read.append, range(100), num_threads=2, num_ahead=3)
    next(results)
    next(results)
    results.close()
    assert len(read) <= 4
    assert not running("read ahead")


def test_an_error_comes_at_its_place():
    def fail_at_two(number):
        if number == 2:
            raise ValueError("two")
        return number

    results = read_ahead(fail_at_two, range(5), num_threads=2, num_ahead=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert not running("read ahead")


def test_all_is_written_also_where_the_block_is_left_by_a_stop():
    written = []

    def slow(number):
        time.sleep(0.01)
        written.append(number)
        return number

    def leave():
        with WriteBehind(3) as writer:
            for number in range(5):
                writer.submit(lambda number=number: slow(number))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert written == [0, 1, 2, 3, 4]
    assert not running("write behind")


def test_results_are_told_once_and_in_order():
    with WriteBehind(2) as writer:
        told = []
        for number in range(6):
            writer.submit(lambda number=number: number)
            told += writer.done()
        told += list(writer.drain())
        assert told == [0, 1, 2, 3, 4, 5]
        assert list(writer.drain()) == writer.done() == []


def test_after_a_failure_nothing_more_is_called_and_its_error_surfaces():
    called = []

    def fail():
        called.append("fail")
        raise ValueError("broken")

    def go():
        with WriteBehind(8) as writer:
            writer.submit(fail)
            for _ in range(4):
                writer.submit(lambda: called.append("after"))

    with pytest.raises(ValueError, match="broken"):
        go()
    assert called == ["fail"]


def test_an_error_of_the_block_comes_before_one_of_a_call():
    def fail():
        raise ValueError("second")

    def go():
        with WriteBehind(8) as writer:
            writer.submit(fail)
            raise KeyError("first")

    with pytest.raises(KeyError):
        go()


def test_on_the_cpu_tensors_stay_where_they_are():
    values = torch.ones(3)
    assert to_host([values])()[0] is values
    assert to_device(values, torch.device("cpu")) is values
    assert to_host([])() == []
