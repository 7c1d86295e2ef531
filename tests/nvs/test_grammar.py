"""Config and values CSVs: the dialects that spreadsheet programs save, and complaints with their lines."""

from pathlib import Path

import pytest

from rmfab.errors import ComplaintsError, InputError
from rmfab.nvs.csv_dialect import MAX_COMPLAINTS
from rmfab.nvs.encoding import RowEncoder
from rmfab.nvs.grammar import Column, Encoding, Source, parse_config, read_values
from rmfab.nvs.named_files import NamedFiles
from rmfab.nvs.table import Entry, EntryKind, Namespace

CONFIG = "ns,namespace,\nid,data,string\nn,data,u8\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str | bytes) -> Path:
    path = Path(name)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def config_of(text: str | bytes):
    return parse_config(write("config.csv", text))


def values_of(config: str, values: str | bytes):
    return read_values(config_of(config), write("values.csv", values))


def entries_of(config: str, values: str | bytes) -> list[list[Entry]]:
    sheet = values_of(config, values)
    encoder = RowEncoder(sheet.config, sheet.path, NamedFiles(Path(), [Path()]))
    return [encoder.entries(row) for row in sheet]


def value_of(line: str, cell: str) -> int | str | bytes:
    """Return the value of one cell under a config line."""
    quoted = '"' + cell.replace('"', '""') + '"'
    return entries_of(f"ns,namespace,\n{line}\n", f"{line.split(',')[0]}\n{quoted}\n")[0][0].value


def complaints_of(make) -> list[str]:
    with pytest.raises(InputError) as caught:
        make()
    error = caught.value
    return [str(one) for one in getattr(error, "complaints", (error,))]


def test_config(folder):
    """A config has namespaces and columns in order, with type, encoding, REPEAT and line."""
    config = config_of("a,namespace,\nx,data,u8\ny,file,binary,REPEAT\nb,namespace,\nx,data,i16\n")
    assert config.rows == (
        Namespace("a"),
        Column("a", "x", Source.DATA, Encoding.U8, repeat=False, line=2),
        Column("a", "y", Source.FILE, Encoding.BINARY, repeat=True, line=3),
        Namespace("b"),
        Column("b", "x", Source.DATA, Encoding.I16, repeat=False, line=5),
    )


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfns,namespace,\nid,data,string\nn,data,u8\n",
        b"ns,namespace,\r\nid,data,string\r\nn,data,u8\r\n",
        b"# a comment\n\nns,namespace,\n  \nid,data,string\n# another, with commas\nn,data,u8",
        b" ns , namespace , \n id,data , string\nn, data,u8 \n",
        b"ns,namespace,,,\nid,data,string,,\nn,data,u8,,\n",
        b"ns,namespace\nid,data,string\nn,data,u8\n",
        b'"ns","namespace",""\n"id","data","string"\n"n","data","u8"\n',
    ],
    ids=["bom", "crlf", "blank and comment lines", "spaces", "padded", "short namespace", "quoted"],
)
def test_config_dialects(folder, text):
    """A config has the same columns in every dialect."""
    plain = config_of(CONFIG)
    other = config_of(text)
    assert [(c.key, c.source, c.encoding) for c in other.columns] == [
        (c.key, c.source, c.encoding) for c in plain.columns
    ]


def test_keys_named_like_words(folder):
    """Keys may be named namespace, REPEAT, data or file."""
    words = ("namespace", "REPEAT", "data", "file")
    config = "namespace,namespace,\n" + "".join(f"{word},data,string\n" for word in words)
    (entries,) = entries_of(config, f"{','.join(words)}\nREPEAT,namespace,file,data\n")
    assert [(entry.key, entry.value) for entry in entries] == [
        ("namespace", "REPEAT"),
        ("REPEAT", "namespace"),
        ("data", "file"),
        ("file", "data"),
    ]


CONFIG_COMPLAINTS = [
    ("ns,namespace,\nk,dta,u8\n", 2, '"dta" is not a type', 'did you mean "data"?'),
    ("ns,namespace,\nk,data,u9\n", 2, '"u9" is not an encoding', "encodings: string, binary"),
    ("ns,namespace,\nk,data,String\n", 2, '"String" is not an encoding', 'did you mean "string"?'),
    ("ns,namespace,\nk,data\n", 2, '"" is not an encoding', "encodings: string"),
    ("ns,namespace,\nk\n", 2, "1 cells", None),
    ("ns,namespace,\nk,data,u8,REPAT\n", 2, '"REPAT" found, expected REPEAT or nothing', None),
    ("ns,namespace,\nk,data,u8,REPEAT,x\n", 2, "5 cells", None),
    ("k,data,u8\n", 1, 'key "k" has no namespace', "start with"),
    ("ns,namespace,\nk,data,u8\nk,data,u8\n", 3, "in this namespace, first on line 2", None),
    ("a,namespace,\nk,data,u8\nb,namespace,\na,namespace,\nk,data,u8\n", 5, "first on line 2", None),
    ("ns,namespace,\nsixteen_letters_,data,u8\n", 2, "16 characters", None),
    ("ns,namespace,\n,data,u8\n", 2, "is empty", None),
    ("ns,namespace,\nk\u00e4y,data,u8\n", 2, "not printable ASCII", None),
    ("a_namespace_name,namespace,\nk,data,u8\n", 1, "16 characters", None),
    ("ns,namespace,u8\nk,data,u8\n", 1, "no encoding or value", None),
    ("ns;namespace;\nk;data;u8\n", 1, "semicolons", "save the file with commas"),
    ("key,type,encoding\nns,namespace,\nk,data,u8\n", 1, "unexpected header", "remove it"),
    ("", 1, "the config has no keys", None),
    ("ns,namespace,\n", 1, "the config has no keys", None),
    ('ns,namespace,\nk,data,"u8\n', 2, "not valid CSV", "double quotes"),
]


@pytest.mark.parametrize(("text", "line", "what", "hint"), CONFIG_COMPLAINTS)
def test_config_complaints(folder, text, line, what, hint):
    """A complaint about a config has file and line, and a hint if there is one."""
    with pytest.raises(InputError) as caught:
        config_of(text)
    assert caught.value.where == f"config.csv:{line}"
    assert what in str(caught.value)
    assert hint is None or hint in (caught.value.hint or "")


def test_all_complaints_at_once(folder):
    """All complaints about a config are raised at once, sorted by line, at most 20."""
    found = complaints_of(lambda: config_of("ns,namespace,\nk,dta,u8\nl,data,u9\nm,data,u8,X\n"))
    assert [text.split(": ")[0] for text in found] == ["config.csv:2", "config.csv:3", "config.csv:4"]
    many = complaints_of(lambda: config_of("ns,namespace,\n" + "k,bad,u8\n" * 1000))
    assert len(many) == MAX_COMPLAINTS


def test_missing_files(folder):
    """The error names a file that is missing, a folder, or not UTF-8."""
    assert "absent.csv" in complaints_of(lambda: parse_config(Path("absent.csv")))[0]
    Path("folder.csv").mkdir()
    assert "folder.csv" in complaints_of(lambda: parse_config(Path("folder.csv")))[0]
    assert "not UTF-8" in complaints_of(lambda: config_of("ns,namespace,\nk,data,u8\n".encode("utf-16")))[0]


@pytest.mark.parametrize(
    "text",
    [
        b"id,n\nx,1\ny,2\n",
        b"\xef\xbb\xbfid,n\r\nx,1\r\ny,2\r\n",
        b"n,id\n1,x\n2,y",
        b"note,id,place,n\nfirst,x,here,1\n,y,,2\n",
        b"\nid,n\n\nx,1\n  \n\ny,2\n\n",
        b' id , n\n"x","1"\n"y"," 2 "\n',
    ],
    ids=["plain", "bom and crlf", "other order", "metadata", "blank lines", "quoted"],
)
def test_values_dialects(folder, text):
    """Values give the same entries in every dialect and any order of columns."""
    assert entries_of(CONFIG, text) == [
        [Entry("ns", "id", EntryKind.STRING, "x"), Entry("ns", "n", EntryKind.U8, 1)],
        [Entry("ns", "id", EntryKind.STRING, "y"), Entry("ns", "n", EntryKind.U8, 2)],
    ]


def test_quoted_cells(folder):
    """A quoted cell keeps commas, quotes, blank lines and comment-like lines; its line endings become newlines."""
    text = 'id,n\n"a,""b""\n\n# no comment\r\nc",7\nplain,8\n'
    sheet = values_of(CONFIG, text)
    rows = list(sheet)
    assert rows[0].cells == ('a,"b"\n\n# no comment\nc', "7")
    assert [row.line for row in rows] == [2, 6]


def test_records_keep_metadata(folder):
    """A row keeps its whole record, so any column can be used for file names."""
    sheet = values_of(CONFIG, "note,id,n\nhello,x,1\n")
    (row,) = sheet
    assert row.record[sheet.place("note")] == "hello"
    with pytest.raises(InputError, match='no column "nota"') as caught:
        sheet.place("nota")
    assert caught.value.hint == 'did you mean "note"?'


def test_cell_that_equals_a_key(folder):
    """A cell may equal the name of a key."""
    (entries,) = entries_of("ns,namespace,\na,data,string\nb,data,string\n", "m,a,b\nb,b,a\n")
    assert [entry.value for entry in entries] == ["b", "a"]


def test_same_key_in_two_namespaces(folder):
    """A key of two namespaces has two columns, in the order of the config."""
    config = "a,namespace,\nk,data,u8\nb,namespace,\nk,data,u8\n"
    (entries,) = entries_of(config, "k,k\n1,2\n")
    assert [(entry.namespace, entry.value) for entry in entries] == [("a", 1), ("b", 2)]
    assert "needs as many columns" in complaints_of(lambda: values_of(config, "k\n1\n"))[0]


def test_repeat(folder):
    """Blank cells of a REPEAT column get the value of the first row; a different value is rejected."""
    config = "ns,namespace,\nn,data,u8,REPEAT\nid,data,string\n"
    rows = entries_of(config, "n,id\n7,x\n,y\n7,z\n")
    assert [row[0].value for row in rows] == [7, 7, 7]
    found = complaints_of(lambda: entries_of(config, "n,id\n7,x\n8,y\n"))
    assert found == ['values.csv:3: column "n": the value differs from the first one of this REPEAT column']


VALUES_COMPLAINTS = [
    ("", "values.csv", "is empty"),
    ("id,n\n", "values.csv:1", "the values file has no rows"),
    ("id;n\nx;1\n", "values.csv:1", "semicolons"),
    ("id\tn\nx\t1\n", "values.csv:1", "tabs"),
    ("id,m\nx,1\n", "values.csv:1", 'no column for key "n"'),
    ("id,n,n\nx,1,1\n", "values.csv:1", 'there are 2 columns "n", but the config has 1'),
    ("id,n\nx,1\ny\n", "values.csv:3", "the row has 1 cells, the header has 2"),
    ("id,n\nx,1,2\n", "values.csv:2", "the row has 3 cells"),
    ("id,n\nx;1\n", "values.csv:2", "the row has 1 cells"),
    ('id,n\nx,"1\n', "values.csv:2", "not valid CSV"),
    (b"id,n\nx,1\n\xff,2\n", "values.csv:", "not UTF-8"),
    ("id,n\nx,256\n", "values.csv:2", 'column "n": value of u8 "n" is not in the range 0 … 255'),
    ("id,n\nx,-1\n", "values.csv:2", "is not in the range"),
    ("id,n\nx,one\n", "values.csv:2", 'column "n": not an integer'),
    ("id,n\nx,0x10\n", "values.csv:2", "not an integer"),
    ("id,n\nx,\n", "values.csv:2", "the integer is missing"),
    ("id,n\na\0b,1\n", "values.csv:2", "contains a NUL"),
    ("id,n\nx,2.02408E+11\n", "values.csv:2", "not an integer"),
    ("id,n\nx,1\n# half way\n", "values.csv:3", "the row has 1 cells"),
    ("# made by hand\nid,n\nx,1\n", "values.csv:1", "this header has none of the keys"),
    ("id,n\nx,1\n,\n", "values.csv:3", "all cells of this row are blank"),
    ("id,n\nx,1\n , \n,\n,\ny,2\n", "values.csv:3", "all cells of this row are blank, and of the next 2"),
    ("id,n\nx,1\n,,,\n", "values.csv:3", "all cells of this row are blank"),
    ("id,n\n,\n", "values.csv:2", "all cells of this row are blank"),
]


@pytest.mark.parametrize(("text", "where", "what"), VALUES_COMPLAINTS)
def test_values_complaints(folder, text, where, what):
    """A complaint about values has file, line and column."""
    found = complaints_of(lambda: entries_of(CONFIG, text))
    assert found[0].startswith(where)
    assert what in found[0]


def test_every_row_is_a_device(folder):
    """A first cell may begin with #, also in a file of one column, where it may be blank in quotes as well."""
    rows = entries_of(CONFIG, "id,n\n#ff0000,1\n#,2\n")
    assert [row[0].value for row in rows] == ["#ff0000", "#"]
    rows = entries_of("ns,namespace,\nc,data,string\n", "#,c\n#1,red\n#2,\n")
    assert [row[0].value for row in rows] == ["red", ""]
    rows = entries_of("ns,namespace,\nc,data,string\n", 'c\n#ff0000\n""\n#00ff00')
    assert [row[0].value for row in rows] == ["#ff0000", "", "#00ff00"]


def test_blank_rows_are_one_complaint_per_run(folder):
    """A thousand blank rows do not hide the other complaints."""
    found = complaints_of(lambda: entries_of(CONFIG, "id,n\nx,1\ny\n" + ",\n" * 1000 + "z\n,\n"))
    assert [text.split(":")[1] for text in found] == ["3", "4", "1004", "1005"]


@pytest.mark.parametrize(("encoding", "cell"), [("u64", "2.02408E+11"), ("hex2bin", "1.2E+46")])
def test_rounded_numbers_get_the_hint(folder, encoding, cell):
    """A number that a spreadsheet program rounded is an error with the reason in its hint."""
    with pytest.raises(InputError) as caught:
        value_of(f"k,data,{encoding}", cell)
    assert "as text" in (caught.value.hint or "")


def test_misspelt_column_is_suggested(folder):
    """A header that lacks a key suggests a column with a similar name."""
    with pytest.raises(ComplaintsError) as caught:
        values_of(CONFIG, "id,N\nx,1\n")
    assert caught.value.hint == 'did you mean "N"?'


@pytest.mark.parametrize(
    ("line", "cell", "value"),
    [
        ("k,data,u8", "255", 255),
        ("k,data,i8", "-128", -128),
        ("k,data,i16", "-32768", -32768),
        ("k,data,u16", "65535", 65535),
        ("k,data,i32", "-2147483648", -(2**31)),
        ("k,data,u32", " 4294967295 ", 2**32 - 1),
        ("k,data,i64", "-9223372036854775808", -(2**63)),
        ("k,data,u64", "18446744073709551615", 2**64 - 1),
        ("k,data,string", " kept as is ", " kept as is "),
        ("k,data,string", "", ""),
        ("k,data,string", 'naïve, "quoted"\nlines', 'naïve, "quoted"\nlines'),
        ("k,data,binary", "naïve", "naïve".encode()),
        ("k,data,hex2bin", "00ffAb", b"\x00\xff\xab"),
        ("k,data,hex2bin", " 00ff ", b"\x00\xff"),
        ("k,data,hex2bin", "", b""),
        ("k,data,base64", "MTIzYWJj", b"123abc"),
        ("k,data,base64", "MTIz\nYWJj", b"123abc"),
    ],
)
def test_cells(folder, line, cell, value):
    """Each encoding accepts its values."""
    assert value_of(line, cell) == value


@pytest.mark.parametrize(
    ("encoding", "content", "value"),
    [
        ("string", "text ä".encode(), "text ä"),
        ("binary", bytes(range(256)), bytes(range(256))),
        ("hex2bin", b"0a0B\n", b"\x0a\x0b"),
        ("base64", b"MTIz\nYWJj\n", b"123abc"),
        ("u16", b"500\n", 500),
    ],
)
def test_files(folder, encoding, content, value):
    """A file is read as a whole, and decoded like a cell."""
    write("content", content)
    assert value_of(f"k,file,{encoding}", "content") == value


@pytest.mark.parametrize(
    ("line", "cell", "what"),
    [
        ("k,data,hex2bin", "abc", "odd number of hex digits"),
        ("k,data,hex2bin", "0xff", "not a hex digit"),
        ("k,data,hex2bin", "00 ff", "odd number|not a hex digit"),
        ("k,data,base64", "MTIz!WJj", "invalid base64"),
        ("k,data,base64", "MTI", "invalid base64"),
        ("k,data,base64", "MQ==MQ==", "invalid base64"),
        ("k,data,string", "x" * 4000, "4000 bytes"),
        ("k,file,binary", "absent.bin", "absent.bin"),
        ("k,file,binary", "", "the file name is blank"),
        ("k,file,binary", "nul\0", "NUL"),
        ("k,file,binary", ".", "not a regular file"),
    ],
)
def test_bad_cells(folder, line, cell, what):
    """The error of a cell that cannot be decoded names the column, and does not show the value."""
    with pytest.raises(InputError, match=what) as caught:
        value_of(line, cell)
    assert 'column "k"' in str(caught.value)
    assert caught.value.where == "values.csv:2"


def test_files_are_read_anew(folder):
    """A file that changed between two runs in one process is read again."""
    for content in (b"one", b"two"):
        write("content", content)
        assert value_of("k,file,binary", "content") == content


def test_bad_text_file(folder):
    """A file with encoding string that is not UTF-8 is rejected."""
    write("content", b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8 text"):
        value_of("k,file,string", "content")


def test_errors_never_show_values(folder):
    """A complaint about a secret cell does not show the secret."""
    for encoding in ("hex2bin", "base64", "u8"):
        with pytest.raises(InputError) as caught:
            value_of(f"k,data,{encoding}", "hunter2!x")
        assert "hunter2" not in f"{caught.value} {caught.value.hint}"
