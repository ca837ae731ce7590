"""The rules that are broken, each by one edit of the source, with the tests that have to notice.

A text has to stand in its file exactly; where it stands several times all of them are replaced.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """A rule, the edit that breaks it, and the files of tests that are run against it."""

    rule: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


MACHINE = "tests/twin/test_machine.py"
_STATES = (
    "s.node_kind = w.kind and s.node_id = w.node\n    and s.partition = w.partition\n"
    "left join run r on r.environment = %(environment)s and r.task_id = s.task_id and r.run = s.run\n    and (s.status"
)

MUTANTS = (
    Mutant(
        "how far messages are read moves on only from where they were read from",
        "dataforge/storage/kafka_offset.py",
        " and o.next_offset = n.offset_before",
        "",
        ("tests/storage/test_kafka_offset.py",),
    ),
    Mutant(
        "of equal events in one group one is applied, and the others are duplicates",
        "dataforge/ingest/batch.py",
        "        new -= applied",
        "        new -= set()",
        ("tests/ingest/test_group.py",),
    ),
    Mutant(
        "a poison event harms nobody else in its group",
        "dataforge/ingest/batch.py",
        "        if len(part) == 1:",
        "        if part:",
        ("tests/ingest/test_group.py",),
    ),
    Mutant(
        "a place with several claims is not decided by one of them",
        "dataforge/storage/partition.py",
        ") c on c.number = 1 and not c.past",
        ") c on not c.past",
        ("tests/ledger/test_record.py", MACHINE),
    ),
    Mutant(
        "a place about which an order stands is not decided by its one claim",
        "dataforge/storage/partition.py",
        "        where held.kind = 'quarantine'\n",
        "        where false\n",
        ("tests/ledger/test_quarantine.py", "tests/dispatch/test_rerun.py", MACHINE),
    ),
    Mutant(
        "a place that a check refused is not decided by its one claim",
        "dataforge/storage/partition.py",
        "        where said.kind = 'dataset'\n",
        "        where false\n",
        ("tests/ledger/test_quarantine.py",),
    ),
    Mutant(
        "children follow what is believed of a parent, not what its last event said",
        "dataforge/ledger/settle_runs.py",
        "\n        or known.stored[1] != taken",
        "",
        ("tests/ingest/test_spark.py",),
    ),
    Mutant(
        "a loop through two names of one dataset is one",
        "dataforge/graph/knot.py",
        "up = np.concatenate((np.where(ends.consumes, node, task), first, second))",
        "up = np.concatenate((np.where(ends.consumes, node, task), first, first))",
        ("tests/unit/test_knot.py",),
    ),
    Mutant(
        "stronger evidence wins over a higher rank of state",
        "dataforge/model/state.py",
        "return (self.evidence, self.state.rank, self.at, self.event)",
        "return (self.state.rank, self.evidence, self.at, self.event)",
        ("tests/unit/test_attempt.py", "tests/unit/test_run.py", "tests/ingest/test_spark.py"),
    ),
    Mutant(
        "within a run the attempt with the higher number counts",
        "dataforge/model/run.py",
        "        attempt.incarnation or EARLIEST,\n        attempt.number or 0,",
        "        attempt.incarnation or EARLIEST,\n        0,",
        ("tests/unit/test_run.py", "tests/ledger/test_record.py", MACHINE),
    ),
    Mutant(
        "between runs of one partition the later started wins",
        "dataforge/storage/partition.py",
        "order by c.started_at desc nulls last, c.task_id, c.run desc limit 1",
        "order by c.started_at nulls last, c.task_id, c.run desc limit 1",
        ("tests/ledger/test_record.py",),
    ),
    Mutant(
        "a later failed attempt keeps the last success",
        "dataforge/ledger/kept.py",
        "            found.append(replace(claim, past=True))",
        "            pass",
        ("tests/ledger/test_record.py",),
    ),
    Mutant(
        "none_failed_min_one_success needs one success",
        "dataforge/model/trigger_rule.py",
        "Rule.NONE_FAILED_MIN_ONE_SUCCESS: lambda c: c.success + c.skipped == c.total and c.success > 0,",
        "Rule.NONE_FAILED_MIN_ONE_SUCCESS: lambda c: c.success + c.skipped == c.total,",
        ("tests/unit/test_trigger_rule.py", "tests/truth/test_airflow_decisions.py"),
    ),
    Mutant(
        "one_failed counts an upstream_failed as a failure",
        "dataforge/model/trigger_rule.py",
        "Rule.ONE_FAILED: lambda c: c.failures > 0,",
        "Rule.ONE_FAILED: lambda c: c.failed > 0,",
        ("tests/unit/test_trigger_rule.py", "tests/truth/test_airflow_decisions.py"),
    ),
    Mutant(
        "what is only inferred satisfies nothing",
        "dataforge/model/upstream.py",
        "return self.evidence > Evidence.INFERRED",
        "return self.evidence >= Evidence.INFERRED",
        ("tests/unit/test_readiness.py", "tests/ledger/test_readiness.py"),
    ),
    Mutant(
        "a worker whose lease ran out records nothing",
        "dataforge/dispatch/claim.py",
        "    if lease.expires_at <= now:\n        raise Fenced(",
        "    if lease.expires_at <= now and lease.ending is not None:\n        raise Fenced(",
        ("tests/dispatch/test_claim.py",),
    ),
    Mutant(
        "a claim decides again under the lock",
        "dataforge/dispatch/claim.py",
        "        _require_runnable(verdict, trusted)\n        lease",
        "        lease",
        ("tests/dispatch/test_claim.py",),
    ),
    Mutant(
        "the slots of all leases on a pool are counted",
        "dataforge/storage/lease.py",
        "coalesce(sum(taken.slots) filter",
        "coalesce(max(taken.slots) filter",
        ("tests/dispatch/test_claim.py",),
    ),
    Mutant(
        "a dataset that becomes ready wakes who reads it",
        "dataforge/storage/partition.py",
        "    where node_kind = 'task' or status <> 'running'",
        "    where node_kind = 'task'",
        ("tests/dispatch/test_announce.py",),
    ),
    Mutant(
        "each of several changes at once wakes what lies downstream",
        "dataforge/dispatch/announce.py",
        "        for each in changes\n        if each.change == change",
        "        for each in list(changes)[:-1]\n        if each.change == change",
        ("tests/dispatch/test_announce.py",),
    ),
    Mutant(
        "no state of another environment is read",
        "dataforge/storage/readiness.py",
        f"join partition_state s on s.environment = %(environment)s and {_STATES}",
        f"join partition_state s on {_STATES}",
        ("tests/ledger/test_readiness.py", MACHINE),
    ),
    Mutant(
        "a data interval is half-open",
        "dataforge/model/partition.py",
        "    while begin.at < interval.end:",
        "    while begin.at <= interval.end:",
        ("tests/unit/test_partition.py",),
    ),
    Mutant(
        "a window mapping includes its last window",
        "dataforge/model/mapping.py",
        "step(mine, window, mapping.to).end)",
        "step(mine, window, mapping.to).start)",
        ("tests/unit/test_mapping.py",),
    ),
    Mutant(
        "a run that began later lifts a quarantine",
        "dataforge/storage/partition.py",
        "where said.value = 'true' and (seen.begun is null or said.at >= seen.begun)",
        "where said.value = 'true'",
        ("tests/dispatch/test_control.py",),
    ),
    Mutant(
        "what is written under an alias is the dataset's",
        "dataforge/ledger/settle.py",
        "moved |= partitions.canonical(claimed, names)",
        "moved |= claimed",
        ("tests/ledger/test_declare.py", "tests/dispatch/test_announce.py", MACHINE),
    ),
    Mutant(
        "a loop whose steps add up to nothing is a cycle",
        "dataforge/graph/strict.py",
        "weighed[among] * (size + 1) + 1)",
        "weighed[among] * (size + 1))",
        ("tests/unit/test_strict.py", "tests/ledger/test_declare.py"),
    ),
    Mutant(
        "an input written after the run began makes what it built stale",
        "dataforge/model/freshness.py",
        "now.since <= built.begun:",
        "now.since <= (built.ended_at or built.begun):",
        ("tests/unit/test_freshness.py", "tests/ledger/test_freshness_twin.py"),
    ),
    Mutant(
        "an unchanged version makes nothing stale",
        "dataforge/model/data_version.py",
        'if policy == "run" or not kept or not same(kept[-1], each):',
        "if True:",
        ("tests/ledger/test_freshness_versions.py", "tests/ledger/test_freshness_twin.py"),
    ),
    Mutant(
        "a word that was noted means the success that was there when the run began",
        "dataforge/model/freshness.py",
        "return found is None or found == history[-1]",
        "return True",
        ("tests/ledger/test_freshness_versions.py", "tests/ledger/test_freshness_twin.py"),
    ),
    Mutant(
        "what was built from something stale is stale in turn",
        "dataforge/ledger/staleness.py",
        "changed = {*found.changed.values(), *self._in_turn(place)}",
        "changed = {*found.changed.values()}",
        ("tests/ledger/test_freshness.py", MACHINE),
    ),
    Mutant(
        "an order to run again is carried out by a later run",
        "dataforge/model/control.py",
        "(begun is None or begun < order.at)",
        "(begun is None or begun > order.at)",
        ("tests/dispatch/test_rerun.py",),
    ),
    Mutant(
        "updates are queued from when the last run began",
        "dataforge/model/trigger.py",
        "return awaited.last is not None and (start is None or awaited.last.at > start.began)",
        "return awaited.last is not None",
        ("tests/ledger/test_triggers.py", MACHINE),
    ),
    Mutant(
        "where nobody told when a run began its end stands for it",
        "dataforge/storage/update.py",
        "started_at is null\n        and coalesce(ended_at, 'infinity') <= ",
        "false\n        and coalesce(ended_at, 'infinity') <= ",
        ("tests/ledger/test_triggers.py", MACHINE),
    ),
    Mutant(
        "what is quarantined triggers nothing",
        "dataforge/storage/update.py",
        "and s.partition = w.partition and s.status = 'quarantined')",
        "and s.partition = w.partition and s.status = 'missing')",
        ("tests/ledger/test_quarantine.py", MACHINE),
    ),
    Mutant(
        "a check refuses no data that was made after it",
        "dataforge/storage/partition.py",
        "and not own and at >= coalesce(seen.begun, '-infinity')",
        "and not own",
        ("tests/ledger/test_quarantine.py", MACHINE),
    ),
    Mutant(
        "an event is known by its producer's id",
        "dataforge/ingest/native.py",
        "blake2b(named if shape.id else canonical(document)",
        "blake2b(canonical(document)",
        ("tests/ingest/test_batch.py",),
    ),
    Mutant(
        "a dimension is mapped from the task's own of that name",
        "dataforge/model/mapping.py",
        "    if name in ours.dimensions:\n        return name",
        "    if name in ours.dimensions:\n        return min(ours.dimensions)",
        ("tests/unit/test_mapping.py", MACHINE),
    ),
    Mutant(
        "what was taken off a set is not in it, though it was observed",
        "dataforge/storage/partition_set.py",
        "c.name = '' and c.value = 'false')",
        "c.name = '' and c.value = 'true')",
        ("tests/dispatch/test_partition_set.py", MACHINE),
    ),
    Mutant(
        "what came before the watermark had passed is not late",
        "dataforge/model/stream.py",
        "for each in late if each.said_at > since)",
        "for each in late if each.said_at)",
        ("tests/ledger/test_stream.py", MACHINE),
    ),
    Mutant(
        "a run with shards that nobody has told the end of is no success",
        "dataforge/model/shard.py",
        "tally.counts.failed + tally.counts.missing <= allowed",
        "tally.counts.failed <= allowed",
        ("tests/ledger/test_shards.py", MACHINE),
    ),
    Mutant(
        "what several tasks make is complete with the shares of all of them",
        "dataforge/model/completeness.py",
        'return min(1, shares) if when == "any_producer" else shares',
        "return min(1, shares)",
        ("tests/ledger/test_completeness.py", MACHINE),
    ),
    Mutant(
        "a stage that began before its dataset was written again has to come again",
        "dataforge/model/completeness.py",
        "and _later(each.latest, own)",
        "and _later(own, own)",
        ("tests/ledger/test_completeness.py", MACHINE),
    ),
    Mutant(
        "a producer that was skipped has nothing to bring",
        "dataforge/model/completeness.py",
        "return share.made or share.status is PartitionStatus.SKIPPED",
        "return share.made",
        ("tests/ledger/test_incomplete.py", MACHINE),
    ),
    Mutant(
        "an instance that is cleared leaves what its mapped run had made",
        "dataforge/model/data_version.py",
        "if len(there) == instances and",
        "if len(there) == instances and done + 1 == len(ends) and",
        ("tests/ledger/test_freshness_versions.py",),
    ),
    Mutant(
        "a release lets go nothing of a run that began before it",
        "dataforge/storage/quarantine_order.py",
        "and partition = w.partition and at <= w.moment",
        "and partition = w.partition",
        ("tests/ledger/test_findings_of_quarantine.py",),
    ),
    Mutant(
        "an application is as the run above it ended",
        "dataforge/model/run.py",
        "return parent.state.final or parent.state is RunState.UP_FOR_RETRY",
        "return parent.state.final",
        ("tests/unit/test_run.py", MACHINE),
    ),
    Mutant(
        "of several that were ordered to run again each is waited for",
        "dataforge/ledger/admission.py",
        "return order if ordered or outstanding(",
        "return order if outstanding(",
        ("tests/dispatch/test_rerun.py", MACHINE),
    ),
    Mutant(
        "a daily task brings one share of a day to the days of all clients",
        "dataforge/model/share.py",
        "or time_dimension(dataset) in (None, task) else None",
        "or dataset in (None, task) else None",
        ("tests/unit/test_share.py",),
    ),
    Mutant(
        "a declaration settles what is complete otherwise",
        "dataforge/ledger/production.py",
        " | _differing(before.wholes, after.wholes)",
        "",
        ("tests/ledger/test_production.py",),
    ),
    Mutant(
        "a task without time writes every window in its turn",
        "dataforge/model/share.py",
        "task, dataset, _ended(dataset, key)))",
        "task, dataset, _EVER))",
        ("tests/unit/test_share.py", MACHINE),
    ),
    Mutant(
        "what was only seen to be read and waits in turn is not waited for",
        "dataforge/ledger/turn.py",
        "            if asked in came_from:",
        "            if False:",
        ("tests/ledger/test_turn.py", MACHINE),
    ),
    Mutant(
        "what is declared is waited for, whatever waits in turn",
        "dataforge/ledger/turn.py",
        'need.edge.origin == "observed" and ',
        "",
        ("tests/ledger/test_turn.py", MACHINE),
    ),
    Mutant(
        "a partition that was made opens the loop that it lies on",
        "dataforge/ledger/turn.py",
        "if step in self._missing and step in self._steps",
        "if step in self._steps",
        ("tests/ledger/test_turn.py",),
    ),
    Mutant(
        "a loop that leads back to earlier partitions is no finding",
        "dataforge/storage/finding_cycle.py",
        "where read.earlier\n",
        "where false\n",
        ("tests/ledger/test_findings_of_cycles.py",),
    ),
    Mutant(
        "a name that a dataset stands under is told to the copies of the graph in memory",
        "dataforge/storage/migrations/0031_graph_log.sql",
        "    when (new.environment > 0 and old.canonical_id <> new.canonical_id) execute",
        "    when (false) execute",
        ("tests/ledger/test_graph_log.py",),
    ),
    Mutant(
        "a task that became a step is told to the copies of the graph in memory",
        "dataforge/storage/migrations/0031_graph_log.sql",
        "    when (new.environment > 0 and (old.kind = 'step') <> (new.kind = 'step')) execute",
        "    when (false) execute",
        ("tests/ledger/test_graph_log.py",),
    ),
    Mutant(
        "who is farther behind than the log of the graph reaches reads everything",
        "dataforge/ledger/lineage.py",
        "        if version < here.graph_logged_after:",
        "        if False:",
        ("tests/ledger/test_graph_log.py",),
    ),
)
