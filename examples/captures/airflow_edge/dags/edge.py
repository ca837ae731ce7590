"""DAGs that reach the corners of Airflow 2.11: retries, rules, branches, mapping, clears, datasets, time zones."""

import datetime as dt

import pendulum
from airflow import DAG
from airflow.datasets import Dataset
from airflow.decorators import task, task_group
from airflow.exceptions import AirflowSkipException
from airflow.models.baseoperator import chain
from airflow.models.param import Param
from airflow.operators.bash import BashOperator
from airflow.operators.empty import EmptyOperator
from airflow.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from airflow.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sensors.python import PythonSensor
from airflow.sensors.time_delta import TimeDeltaSensorAsync
from airflow.timetables.trigger import CronTriggerTimetable
from airflow.utils.task_group import TaskGroup

ORDERS, PAYMENTS, JOINED = Dataset("s3://lake/raw/orders"), Dataset("s3://lake/raw/payments"), Dataset("s3://lake/joined")
OLD = pendulum.datetime(2026, 6, 1)
ONE = {"retries": 1, "retry_delay": dt.timedelta(seconds=1)}


def fail():
    raise RuntimeError("as meant")


def fail_first(ti):
    if ti.try_number < 2:
        raise RuntimeError("the first try fails")


def fail_until_third(ti):
    if ti.try_number < 3:
        raise RuntimeError("fails until it is cleared")


def skip():
    raise AirflowSkipException("nothing to do")


def nothing():
    return None


def step(task_id, call=nothing, **options):
    return PythonOperator(task_id=task_id, python_callable=call, **options)


# A daily cron in local time, over the night in which the clocks go back.
with DAG("eu.berlin", schedule="30 6 * * *", start_date=pendulum.datetime(2026, 10, 24, tz="Europe/Berlin"),
         end_date=pendulum.datetime(2026, 10, 26, tz="Europe/Berlin"), catchup=True, max_active_runs=1):
    step("flaky", fail_first, **ONE) >> step("report", outlets=[ORDERS])

# Hourly; the second hour fails for good: upstream_failed, one_failed, all_done.
with DAG("hourly_load", schedule="@hourly", start_date=OLD, end_date=OLD.add(hours=1), catchup=True, max_active_runs=1,
         default_args=ONE):
    load = step("load", lambda data_interval_start: fail() if data_interval_start.hour == 1 else None)
    load >> step("publish") >> EmptyOperator(task_id="published")
    load >> EmptyOperator(task_id="alert", trigger_rule="one_failed")
    load >> step("page", trigger_rule="all_failed", retries=0)
    load >> step("tidy", trigger_rule="all_done")

# Weekly: branches, short circuits, groups, rules.
with DAG("weekly_rules", schedule="0 5 * * 1", start_date=OLD, end_date=OLD.add(days=1), catchup=True):
    branch = BranchPythonOperator(task_id="choose", python_callable=lambda: "left.extract")
    with TaskGroup("left") as left:
        step("extract") >> EmptyOperator(task_id="checked")
    with TaskGroup("right") as right:
        with TaskGroup("deep"):
            step("extract")
        EmptyOperator(task_id="other")
    join = step("join", trigger_rule="none_failed_min_one_success")
    branch >> [left, right] >> join
    branch >> [right] >> step("strict")
    gate = ShortCircuitOperator(task_id="gate", python_callable=lambda: False, ignore_downstream_trigger_rules=False)
    join >> gate >> step("behind_gate") >> step("always", trigger_rule="all_done")
    hand = step("skips_itself", skip, outlets=[PAYMENTS])
    hand >> step("after_skip")
    [hand, join] >> step("any_of_them", trigger_rule="one_success")
    [hand, join] >> EmptyOperator(task_id="none_failed", trigger_rule="none_failed")
    [hand, join] >> EmptyOperator(task_id="none_skipped", trigger_rule="none_skipped")
    [hand, join] >> EmptyOperator(task_id="all_skipped", trigger_rule="all_skipped")

# Mapped tasks: a failing index, an index that skips itself, retries, an empty list, a mapped group.
with DAG("mapped_edge", schedule=None, start_date=OLD):
    @task
    def numbers(how_many):
        return list(range(how_many))

    @task(retries=0)
    def one_fails(n):
        if n == 1:
            raise RuntimeError("index 1")

    @task
    def one_skips(n):
        if n == 0:
            raise AirflowSkipException

    @task(retries=1, retry_delay=dt.timedelta(seconds=1))
    def second_try(n, ti=None):
        if n == 1 and ti.try_number < 2:
            raise RuntimeError("once more")

    @task
    def of_nothing(n):
        return n

    @task(trigger_rule="all_done")
    def collect():
        return 1

    @task
    def never(n):
        return n

    @task_group
    def each(n):
        @task
        def first(n):
            if n == 0:
                raise RuntimeError("first of 0")
            return n

        @task
        def second(n):
            return n

        second(first(n))

    two, none = numbers.override(task_id="two")(2), numbers.override(task_id="none")(0)
    ends = [one_fails.expand(n=two), one_skips.expand(n=two), second_try.expand(n=two), of_nothing.expand(n=none),
            each.expand(n=two)]
    ends >> collect()
    ends[0] >> never.expand(n=[1, 2])

# The mapped list shrinks when the run is cleared: index 1 is removed.
with DAG("shrinking", schedule="@once", start_date=OLD):
    @task
    def listed(ti=None):
        return [1] if ti.try_number > 1 else [1, 2]

    @task
    def of_each(n):
        return n

    of_each.expand(n=listed()) >> EmptyOperator(task_id="end")

with DAG("setup_and_teardown", schedule="@once", start_date=OLD):
    up, work, down = step("up"), step("work", fail), step("down")
    up >> work >> step("more") >> down.as_teardown(setups=up)
    work >> down

with DAG("waiting", schedule="@once", start_date=OLD):
    polled = PythonSensor(task_id="polled", python_callable=lambda ti: ti.start_date is not None and
                          (pendulum.now("UTC") - ti.get_dagrun().start_date).total_seconds() > 12,
                          mode="reschedule", poke_interval=4)
    gone = PythonSensor(task_id="gone", python_callable=lambda: False, mode="reschedule", poke_interval=1, timeout=1,
                        soft_fail=True)
    polled >> TimeDeltaSensorAsync(task_id="deferred", delta=dt.timedelta(0)) >> step("after")
    gone >> step("after_gone")

with DAG("every_six_hours", schedule=dt.timedelta(hours=6), start_date=OLD, end_date=OLD.add(hours=6), catchup=True):
    step("load", outlets=[PAYMENTS])

with DAG("joined", schedule=[ORDERS, PAYMENTS], start_date=OLD):
    step("join", outlets=[JOINED]) >> EmptyOperator(task_id="joined")

with DAG("at_nine", schedule=CronTriggerTimetable("0 9 * * *", timezone="UTC"), start_date=OLD,
         end_date=OLD.add(hours=12), catchup=True):
    step("say")

# Daily, with a manual run that shares the interval of a scheduled one.
with DAG("daily_twin", schedule="@daily", start_date=OLD, end_date=OLD.add(days=1, hours=12), catchup=True, max_active_runs=1):
    step("load") >> step("check", fail_first, **ONE)

# Cleared by hand, whole and in part, after a success and after a failure.
with DAG("cleared_after_success", schedule="@daily", start_date=OLD, end_date=OLD, catchup=True):
    choose = BranchPythonOperator(task_id="choose", python_callable=lambda ti: "old" if ti.try_number < 2 else "new")
    step("before") >> choose >> [step("old"), step("new")]
    choose >> EmptyOperator(task_id="old_mark")

with DAG("cleared_after_failure", schedule="@daily", start_date=OLD, end_date=OLD, catchup=True, default_args=ONE):
    step("fine") >> step("breaks", fail_until_third) >> step("then") >> EmptyOperator(task_id="end")

with DAG("cleared_and_failed_again", schedule="@daily", start_date=OLD, end_date=OLD, catchup=True, default_args=ONE):
    step("breaks", lambda ti: fail() if ti.try_number > 1 else None) >> step("then")

with DAG("cleared_midway", schedule=None, start_date=OLD):
    step("quick") >> BashOperator(task_id="slow", bash_command="sleep 15") >> step("last")

# Marked by hand.
with DAG("marked", schedule=None, start_date=OLD):
    step("broken", fail) >> step("after")
    step("fine")

with DAG("given_up", schedule=None, start_date=OLD):
    BashOperator(task_id="slow", bash_command="sleep 25") >> step("after")

with DAG("controller", schedule="@once", start_date=OLD):
    TriggerDagRunOperator(task_id="call", trigger_dag_id="called", conf={"why": "called"}, wait_for_completion=False)

with DAG("called", schedule=None, start_date=OLD, params={"why": Param("", type="string")}):
    step("work")

with DAG("times_out", schedule="@once", start_date=OLD, dagrun_timeout=dt.timedelta(seconds=8)):
    BashOperator(task_id="slow", bash_command="sleep 60") >> step("after")

with DAG("fail_stop", schedule="@once", start_date=OLD, fail_stop=True, max_active_tasks=1):
    step("breaks", fail, priority_weight=10)
    step("other") >> step("more")

with DAG("recreated", schedule=None, start_date=OLD):
    step("work", fail_first, retries=1, retry_delay=dt.timedelta(seconds=1)) >> EmptyOperator(task_id="end")

with DAG("backfilled", schedule="@daily", start_date=OLD, end_date=OLD.add(days=30), catchup=False, is_paused_upon_creation=True):
    chain(step("a", fail_first, **ONE), EmptyOperator(task_id="b"), step("c"))
