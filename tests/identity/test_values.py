"""The CSV of `generate --values`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rmfab.errors import ComplaintsError, InputError
from rmfab.identity.values import ValuesFile, judge_no_values_needed, open_values
from rmfab.product.product import Product
from rmfab.product.vocabulary import Credentials, NodeIdKind

CONFIG = "app,namespace,\nbrightness,data,u8\ngreeting,data,string\nlogo,file,binary\n"


NO_NAME = (
    'values.csv:2: column "node_id": node id "a/b" has characters that are not allowed in an MQTT client id '
    "or thing name"
)


@pytest.fixture
def given(product: Product) -> Product:
    return replace(product, identity=replace(product.identity, node_id=NodeIdKind.VALUES))


def opened(product: Product, content: str | bytes) -> ValuesFile:
    path = product.root / "values.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_values(path, product)


def complaints(product: Product, content: str | bytes) -> list[str]:
    with pytest.raises(InputError) as caught:
        opened(product, content)
    error = caught.value
    every = error.complaints if isinstance(error, ComplaintsError) else (error,)
    return [str(one).replace(f"{product.root}/", "") for one in every]


@pytest.mark.parametrize(
    "content",
    [
        "node_id,serial\nn-1,S1\nn-2,S2\n",
        b"\xef\xbb\xbfnode_id,serial\r\nn-1,S1\r\nn-2,S2\r\n",
        'node_id,serial\n"n-1",S1\n\n   \nn-2,"S2"',
        " node_id , serial \nn-1,S1\nn-2,S2\n",
    ],
)
def test_rows_keep_their_order_and_pairing(given: Product, content: str | bytes) -> None:
    """BOM, CRLF, quotes and blank lines do not matter; rows keep their order and pairing."""
    values = opened(given, content)
    assert (values.count, values.serials, values.node_ids) == (2, True, True)
    assert [(row.serial, row.node_id) for row in values.rows()] == [("S1", "n-1"), ("S2", "n-2")]


def test_warnings_of_changed_numbers(given: Product) -> None:
    """Serials and node ids that a spreadsheet program may have changed are warned about."""
    values = opened(given, "node_id,serial\n1-Feb,0017\nn-2,18\nn-3,19\n")
    assert [warning.text.partition("values.csv")[2] for warning in values.warnings] == [
        ':2: column "node_id": this cell may have been a number, no date',
        ':3: column "serial": this and 1 more cell may have lost leading zeros, which others have',
    ]


def test_columns_in_any_order_with_extra(product: Product, with_extra: Callable[[str], Product]) -> None:
    """Extra columns may be in any order; quoted commas stay in their cell; `file` cells are relative to the config."""
    extra = with_extra(CONFIG)
    (product.root / "csv" / "a.bin").write_bytes(b"\x01\x02")
    values = opened(extra, 'greeting,logo,serial,brightness\n"hello, world",a.bin,S1,200\n')
    row = next(values.rows())
    assert (row.serial, row.node_id) == ("S1", None)
    assert row.extra == (
        ("app", "brightness", "200"),
        ("app", "greeting", "hello, world"),
        ("app", "logo", "0102"),
    )
    assert "hello" not in repr(row)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ["values.csv: the values file is empty"]),
        ("node_id\n", ["values.csv:1: the values file has no rows"]),
        ("node_id,serial\nn,S\n,\n,\n", ["values.csv:3: all cells of this row are blank, and of the next 1"]),
        (
            "serial,node_id\n#S1,n\n",
            ['values.csv:2: column "serial": "#S1" is not a valid serial'],
        ),
        ("node_id;serial\nn;S\n", ["values.csv:1: cells are separated by semicolons"]),
        ("serial\nS1\n", ['values.csv:1: missing column "node_id"']),
        ("node_id,serail\nn,S\n", ['values.csv:1: unknown column "serail"']),
        ("node_id,node_id\nn,m\n", ['values.csv:1: column "node_id" appears 2 times']),
        ("node_id\nn\nm\nn\n", ['values.csv:4: column "node_id": "n" is already on line 2']),
        ("node_id,serial\nn,S\nm,S\n", ['values.csv:3: column "serial": "S" is already on line 2']),
        ("node_id,serial\nn\n", ["values.csv:2: the row has 1 cells, the header has 2"]),
        ("node_id,serial\n,S\nm,\n", ['values.csv:2: column "node_id": the cell is blank',
                                      'values.csv:3: column "serial": the cell is blank']),
        ("node_id,serial\nn,../../x\n", ['values.csv:2: column "serial": "../../x" is not a valid serial']),
        ("node_id,serial\nn,.x\n", ['values.csv:2: column "serial": ".x" is not a valid serial']),
        (f"node_id\n{'x' * 61}\n", [f'values.csv:2: column "node_id": node id "{"x" * 61}" has 61 characters']),
        ("node_id\na/b\n", [NO_NAME]),
        (b"node_id\nn\xff\n", ["values.csv:1: values file is not UTF-8"]),
    ],
)  # fmt: skip
def test_each_fault_is_named(given: Product, content: str | bytes, expected: list[str]) -> None:
    """Every fault names file, line and column."""
    assert complaints(given, content) == expected


def test_a_misspelt_column_is_suggested(given: Product) -> None:
    """The hint for an unknown column is the nearest valid name."""
    with pytest.raises(ComplaintsError) as caught:
        opened(given, "node_id,Serail\nn,S\n")
    assert caught.value.complaints[0].hint == 'did you mean "serial"?'


def test_all_faults_of_extra_columns(product: Product, with_extra: Callable[[str], Product]) -> None:
    """Values that do not fit NVS and missing files are found before anything is made, several at once."""
    extra = with_extra(CONFIG)
    (product.root / "csv" / "a.bin").write_bytes(b"\x01\x02")
    content = "serial,brightness,greeting,logo\nS1,300,hi,a.bin\nS2,12,hi,gone.bin\nS3,x,hi,a.bin\nS4,1,hi,\n"
    found = complaints(extra, content)
    assert [line.split(": ")[0] for line in found] == [f"values.csv:{n}" for n in (2, 3, 4, 5)]
    assert [line.split('"')[1] for line in found] == ["brightness", "logo", "brightness", "logo"]
    assert "gone.bin" in found[1]


def test_a_missing_extra_column(with_extra: Callable[[str], Product]) -> None:
    """Every column of the extra config is required."""
    found = complaints(with_extra(CONFIG), "serial,brightness,greeting\nS1,3,hi\n")
    assert found == ['values.csv:1: there is no column for key "logo"']


def test_a_missing_file(given: Product) -> None:
    """A missing values file is an InputError that names it."""
    with pytest.raises(InputError, match="cannot read the values file"):
        open_values(given.root / "none.csv", given)


def test_a_file_that_changes_is_noticed(given: Product) -> None:
    """The rows of a file that changed after it was judged are not used."""
    values = opened(given, "node_id\nn\n")
    values.path.write_text("node_id\nm\n")
    with pytest.raises(InputError, match="changed while it was in use"):
        next(values.rows())


def test_too_many_faults_stop_early(given: Product) -> None:
    """After 20 complaints reading stops, so that a wrong file of a million rows is rejected at once."""
    assert len(complaints(given, "node_id\n" + "a/b\n" * 1000)) == 20


def test_claimed_units_have_no_given_node_id(product: Product) -> None:
    """Node ids for units that use self or assisted claiming are rejected."""
    claim = replace(product, identity=replace(product.identity, credentials=Credentials.CLOUD_CLAIM))
    assert complaints(claim, "node_id\nn\n") == [
        "values.csv:1: unexpected column of node ids: self or assisted claiming assigns them"
    ]


def test_when_a_values_file_is_needed(
    product: Product, given: Product, with_extra: Callable[[str], Product], tmp_path: Path
) -> None:
    """Node ids of kind `values`, and an extra config with columns, require a values file; a plain product does not."""
    judge_no_values_needed(product)
    with pytest.raises(InputError, match="node ids"):
        judge_no_values_needed(given)
    with pytest.raises(InputError, match="extra config") as caught:
        judge_no_values_needed(with_extra(CONFIG))
    assert "brightness, greeting, logo" in str(caught.value.hint)


def test_files_outside(product: Product, with_extra: Callable[[str], Product]) -> None:
    """Files may be in the folder of the config, in that of the values file, and in allowed ones."""
    extra = with_extra("app,namespace,\nlogo,file,binary\n")
    (product.root / "keys").mkdir(exist_ok=True)
    for name in ("csv/a", "b", "keys/c"):
        (product.root / name).write_bytes(name.encode())
    (product.root / "orders").mkdir()
    path = product.root / "orders" / "values.csv"
    path.write_text("logo\na\n../keys/c\n")
    with pytest.raises(InputError, match=r'values.csv:3: column "logo": "../keys/c" is outside') as caught:
        open_values(path, extra)
    assert caught.value.cause == "file-outside"
    allowed = open_values(path, extra, [product.root / "keys"])
    assert [bytes.fromhex(row.extra[0][2]) for row in allowed.rows()] == [b"csv/a", b"keys/c"]
