"""Where the bytes of an event lie: of each table its rows, their bytes, and those of each of its indexes."""

from collections.abc import Mapping

import msgspec

from dataforge.storage.database import Database

# The rows with all that belongs to them but indexes; parts of a table by months or weeks are one. Statistics of what a
# session has done are told to others when it says so.
FLUSH = "select pg_stat_force_next_flush()"
PARTS = """
select coalesce(parent.relname, t.relname), i.name, sum(i.size), sum(case when i.name = '' then s.n_tup_ins end)
from pg_class t
left join pg_inherits h on h.inhrelid = t.oid
left join pg_class parent on parent.oid = h.inhparent
left join pg_stat_user_tables s on s.relid = t.oid
cross join lateral (
    select '' as name, pg_total_relation_size(t.oid) - pg_indexes_size(t.oid) as size
    union all
    select coalesce(above.relname, own.relname), pg_total_relation_size(own.oid)
    from pg_index x join pg_class own on own.oid = x.indexrelid
    left join pg_inherits a on a.inhrelid = own.oid
    left join pg_class above on above.oid = a.inhparent
    where x.indrelid = t.oid
) i
where t.relnamespace = 'public'::regnamespace and t.relkind = 'r'
group by 1, 2
"""


class Part(msgspec.Struct, frozen=True):
    """A table, or how it has grown."""

    inserted: float  # rows
    rows: float  # bytes
    indexes: Mapping[str, float]  # bytes

    @property
    def whole(self) -> float:
        return self.rows + sum(self.indexes.values())

    def grown(self, before: "Part | None", events: int) -> "Part":
        """What an event has added since then."""
        known = before or Part(0, 0, {})
        return Part(
            (self.inserted - known.inserted) / events,
            (self.rows - known.rows) / events,
            {name: (size - known.indexes.get(name, 0)) / events for name, size in self.indexes.items()},
        )


def parts(database: Database) -> dict[str, Part]:
    """Every table, by its name."""
    with database.transaction() as connection:  # the session that has recorded: a pool hands out the last one used
        connection.execute(FLUSH)
    with database.transaction() as connection:
        found = connection.execute(PARTS.encode()).fetchall()
    sizes: dict[str, dict[str, float]] = {}
    inserted: dict[str, float] = {}
    for table, index, size, rows in found:
        sizes.setdefault(table, {})[index] = float(size)
        inserted[table] = inserted.get(table, 0.0) + float(rows or 0)
    return {
        table: Part(inserted[table], each[""], {name: size for name, size in each.items() if name})
        for table, each in sizes.items()
    }


def shown(grown: Mapping[str, Part], least: float) -> str:
    """A table of what takes at least so many bytes an event, the largest first."""
    lines = ["| table, index | rows an event | bytes an event |", "|---|---|---|"]
    for table, part in sorted(grown.items(), key=lambda each: -each[1].whole):
        if part.whole >= least:
            lines.append(f"| `{table}` | {part.inserted:.2f} | {part.whole:.0f}, rows {part.rows:.0f} |")
            sizes = sorted(part.indexes.items(), key=lambda each: -each[1])
            lines += [f"| . `{name}` | | {size:.0f} |" for name, size in sizes if size >= 1]
    return "\n".join(lines)
