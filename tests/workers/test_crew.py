"""A crew runs every chunk once, raises the errors of its workers, and reports a process that dies."""

import pickle
import subprocess
import sys
import threading
from itertools import islice

import pytest

from rmfab.errors import ComplaintsError, InputError, StationError
from rmfab.secret import Secret
from rmfab.workers.crew import CHUNKS_AHEAD, open_crew
from rmfab.workers.feeding import chunked
from tests.patience import PATIENCE, until
from tests.terminal import ROOT
from tests.workers.sums import Sums


@pytest.fixture(scope="module")
def crew():
    """A crew of two processes, for all tests that do not kill them."""
    with open_crew(Sums, 1000, 2) as made:
        yield made


@pytest.fixture(params=[1, 2], ids=["inline", "processes"])
def either(request, crew):
    """A crew in this process, and one of two processes."""
    return crew if request.param == 2 else open_crew(Sums, 1000, 1)


CHUNKS = [[number, number + 1] for number in range(20, 60)]


def test_every_chunk_is_done(either):
    """Each chunk is run once, in this process and in others, and is returned with its result."""
    results = list(either.run(Sums.add, iter(CHUNKS), ordered=False))
    assert sorted(results) == [(chunk, sum(chunk) + 1000) for chunk in CHUNKS]


def test_results_in_order(either):
    """Results come in the order of the chunks, although the first one takes longest."""
    slow_first = [[0, 100], *([number, 0] for number in range(1, 9))]
    assert [chunk for chunk, _ in either.run(Sums.pid, slow_first)] == slow_first


def test_results_as_they_are_done(tmp_path, crew):
    """Without an order, results do not wait for a slow chunk."""
    gate = tmp_path / "gate"
    slow, quick = (f"{tmp_path}/slow", str(gate)), [(name := f"{tmp_path}/{number}", name) for number in range(8)]
    results = crew.run(Sums.touch, [slow, *quick], ordered=False)
    assert sorted(chunk for chunk, _ in islice(results, 8)) == quick
    gate.touch()
    assert [chunk for chunk, _ in results] == [slow]


def test_few_chunks_are_ahead(crew):
    """Chunks are drawn on demand: a million rows are never all in memory."""
    drawn = []

    def source():
        for number in range(200, 300):
            drawn.append(number)
            yield [number]

    run = crew.run(Sums.add, source())
    for taken in range(1, 50):
        next(run)
        assert len(drawn) < taken + 2 * CHUNKS_AHEAD
    assert len(drawn) <= 55
    run.close()


def test_nothing_is_ahead_inline():
    """In this process, a chunk is drawn when its result is requested."""
    drawn = []
    source = (drawn.append(number) or [number] for number in range(9))
    run = open_crew(Sums, 0, 1).run(Sums.add, source)
    assert drawn == []
    next(run)
    next(run)
    assert drawn == [0, 1]


def test_errors_come_whole(either):
    """An error of a worker keeps its type, place and hint, and comes after the results before it."""
    run = either.run(Sums.add, [[1], [2], [13], [3]])
    assert [next(run), next(run)] == [([1], 1001), ([2], 1002)]
    with pytest.raises(InputError) as caught:
        next(run)
    assert (caught.value.where, caught.value.hint) == ("here:13", "leave it out")


def test_several_complaints_come_whole(either):
    """Several complaints in one error stay separate."""
    with pytest.raises(ComplaintsError) as caught:
        list(either.run(Sums.complain, [[1, 2]]))
    assert [complaint.where for complaint in caught.value.complaints] == ["here:1", "here:2"]


def test_a_bug_in_a_worker(crew):
    """A bug keeps its type, and its notes contain the worker's traceback."""
    with pytest.raises(ZeroDivisionError) as caught:
        list(crew.run(Sums.divide, [[0]]))
    assert "sums.py" in "".join(caught.value.__notes__)


def test_an_error_that_does_not_travel(crew):
    """An error that cannot be unpickled is reported by name, and the worker continues."""
    with pytest.raises(RuntimeError, match="OddError") as caught:
        list(crew.run(Sums.odd_error, [[0]]))
    assert "sums.py" in "".join(caught.value.__notes__)
    assert [result for _, result in crew.run(Sums.add, [[1]])] == [1001]


def test_an_error_of_the_source(either):
    """An error of the source is raised after the results of all chunks before it."""

    def source():
        yield from ([number] for number in range(4))
        raise InputError("torn", where="row 4")

    results = []
    with pytest.raises(InputError, match="torn"):
        results.extend(either.run(Sums.add, source()))
    assert results == [([number], 1000 + number) for number in range(4)]


def test_what_a_library_prints(crew):
    """Output that a worker prints does not mix with the results."""
    assert [result for _, result in crew.run(Sums.speak, CHUNKS)] == CHUNKS


def test_secrets_do_not_travel(crew):
    """A Secret cannot be sent to a worker, and the crew continues."""
    with pytest.raises(TypeError, match="cannot be pickled"):
        list(crew.run(Sums.add, [[Secret("x")]]))
    assert [result for _, result in crew.run(Sums.add, [[1]])] == [1001]


def test_the_order_travels_once(tmp_path, crew):
    """The worker is made once in each process, and chunks do not contain the order."""
    assert b"1000" not in pickle.dumps([[1]])
    one, other = f"{tmp_path}/one", f"{tmp_path}/other"
    pids = {pid for _, pid in crew.run(Sums.touch, [(one, other), (other, one)])}  # they wait for each other
    assert len(pids) == 2
    assert {pid for _, pid in crew.run(Sums.pid, [[number, 0] for number in range(12)])} <= pids


def test_an_order_that_cannot_be(either):
    """A worker that cannot be made raises the same error in this process and in others."""
    del either
    for jobs in (1, 2):
        with pytest.raises(InputError, match="negative"), open_crew(Sums, -1, jobs) as crew:
            list(crew.run(Sums.add, CHUNKS))


@pytest.mark.parametrize("jobs", [2, 3])
@pytest.mark.parametrize("ordered", [True, False])
def test_dead_process(jobs, ordered):
    """A worker that dies raises StationError, in this run and in later ones."""
    with open_crew(Sums, 0, jobs) as crew:
        for chunks in ([[1], [99], [2]], [[1]] * 50):
            with pytest.raises(StationError, match="a worker process died") as caught:
                list(crew.run(Sums.add, chunks, ordered=ordered))
            assert "out of memory" in caught.value.hint


def test_close_drops_what_was_not_begun(tmp_path):
    """Closing waits for the chunks that have started, and starts no others."""
    crew = open_crew(Sums, 0, 2)
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    begun.mkdir()
    names = [str(begun / str(number)) for number in range(6)]
    run = crew.run(Sums.touch, [(name, str(gate if number else begun)) for number, name in enumerate(names)])
    next(run)
    until(lambda: len(list(begun.iterdir())) == 3)
    closing = threading.Thread(target=crew.close)
    closing.start()
    until(lambda: crew._executor._closed)
    gate.touch()
    closing.join(PATIENCE)
    assert len(list(begun.iterdir())) == 3
    with pytest.raises(RuntimeError, match="shut down"):
        list(crew.run(Sums.add, [[1]]))


def test_a_run_that_is_left(crew):
    """Chunks of a run that was closed do not delay the next run."""
    run = crew.run(Sums.pid, [[number, 100] for number in range(100)])
    next(run)
    run.close()
    assert [result for _, result in crew.run(Sums.add, [[1]])] == [1001]


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (4, [4]), (5, [4, 1]), (8, [4, 4])])
def test_chunked(count, sizes):
    """All lists have the same size, except that the last may be shorter."""
    assert [len(chunk) for chunk in chunked(range(count), 4)] == sizes


def test_a_program_without_a_main_guard(tmp_path):
    """Workers do not run the caller's script again, and the script does not need to be a file."""
    program = """
from rmfab.workers.crew import open_crew
from tests.workers.sums import Sums
print("begun")
with open_crew(Sums, 1, 2) as crew:
    print(sorted(result for _, result in crew.run(Sums.add, [[1], [2], [3]])))
"""
    done = subprocess.run(
        [sys.executable, "-"],
        input=program,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("begun\n[2, 3, 4]\n", "")


def test_a_worker_imports_little(crew):
    """A worker imports what its task needs, but not click, esptool or modules of the parent."""
    ((_, modules),) = crew.run(Sums.modules, [[10_000]])
    assert "rmfab.workers.worker_process" in modules
    assert not {"click", "esptool", "sqlalchemy", "cryptography", "subprocess", "multiprocessing"} & set(modules)
