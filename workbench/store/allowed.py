"""What SQL typed by a visitor may hold: one SELECT over the lab's tables and views, and nothing that is not named here.

DuckDB parses the question and gives its tree as JSON; every node of it is looked at. Tables are those of the lab or
names that a WITH around them gives; functions are those listed below; whatever is not known is refused.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

import duckdb

from workbench.errors import StoreError, UnknownName
from workbench.store.views import RELATIONS

LONGEST = 20_000
"""Characters of a question."""

TABLES = frozenset(relation.name for relation in RELATIONS)

TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})

_FUNCTIONS = """
    + - * / // % ** ^ || | & ~ << >> @ ->> && @> <@ <-> <=> ^@ ~~ !~~ ~~* !~~* ~~~

    any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null arg_min arg_min_null
    argmax argmin array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count count_if count_star countif
    covar_pop covar_samp entropy favg first fsum geomean geometric_mean group_concat histogram kurtosis kurtosis_pop
    last list listagg mad max max_by mean median min min_by mode product quantile quantile_cont quantile_disc
    regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy reservoir_quantile sem
    skewness stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance wavg weighted_avg

    cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank rank_dense row_number

    abs acos acosh asin asinh atan atan2 atanh bit_count cbrt ceil ceiling cos cosh cot degrees even exp factorial fdiv
    floor fmod gamma gcd greatest greatest_common_divisor isfinite isinf isnan lcm least least_common_multiple lgamma
    ln log log10 log2 mod nextafter pi pow power radians random round round_even sign signbit sin sinh sqrt tan tanh
    trunc xor

    array_to_string ascii bar bin bit_length char_length character_length chr concat concat_ws contains
    damerau_levenshtein editdist3 ends_with format format_bytes from_base64 from_hex hamming hash hex instr jaccard
    jaro_similarity jaro_winkler_similarity lcase left left_grapheme len length length_grapheme levenshtein lower lpad
    ltrim md5 mismatches nfc_normalize nullif octet_length ord position prefix printf regexp_escape regexp_extract
    regexp_extract_all regexp_full_match regexp_matches regexp_replace regexp_split_to_array repeat replace reverse
    right right_grapheme rpad rtrim sha1 sha256 split split_part starts_with str_split str_split_regex string_split
    string_split_regex string_to_array strip_accents strlen strpos substr substring substring_grapheme suffix to_base
    to_base64 to_hex translate trim ucase unhex unicode upper url_decode url_encode

    age ago century current_date current_localtime current_localtimestamp date_add date_diff date_part date_sub
    date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek dayofyear days_in_month decade
    epoch epoch_ms epoch_ns epoch_us era get_current_time get_current_timestamp hour isodow isoyear julian last_day
    make_date make_time make_timestamp microsecond millennium millisecond minute month monthname nanosecond now
    quarter second strftime strptime time_bucket to_centuries to_days to_decades to_hours to_microseconds to_millennia
    to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp to_weeks to_years today
    transaction_timestamp try_strptime uuid_extract_timestamp week weekday weekofyear year yearweek

    aggregate apply array_append array_aggr array_aggregate array_apply array_cat array_concat array_contains
    array_distinct array_extract array_filter array_has array_has_all array_has_any array_indexof array_intersect
    array_length array_pop_back array_pop_front array_position array_prepend array_push_back array_push_front
    array_reduce array_resize array_reverse array_reverse_sort array_select array_slice array_sort array_transform
    array_unique array_value array_where array_zip cardinality element_at equi_width_bins filter flatten
    generate_series generate_subscripts grade_up list_aggr list_aggregate list_any_value list_append list_apply
    list_approx_count_distinct list_avg list_bit_and list_bit_or list_bit_xor list_bool_and list_bool_or list_cat
    list_concat list_contains list_cosine_distance list_cosine_similarity list_count list_distance list_distinct
    list_dot_product list_element list_entropy list_extract list_filter list_first list_grade_up list_has list_has_all
    list_has_any list_histogram list_indexof list_inner_product list_intersect list_kurtosis list_kurtosis_pop
    list_last list_mad list_max list_median list_min list_mode list_pack list_position list_prepend list_product
    list_reduce list_resize list_reverse list_reverse_sort list_select list_sem list_skewness list_slice list_sort
    list_stddev_pop list_stddev_samp list_string_agg list_sum list_transform list_unique list_value list_var_pop
    list_var_samp list_where list_zip map map_concat map_contains map_entries map_extract map_extract_value
    map_from_entries map_keys map_values range reduce row struct_concat struct_extract struct_extract_at struct_insert
    struct_keys struct_pack struct_update struct_values unnest

    array_to_json from_json from_json_strict json json_array json_array_length json_contains json_exists json_extract
    json_extract_path json_extract_path_text json_extract_string json_group_array json_group_object json_keys
    json_merge_patch json_object json_pretty json_quote json_structure json_transform json_transform_strict json_type
    json_valid json_value row_to_json to_json

    typeof
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
"""None of them reads a file, a setting, the catalog or another query; none writes or waits."""

_NODES = frozenset(
    ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE")
    + ("BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT")
    + ("ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER")
    + ("ORDER_DEFAULT", "ASCENDING", "DESCENDING")
    + ("DECIMAL_TYPE_INFO", "STRUCT_TYPE_INFO", "LIST_TYPE_INFO", "ARRAY_TYPE_INFO", "STRING_TYPE_INFO")
    + ("UNBOUND_TYPE_INFO", "EXTENSION_TYPE_INFO")
)

_EXPRESSIONS = frozenset(
    ("STAR", "COLUMN_REF", "POSITIONAL_REFERENCE", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "BETWEEN")
    + ("CASE", "CAST", "COLLATE", "FUNCTION", "WINDOW", "SUBQUERY", "LAMBDA", "LAMBDA_REF", "TYPE")
)

_WORD = re.compile(r"(?!(duckdb|pg|pragma|sqlite)_|__)[a-z_][a-z0-9_]*", re.ASCII | re.IGNORECASE)
"""A name that WITH may give: none that DuckDB has a table of its own for, should a scope ever be read otherwise."""

_ADVICE = {
    "PARAMETER": "a parameter ($name or ?) has no value here; write the value itself",
    "SHOW_REF": "DESCRIBE, SHOW and SUMMARIZE are not answered here; the list of tables says what each column means",
}

Scope = frozenset[str]
"""Names that the WITHs around give, in lower case."""


def check(parser: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Nothing, where `sql` may be asked.

    Args:
        parser: any connection; nothing of `sql` runs on it.

    Raises:
        UnknownName: a table or function that is not among those allowed; says the nearest.
        StoreError: not SQL, not one SELECT, or something in it is not allowed here.
    """
    if len(sql) > LONGEST:
        raise StoreError(f"a question has at most {LONGEST:,} characters, and this has {len(sql):,}")
    try:
        tree = json.loads(parser.execute("select json_serialize_sql(?)", [sql]).fetchall()[0][0])
        _check_is_select(tree)
        _walk(tree["statements"][0]["node"], frozenset())
    except duckdb.Error as error:
        raise StoreError(f"this is not SQL that DuckDB understands: {error}") from error
    except RecursionError as error:
        raise StoreError("this question is nested too deeply; take it apart with WITH") from error


def _check_is_select(tree: Mapping[str, Any]) -> None:
    if tree["error"] and tree["error_type"] == "not implemented":
        raise StoreError(
            "only a SELECT (or WITH, FROM, VALUES) is answered here: nothing that changes, sets, loads or explains. "
            "PIVOT takes its values from a list: pivot scores on part in ('a', 'b') using avg(value)"
        )
    if tree["error"]:
        raise StoreError(f"this is not SQL that DuckDB understands: {tree['error_message']}")
    if len(tree["statements"]) != 1:
        raise StoreError(f"one question at a time: this has {len(tree['statements'])} statements")


# ---------------------------------------------------------------- the tree


def _walk(node: Any, scope: Scope) -> None:
    if isinstance(node, list):
        for item in node:
            _walk(item, scope)
    elif isinstance(node, dict):
        _check_kind(node)
        kind = node.get("class") or node.get("type")
        if isinstance(kind, str) and kind in _LOOKED_AT:
            _LOOKED_AT[kind](node, scope)
        else:
            _walk_children(node, scope)


def _walk_children(node: Mapping[str, Any], scope: Scope) -> None:
    if "cte_map" in node:
        scope = _with_names(node["cte_map"]["map"], scope)
    for name, child in node.items():
        if name != "cte_map":
            _walk(child, scope)


def _check_kind(node: Mapping[str, Any]) -> None:
    """Refuse a node of a kind that is not listed. Types of values are dicts: not a kind."""
    kind, allowed = (node["class"], _EXPRESSIONS) if "class" in node else (node.get("type"), _NODES)
    if isinstance(kind, str) and kind not in allowed:
        advice = _ADVICE.get(kind, f"{kind.lower().replace('_', ' ')} is not among what may be asked")
        raise StoreError(f"this cannot be asked here: {advice}")


def _with_names(pairs: list[dict[str, Any]], scope: Scope) -> Scope:
    """The scope that a WITH makes. Each of its names is seen by those after it, as DuckDB has it."""
    for pair in pairs:
        name, query = pair["key"], pair["value"]["query"]["node"]
        if not _WORD.fullmatch(name):
            raise StoreError(
                f"a name given by WITH is made of letters, digits and _, and begins with none of duckdb_, pg_, "
                f"pragma_, sqlite_ and __; this is {name!r}"
            )
        _walk({key: value for key, value in pair["value"].items() if key != "query"}, scope)
        if query["type"] == "RECURSIVE_CTE_NODE":
            _walk_recursive(query, name.lower(), scope)
        else:
            _walk(query, scope)
        scope |= {name.lower()}
    return scope


def _walk_recursive(query: Mapping[str, Any], name: str, scope: Scope) -> None:
    """Only the part after UNION sees the name that is being made."""
    if query["cte_name"].lower() != name:
        raise StoreError(f"WITH RECURSIVE makes {name!r} out of {query['cte_name']!r}, which is not understood here")
    inner = _with_names(query["cte_map"]["map"], scope)
    for part, child in query.items():
        if part != "cte_map":
            _walk(child, inner | {name} if part == "right" else inner)


def _check_table(node: Mapping[str, Any], scope: Scope) -> None:
    place, name = (node["catalog_name"], node["schema_name"]), node["table_name"]
    if node["at_clause"] is not None:
        raise StoreError("AT (VERSION or TIMESTAMP) is not answered here; the tables *_log and edits hold all versions")
    if not (place == ("", "") and name.lower() in scope) and not (
        place in (("", ""), ("", "main"), ("lake", "main"), ("", "lake")) and name.lower() in TABLES
    ):
        told = ".".join(part for part in (*place, name) if part)
        raise UnknownName.among("table", told, TABLES | scope, where="what can be asked")
    _walk_children(node, scope)


def _check_function(node: Mapping[str, Any], scope: Scope) -> None:
    name = node["function_name"]
    if node["schema"] not in ("", "main") or node["catalog"] not in ("", "system") or name.lower() not in FUNCTIONS:
        told = ".".join(part for part in (node["catalog"], node["schema"].removeprefix("main"), name) if part)
        near = difflib.get_close_matches(name.lower(), FUNCTIONS, n=1)
        raise UnknownName(
            f"function {told!r} is not among those that may be asked here."
            + (f" Did you mean {near[0]!r}?" if near else "")
        )
    _walk_children(node, scope)


def _check_table_function(node: Mapping[str, Any], scope: Scope) -> None:
    name = str(node["function"].get("function_name", "?"))
    if name.lower() not in TABLE_FUNCTIONS:
        known = sorted(TABLE_FUNCTIONS)
        raise UnknownName.among("table function", name, known, where="what can be asked")
    _walk_children(node, scope)


def _check_pivot(node: Mapping[str, Any], scope: Scope) -> None:
    if any(pivot["pivot_enum"] for pivot in node["pivots"]):
        raise StoreError("PIVOT takes its values from a list here: pivot t on part in ('a', 'b') using avg(value)")
    _walk_children(node, scope)


def _check_type(node: Mapping[str, Any], scope: Scope) -> None:
    if any(node.get(part) for part in ("catalog", "schema")):
        raise StoreError(f"a type goes by its own name here, without a schema: {node.get('name')!r}")
    _walk_children(node, scope)


_LOOKED_AT = {
    "CONSTANT": lambda node, scope: None,  # data, whatever it looks like
    "BASE_TABLE": _check_table,
    "TABLE_FUNCTION": _check_table_function,
    "FUNCTION": _check_function,
    "WINDOW": _check_function,
    "PIVOT": _check_pivot,
    "UNBOUND_TYPE_INFO": _check_type,
    "TYPE": _check_type,
}
