"""What duckdb-kql 1.1.2 lacks or gets wrong and a registry row or a macro can mend.

| KQL                              | without this file                                            |
| bin(<timespan>, 5m)              | silently a datetime in 1970; here a timespan                 |
| bin_at(x, size, origin)          | refused                                                      |
| prev, next, row_number, serialize| refused; here windows over the rows in their sorted order    |
| percentiles(x, 50, 95)           | refused; here one column per percentile, named as Kusto does |
| make_bag(x)                      | refused                                                      |

The package keeps its functions as data; the rows below join that data. It is pinned exactly, and
tests/unit/test_log_analytics_kql_extensions.py holds a right answer for each row. Used by the KQL engine only.
"""

import dataclasses
from typing import Any

import duckdb
import duckdb_kql.lower as lowering
import duckdb_kql.translate as translation
from duckdb_kql import KqlUnsupportedError, ir
from duckdb_kql.translate import functions

# DuckDB picks the overload by argument type, which the translator does not know.
_MACROS = (
    """
    CREATE OR REPLACE MACRO kql_bin
        (v TIMESTAMP, r INTERVAL) AS to_timestamp(floor(epoch(v) / epoch(r)) * epoch(r)) AT TIME ZONE 'UTC',
        (v INTERVAL, r INTERVAL) AS to_microseconds(CAST(floor(epoch(v) / epoch(r)) * epoch(r) * 1e6 AS BIGINT))
    """,
    """
    CREATE OR REPLACE MACRO kql_bin_at
        (v TIMESTAMP, r INTERVAL, o TIMESTAMP) AS
            to_timestamp(floor((epoch(v) - epoch(o)) / epoch(r)) * epoch(r) + epoch(o)) AT TIME ZONE 'UTC',
        (v INTERVAL, r INTERVAL, o INTERVAL) AS
            to_microseconds(CAST(
                (floor((epoch(v) - epoch(o)) / epoch(r)) * epoch(r) + epoch(o)) * 1e6 AS BIGINT)),
        (v BIGINT, r BIGINT, o BIGINT) AS CAST(floor((v - o) / r) AS BIGINT) * r + o,
        (v DOUBLE, r DOUBLE, o DOUBLE) AS floor((v - o) / r) * r + o
    """,
)

#: KQL name -> SQL per number of arguments. OVER () keeps the order of a sorted input.
_WINDOWS = {
    "prev": {
        1: "lag({0}) OVER ()",
        2: "lag({0}, CAST({1} AS INTEGER)) OVER ()",
        3: "lag({0}, CAST({1} AS INTEGER), {2}) OVER ()",
    },
    "next": {
        1: "lead({0}) OVER ()",
        2: "lead({0}, CAST({1} AS INTEGER)) OVER ()",
        3: "lead({0}, CAST({1} AS INTEGER), {2}) OVER ()",
    },
    "row_number": {0: "row_number() OVER ()", 1: "(row_number() OVER () + {0} - 1)"},
}

_MAKE_BAG = (
    "coalesce(list_reduce(list(CAST({0} AS JSON)) FILTER (WHERE {0} IS NOT NULL), "
    "lambda bag, more: json_merge_patch(bag, more), '{{}}'::JSON), '{{}}'::JSON)"
)


@dataclasses.dataclass(frozen=True)
class _PerArity(functions.FunctionSpec):
    """A function whose SQL depends on the number of its arguments."""

    templates: tuple[tuple[int, str], ...] = ()

    def render(self, args: list[str]) -> str:
        """Return the SQL of the call."""
        template = dict(self.templates).get(len(args))
        if template is None:
            raise ValueError(f"{self.name}() takes {self.arities} arguments, got {len(args)}")
        return template.format(*args)


def install() -> None:
    """Add the rows to duckdb-kql's registries; safe to repeat."""
    for name, templates in _WINDOWS.items():
        functions.SCALAR_FUNCTIONS[name] = _PerArity(
            name, "template", "", tuple(templates), templates=tuple(templates.items())
        )
    functions.SCALAR_FUNCTIONS["bin_at"] = functions.FunctionSpec(
        "bin_at", "template", "kql_bin_at({0}, {1}, {2})", (3,)
    )
    functions.AGGREGATE_FUNCTIONS["make_bag"] = functions.AggregateSpec("make_bag", _MAKE_BAG, (1,), name_prefix="bag")
    translation._SPECIAL_FORMS["bin"] = translation._SPECIAL_FORMS["floor"] = _render_bin
    lowering._lower_operator = _lower_operator


def create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the macros that the rows call, in the database of the connection."""
    for macro in _MACROS:
        connection.execute(macro)


def _render_bin(node: Any) -> str:
    size = node.args[1] if len(node.args) == 2 else None
    if isinstance(size, ir.Literal) and size.kind == "timespan":
        return f"kql_bin({translation.render_expr(node.args[0])}, {translation.render_expr(size)})"
    return str(translation.render_bin(node, name=node.name.lower()))


_lower_builtin = lowering._lower_operator


def _lower_operator(node: Any) -> Any:
    """Lower `serialize` and, inside `summarize`, `percentiles`; leave the rest to the package."""
    inner = node
    while type(inner).__name__ in ("PipedOperatorContext", "AfterPipeOperatorContext"):
        rules = lowering._rule_children(inner)
        if not rules:
            break
        inner = rules[0]
    if type(lowering._collapse(inner)).__name__ == "SerializeOperatorContext":
        named = tuple(lowering._lower_named(child) for child in lowering._rule_children(inner))
        return ir.Extend(named) if named else None
    operator = _lower_builtin(node)
    if isinstance(operator, ir.Summarize):
        aggregates = [single for named in operator.aggregates for single in _percentiles(named)]
        return dataclasses.replace(operator, aggregates=tuple(aggregates))
    return operator


def _percentiles(named: Any) -> list[Any]:
    """Return `percentiles(x, 50, 95)` as `percentile_x_50 = percentile(x, 50), percentile_x_95 = ...`."""
    call = named.expr
    if not (isinstance(call, ir.FunctionCall) and call.name.lower() == "percentiles"):
        return [named]
    column, *ranks = call.args
    if named.name or not isinstance(column, ir.ColumnRef):
        raise KqlUnsupportedError("percentiles", hint="give it a bare column and no name of its own")
    literals = [rank for rank in ranks if isinstance(rank, ir.Literal)]
    if not ranks or len(literals) != len(ranks):
        raise KqlUnsupportedError("percentiles", hint="the percentiles must be numbers")
    return [
        ir.NamedExpr(
            ir.FunctionCall("percentile", (column, rank)),
            f"percentile_{column.name}_{str(rank.value).replace('.', '_')}",
        )
        for rank in literals
    ]
