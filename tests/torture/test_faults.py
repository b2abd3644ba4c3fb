"""Short runs of every fault in `torture`, and of each on a product broken on purpose, which it must notice."""

import sys

import pytest

from torture.disk.calls import full_disk, killed_at_calls, refused_at_calls
from torture.disk.damage import damage
from torture.disk.power import ext4_cuts, replayed_cuts
from torture.processes.interrupts import interrupts
from torture.processes.kills import kills
from torture.processes.long import long_run
from torture.processes.races import races, reads_while_writing, refused_in_time
from torture.tally import Tally

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")


def held(tally: Tally) -> dict[str, int | float]:
    if tally.skipped:
        pytest.skip(tally.skipped)
    assert tally.broken == []
    return tally.counts


def noticed(tally: Tally, words: str) -> None:
    if tally.skipped:
        pytest.skip(tally.skipped)
    assert any(words in line for line in tally.broken), tally


def test_no_kill_at_a_random_moment_costs_a_row(scene):
    assert held(kills(scene, 6, outputs=("photos.h5", "predictions.csv")))["kills"] == 6


def test_rows_that_are_acknowledged_but_not_written_are_noticed(scene):
    noticed(kills(scene, 2, outputs=("photos.h5",), breakage="forgets"), "acknowledged rows lost")


def test_no_kill_at_any_call_costs_a_row(scene):
    counts = held(killed_at_calls(scene, 60, commands=("photos.h5", "predictions.csv")))
    assert counts["acknowledged rows checked"] > 0


def test_files_that_grow_under_their_own_name_are_noticed(scene):
    noticed(killed_at_calls(scene, 30, commands=("photos.h5",), breakage="in place"), "repair is needed")


def test_no_refused_call_ends_in_more_than_one_line(scene):
    assert held(refused_at_calls(scene, 90, commands=("photos.h5",)))["photos.h5: refused"] > 0


def test_errors_of_the_system_that_are_passed_on_are_noticed(scene):
    noticed(refused_at_calls(scene, 90, commands=("photos.h5",), breakage="raw errors"), "OSError")


def test_a_full_file_system_is_reported_and_the_run_continues(scene):
    assert held(full_disk(scene, 2))["photos.h5: refused"] > 0


def test_no_power_cut_costs_an_acknowledged_row(scene):
    assert held(replayed_cuts(scene, 60, resume=20))["acknowledged rows lost"] == 0


@pytest.mark.parametrize("breakage", ["no fsync", "no folder sync"])
def test_rows_lost_for_want_of_a_sync_are_noticed(scene, breakage):
    noticed(replayed_cuts(scene, 20, resume=100, breakage=breakage), "acknowledged rows lost")


def test_no_power_cut_of_a_real_file_system_costs_an_acknowledged_row(scene):
    assert held(ext4_cuts(scene, 2))["acknowledged rows lost"] == 0


def test_rows_that_a_real_file_system_loses_are_noticed(scene):
    noticed(ext4_cuts(scene, 2, breakage="no fsync"), "acknowledged rows lost")


def test_damaged_files_are_refused_by_name(scene):
    counts = held(damage(scene, 300))
    assert sum(counts.values()) == 300


@pytest.mark.parametrize(("breakage", "subject"), [("no digest", "store"), ("no seal", "classifier")])
def test_files_that_are_believed_are_noticed(scene, breakage, subject):
    noticed(damage(scene, 160, subjects=(subject,), breakage=breakage, patience=6), "silently wrong")


def test_of_two_writers_one_writes_and_the_other_is_refused(scene):
    assert held(races(scene, 2))["named the writer"] == 2


def test_two_writers_at_work_are_noticed(scene):
    assert races(scene, 1, breakage="no lock").broken


def test_a_second_writer_is_refused_at_once(scene):
    assert held(refused_in_time(scene, 1))["asked"] == 1


def test_a_reader_sees_a_beginning_of_the_rows_while_they_are_written(scene):
    assert held(reads_while_writing(scene, 20))["reads of a part"] > 0


def test_rows_that_a_reader_sees_half_are_noticed(scene):
    assert reads_while_writing(scene, 60, breakage="in place").broken


def test_a_long_run_leaks_nothing(scene):
    assert held(long_run(scene, 500, 3_000))["images"] == 3_500


def test_what_a_long_run_keeps_is_noticed(scene):
    noticed(long_run(scene, 600, 3_100, breakage="leaks"), "descriptors grew")


def test_an_interrupted_command_keeps_its_work_and_says_how_to_continue(scene):
    held(interrupts(scene, 1, commands=("embed", "train")))


@pytest.mark.parametrize("breakage", ["drops finished", "deaf"])
def test_a_command_that_does_not_care_for_signals_is_noticed(scene, breakage):
    assert interrupts(scene, 1, commands=("embed",), breakage=breakage).broken
