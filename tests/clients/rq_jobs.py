"""A job queue of RQ: two workers take jobs from two queues, some fail, some depend on another. RQ names its keys itself
and uses many in one transaction, so that all must be on one server: the pool's hash_tag is "r:", and every key of RQ
begins with "rq:". Arguments: host, port, the number of jobs; or "work", host, port and the jobs of one worker.
"""

import subprocess
import sys
import time

import redis
from rq import Queue, SimpleWorker
from rq.job import Dependency, JobStatus

QUEUES = ("high", "low")
WORKERS = 2


def double(number):
    return 2 * number


def fail(number):
    raise ValueError(number)


def main(host, port, jobs):
    started = time.monotonic()
    connection = redis.Redis(host, int(port))
    count = int(jobs)
    workers = [subprocess.Popen([sys.executable, __file__, "work", host, port, str(count // WORKERS)])
               for _ in range(WORKERS)]
    queues = [Queue(name, connection=connection) for name in QUEUES]
    done = []
    for start in range(0, count, 500):
        for nth, queue in enumerate(queues):
            numbers = [n for n in range(start, min(start + 500, count)) if n % 2 == nth and n % 100]
            done += queue.enqueue_many([Queue.prepare_data(double, [n], result_ttl=500, job_id=f"{n}") for n in numbers])
    failing = [queues[0].enqueue(fail, n) for n in range(0, count, 200)]
    after = [queues[1].enqueue(double, n, depends_on=Dependency([done[n // 2]])) for n in range(0, count - 199, 200)]
    after += [queues[1].enqueue(double, 1) for _ in range(count - len(done) - len(failing) - len(after))]
    for worker in workers:
        assert worker.wait(timeout=600) == 0
    for job in done + after:
        job.refresh()
        assert job.get_status() == JobStatus.FINISHED, (job.id, job.get_status())
        assert job.return_value() == 2 * job.args[0]
    assert all(job.get_status(refresh=True) == JobStatus.FAILED for job in failing)
    assert [len(queue) for queue in queues] == [0, 0]
    assert sum(queue.failed_job_registry.count for queue in queues) == len(failing)
    seconds = time.monotonic() - started
    print(f"RQ: {count} jobs in {seconds:.1f} s, {count / seconds:.0f} jobs a second")


def work(host, port, jobs):
    worker = SimpleWorker(QUEUES, connection=redis.Redis(host, int(port)))
    worker.work(max_jobs=int(jobs), logging_level="ERROR")


if __name__ == "__main__":
    sys.modules["rq_jobs"] = sys.modules["__main__"]
    double.__module__ = fail.__module__ = "rq_jobs"
    if sys.argv[1] == "work":
        work(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
