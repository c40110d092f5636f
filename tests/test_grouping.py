"""Columns by whose values metrics are grouped."""

from elman.data.table import Table
from elman.metrics.grouping import grouped, grouping_columns


def table(**columns):
    return Table("t", columns, list(range(200)))


FEW, MANY, HOLES = ["a", "b"] * 100, [str(k) for k in range(200)], ["a", None] * 100


def test_columns_that_divide_rows_into_few_groups_are_found():
    assert grouping_columns(table(kind=FEW, pair=MANY), [], "kind", "pair") == {"kind": "kind"}
    assert grouping_columns(table(kind=FEW), ["kind"], "kind", "pair") == {}
    assert grouping_columns(table(kind=HOLES), [], "kind") == {}


def test_rows_are_grouped_by_their_value_where_there_are_several():
    assert grouped(table(kind=FEW), "kind", [0, 1, 2]) == {"a": [0, 2], "b": [1]}
    assert grouped(table(kind=FEW), "kind", [0, 2]) == {}
    assert grouped(table(kind=FEW), "pair", [0, 1]) == {}
