"""Work on many videos in several processes that may die without taking the others along.

Each worker has a pipe of its own. So a video on which ffmpeg crashes is one lost job, after which a fresh worker goes
on; and when this process stops, for whatever reason, its workers end and tidy up.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
Work = Callable[[Job, Callable[[float], None]], Result]

VideoProgress = Callable[[int, int, float, float], None]

_GRACE_S = 10.0


@dataclass(frozen=True)
class LostWorker:
    """A worker ended without a result, e.g. because the system killed it for its memory.

    Args:
        exit_code: Its exit code; the negative number of a signal that killed it.
    """

    exit_code: int | None

    @property
    def how(self) -> str:
        """In words how it ended."""
        code = self.exit_code or 0
        if code >= 0:
            return f"ended with code {code}"
        # Real-time signals have numbers only.
        is_named = -code in set(signal.Signals)
        return f"was killed by {signal.Signals(-code).name if is_named else f'signal {-code}'}"

    def __str__(self) -> str:
        return f"the process that worked on it {self.how}; it may need more memory, or crash the decoder"


def run_jobs(
    work: Work[Job, Result],
    jobs: Sequence[Job],
    *,
    num_workers: int,
    progress: Callable[[int, float], None] | None = None,
) -> Generator[tuple[int, Result | LostWorker], None, None]:
    """Do all jobs and yield each index with its result as it comes; closing the iterator stops the workers.

    Args:
        work: Function of a module, called with a job and a function that reports how far it is. An exception in it
            ends everything; it is raised here, as a RuntimeError with its traceback where it cannot be sent.
        jobs: What to do, in this order.
        num_workers: Number of processes; 1 works in this one.
        progress: Called with the index of a job and what its work reported.

    Raises:
        ValueError: If there are no workers.
    """
    if num_workers < 1:
        raise ValueError(f"num_workers must be at least 1, got {num_workers}")
    told = progress or (lambda idx, value: None)
    if num_workers == 1:
        for idx, job in enumerate(jobs):
            yield idx, work(job, lambda value, idx=idx: told(idx, value))
        return
    with closing(_Crew(work, jobs, min(num_workers, len(jobs)), told)) as crew:
        yield from crew.results()


def run_on_videos(
    work: Work[Job, Result],
    jobs: Sequence[Job],
    lengths_s: Sequence[float],
    *,
    num_workers: int,
    progress: VideoProgress | None,
) -> Generator[tuple[int, Result | LostWorker], None, None]:
    """Do one job for each video as `run_jobs` does; the work reports how many seconds of its video are done.

    Args:
        work: See `run_jobs`.
        jobs: What to do; the longest videos first, so that in the end no worker is left alone with one.
        lengths_s: Length of the video of each job in seconds, as far as it is known.
        num_workers: See `run_jobs`.
        progress: Called with finished videos, all videos, seconds of video done and to be done.
    """
    order = sorted(range(len(jobs)), key=lambda idx: -lengths_s[idx])
    all_s = [lengths_s[idx] for idx in order]
    done_s = [0.0] * len(jobs)
    num_done = 0

    def tell(place: int, seconds: float) -> None:
        done_s[place] = seconds
        # A header may state less than there is, or nothing.
        all_s[place] = max(all_s[place], seconds)
        show()

    def show() -> None:
        if progress is not None:
            progress(num_done, len(jobs), sum(done_s), sum(all_s))

    show()
    with closing(run_jobs(work, [jobs[idx] for idx in order], num_workers=num_workers, progress=tell)) as results:
        for place, result in results:
            num_done += 1
            tell(place, all_s[place])
            yield order[place], result


class _Worker(Generic[Job, Result]):
    def __init__(self, work: Work[Job, Result]) -> None:
        # Forked copies of ffmpeg's threads and handles break, so workers start clean.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs, work), daemon=True)
        # Ctrl-C reaches every process of a terminal; workers are ended by this one, also while they start.
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        theirs.close()
        self.job_idx: int | None = None

    def stop(self) -> None:
        if self.job_idx is not None:
            self.process.terminate()
        self.pipe.close()

    def join(self) -> None:
        self.process.join(_GRACE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class _Crew(Generic[Job, Result]):
    def __init__(
        self, work: Work[Job, Result], jobs: Sequence[Job], num_workers: int, told: Callable[[int, float], None]
    ) -> None:
        self._work, self._jobs, self._told = work, jobs, told
        self._next_idx = 0
        self._num_workers = num_workers
        self._workers: list[_Worker[Job, Result]] = []

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join()

    def results(self) -> Iterator[tuple[int, Result | LostWorker]]:
        for _ in range(self._num_workers):
            self._hire()
        while busy := {worker.pipe: worker for worker in self._workers if worker.job_idx is not None}:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                worker = busy[pipe]
                idx = worker.job_idx
                assert idx is not None
                try:
                    kind, value = pipe.recv()
                except (EOFError, ConnectionResetError):
                    worker.process.join()
                    worker.pipe.close()
                    self._workers.remove(worker)
                    self._hire()
                    yield idx, LostWorker(worker.process.exitcode)
                    continue
                if kind == "error":
                    raise value
                if kind == "progress":
                    self._told(idx, value)
                    continue
                self._give(worker)
                yield idx, value

    def _hire(self) -> None:
        if self._next_idx < len(self._jobs):
            self._workers.append(_Worker(self._work))
            self._give(self._workers[-1])

    def _give(self, worker: _Worker[Job, Result]) -> None:
        worker.job_idx = None
        if self._next_idx < len(self._jobs):
            worker.job_idx = self._next_idx
            self._next_idx += 1
            worker.pipe.send(self._jobs[worker.job_idx])


def _serve(pipe: Connection, work: Work[Job, Result]) -> None:
    """Do jobs until the pipe is closed at its other end."""
    # As an exception the end of this process passes every clean-up on its way.
    signal.signal(signal.SIGTERM, _leave)
    try:
        while True:
            job = pipe.recv()
            try:
                message = ForkingPickler.dumps(("done", work(job, lambda value: pipe.send(("progress", value)))))
            except Exception as err:
                # Whatever it is, it is raised where the results are awaited.
                message = ForkingPickler.dumps(("error", _sendable(err)))
            pipe.send_bytes(message)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The process that gave the jobs is gone.
        return


def _sendable(err: Exception) -> Exception:
    """Return the exception itself where the other side will get it as it is."""
    try:
        received = pickle.loads(pickle.dumps(err))  # noqa: S301 - its own bytes
        is_same = type(received) is type(err) and str(received) == str(err)
    except Exception:
        # Locks and files do not pickle; a constructor with other arguments than `args` does not unpickle.
        is_same = False
    return err if is_same else RuntimeError("".join(traceback.format_exception(err)))


def _leave(number: int, frame: object) -> None:
    raise SystemExit(0)
