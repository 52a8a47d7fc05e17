"""Rows by key: found whatever else is there, in order of use, and whole again after a death in the middle."""

from __future__ import annotations

import os
import random
import signal

import pytest

from portico.zones.rows import DIRECTORY, PAYLOAD, Rows
from portico.zones.table import SharedTable

AGE = PAYLOAD
SIZE = 5
COLUMNS = 6 + DIRECTORY


def make(slots: int) -> Rows:
    return Rows(SharedTable(slots, COLUMNS), COLUMNS, age=AGE, summed=SIZE)


def used(rows: Rows) -> list[int]:
    """The rows from the one used longest ago on."""
    found = []
    row = rows.oldest()
    while row:
        found.append(row)
        row = rows.newer(row)
    return found


def test_a_new_row_is_empty_and_found() -> None:
    rows = make(4)
    assert rows.find(1, 2) == rows.oldest() == 0
    row = rows.add(1, 2)
    assert rows.find(1, 2) == row and rows.find(1, 3) == rows.find(2, 2) == 0
    assert list(rows.cells[row : row + rows.width]) == [1, 2, 0, 0, 0, 0]
    rows.cells[row + AGE] = 9
    rows.set_summed(row, 7)
    rows.remove(row)
    assert rows.find(1, 2) == 0 and rows.cells[SIZE] == 0
    assert rows.add(3, 4) == row and list(rows.cells[row : row + rows.width]) == [3, 4, 0, 0, 0, 0]


def test_there_is_room_for_all_but_one() -> None:
    rows = make(9)
    made = []
    while rows.has_room():
        assert rows.has_room(2) == (len(made) < 6)
        made.append(rows.add(len(made) + 1, 5))
    assert len(set(made)) == len(made) == 8 and used(rows) == made
    rows.remove(made[3])
    assert rows.has_room() and rows.add(99, 5) == made[3] and not rows.has_room()


@pytest.mark.parametrize("keys", [64, 1 << 31, 1 << 62], ids=["one place", "one tag", "any"])
def test_as_an_ordered_dict_does(keys: int) -> None:
    """Keys that stand side by side, keys that have the same tag, and keys as they come; negative ones too."""
    dice = random.Random(keys)
    rows = make(41)
    if keys == 64:
        firsts = list(range(-32, 32))
    elif keys == 1 << 31:
        firsts = list(range(-(1 << 62), 1 << 62, 1 << 57))
    else:
        firsts = [dice.randrange(-keys, keys) for _ in range(64)]
    model: dict[tuple[int, int], int] = {}
    for step in range(6000):
        key = dice.choice(firsts), dice.randrange(1, 3)
        row = rows.find(*key)
        assert row == model.get(key, 0)
        action = dice.randrange(3)
        if row == 0:
            if not rows.has_room():
                oldest = next(iter(model))
                assert rows.oldest() == model.pop(oldest)
                rows.remove(rows.find(*oldest))
            row = model[key] = rows.add(*key)
            rows.set_summed(row, step)
        elif action == 0:
            rows.remove(row)
            del model[key]
        elif action == 1:
            rows.freshen(row)
            model[key] = model.pop(key)
        if step % 500 == 0:
            for age, each in enumerate(used(rows)):
                rows.cells[each + AGE] = age
            rows.rebuild()
        assert rows.cells[SIZE] == sum(rows.cells[row + SIZE] for row in model.values())
    assert used(rows) == list(model.values()) and sorted(rows.used()) == sorted(model.values())


def test_a_key_with_several_rows() -> None:
    rows = Rows(SharedTable(16, 6), 6)
    made = [rows.add(7, 8) for _ in range(5)]
    other = rows.add(7, 9)
    assert sorted(rows.find_all(7, 8)) == made and rows.find_all(7, 9) == [other]
    rows.remove(made[2])
    assert sorted(rows.find_all(7, 8)) == made[:2] + made[3:] and rows.find_all(8, 8) == []


def test_rows_in_portions() -> None:
    rows = make(12)
    made = [rows.add(number, 1) for number in range(10)]
    found: list[int] = []
    start = 0
    while True:
        portion, start = rows.between(start, 3)
        found += portion
        if start == 0:
            break
    assert found == made
    assert list(make(4).between(0, 3)[0]) == []


def test_made_anew_when_the_writer_died() -> None:
    """A process is killed with the lock held and all but the rows' own cells spoilt: the next one finds every row in its order."""
    rows = make(16)
    made = [rows.add(number, number + 1) for number in range(10)]
    for row in made:
        rows.cells[row + AGE] = -row
        rows.set_summed(row, 3)
    rows.remove(made.pop(4))
    pid = os.fork()
    if pid == 0:
        rows.enter()
        rows.cells[0] = 1  # what every change begins with
        for row in [0, *made]:
            for column in (2, 3):
                rows.cells[row + column] = 77
        rows.cells[SIZE] = 77
        for cell in range(16 * rows.width, 16 * COLUMNS):
            rows.cells[cell] = 77
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    rows.enter()
    rows.leave()
    assert used(rows) == made[::-1] and rows.cells[SIZE] == 27
    assert all(rows.find(rows.cells[row], rows.cells[row + 1]) == row for row in made)
    assert sum(1 for _ in iter(rows.has_room, False) if rows.add(100 + random.randrange(1 << 40), 1)) == 6


def test_nobody_can_choose_keys_that_stand_in_each_others_way() -> None:
    """Their places are those of the table's secret, which all processes share."""
    table, other = SharedTable(1000, COLUMNS), SharedTable(1000, COLUMNS)
    rows, again, others = (Rows(each, COLUMNS, mixed=True) for each in (table, table, other))
    assert again.find(1 << 40, 1) == 0 and rows.add(1 << 40, 1) == again.find(1 << 40, 1)
    assert rows._secret != others._secret
    nine = [Rows(SharedTable(1000, COLUMNS), COLUMNS, mixed=True) for _ in range(9)]
    for step in (1, 1 << 29, 1 << 35, 1997):  # neighbours, equal ends, and one place if it were by remainder
        places = sorted(len({each._home(each._tag(number * step)) for number in range(-500, 500)}) for each in nine)
        assert places[4] > 300, "one secret of a hundred is unlucky with any given step, most are not"


def test_other_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="8 columns"):
        Rows(SharedTable(8, 4), 8)
