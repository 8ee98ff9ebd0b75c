"""The nasty cases of CSV, shared by the tests with and without Spark."""

from __future__ import annotations

from tests.spark.parity import Case, case

_SHAPES = [
    case("plain", "1,2,3\n4,5,6\n"),
    case("no final newline", "1,2,3\n4,5,6"),
    case("quoted", '"a","b","c"\n'),
    case("newline in quotes", '"a\nb",2,3\n'),
    case("newline in quotes, multiLine", '"a\nb",2,3\n', multiLine="true"),
    case("CRLF in quotes, multiLine", '"a\r\nb",2,3\r\n"x\ny",5,6\r\n', multiLine="true"),
    case("CR, multiLine", "1,2,3\r4,5,6\r", multiLine="true"),
    case("lone LF outside quotes in CRLF, multiLine", "1,2,3\r\n4,5\n,6\r\n", multiLine="true"),
    case("header and blank lines, multiLine", "\n\na,b,c\n\n1,2,3\n\n  \n4,5,6\n", multiLine="true", header="true"),
    case("comments, multiLine", '#x\n1,2,3\n#y"\n4,5,6\n#', multiLine="true", comment="#"),
    case("unclosed quote, multiLine", '1,"2,3\n4,5,6\n', multiLine="true"),
    case("text after quote, multiLine", '1,"2"x,3\n4,5,6\n', multiLine="true"),
    case("doubled quote", '"a""b",2,3\n'),
    case("doubled quote, escape=quote", '"a""b",2,""""\n', escape='"'),
    case("escaped quote", '"a\\"b",2,3\n'),
    case("escape of others", '"a\\nb\\\\c","\\\\","\\\\\\""\n'),
    case("escape outside quotes", "a\\b,x\\,y,3\n"),
    case("quote inside", 'a"b,c"d"e,3\n'),
    case("text after quote", '"a"b,2,3\n"a" b,2,3\n"a" "b",2,3\n'),
    case("blanks after quote", '"a"  ,"b"\t,"c" \n'),
    case("unclosed quote", '"abc,2,3\nx,y,z\n'),
    case("unclosed quote at end", 'x,y,"z\nx,y,"\nx,y,"z\\\nx,"y\\",z\n'),
    case("separator in quotes", '"a,b",2,3\n'),
    case("empty", ",,\n1,,3\n,2,\n"),
    case("quoted empty", '"",2,""\n'),
    case("emptyValue", '"",2,""\n,,\n', emptyValue="E"),
    case("nullValue", 'NA,"NA",3\nNA,,""\n,,\n', nullValue="NA"),
    case("nullValue and ints", "NA,1,2\n", "a int, b int, c int", nullValue="NA"),
    case("nullValue in front of blanks", "NA , NA,NA\n", nullValue="NA"),
    case("short", "1,2\n1\n1,2,3\n"),
    case("long", "1,2,3,4\n1,2,3\n"),
    case("long dropped", "1,2,3,4\n1,2,3\n1,2\n", mode="DROPMALFORMED"),
    case("long failfast", "1,2,3,4\n1,2,3\n", mode="FAILFAST"),
    case("short failfast", "1,2,3\n1,2\n", mode="FAILFAST"),
    case("corrupt column", "1,2\n1,2,3\n1,2,3,4\n", "a string, b string, c string, _corrupt_record string"),
    case("corrupt column first", "1,x\n1,2\n", "_corrupt_record string, a int, b int"),
    case("corrupt named", "x,1,2\n3,4,5\n1,2\n", "a int, b int, cr string", columnNameOfCorruptRecord="cr"),
    case("corrupt with form feed", "x,1\f\n", "a int, b int, _corrupt_record string"),
    case("corrupt, multiLine", 'x,1\r\ny,"2\r\n3"\r\n', "a int, b int, _corrupt_record string", multiLine="true"),
    case("trailing separator", "1,2,3,\n"),
    case("blanks around", " a , b ,c\n"),
    case("blanks before quote", ' "a",2,3\n'),
    case("trim both", ' a , " b " ,c\n , ,\n', ignoreLeadingWhiteSpace="true", ignoreTrailingWhiteSpace="true"),
    case("trim leading", ' a , " b " , c \na, ,\n', ignoreLeadingWhiteSpace="true"),
    case("trim trailing", 'a , b , c \nx," y " ," z "\n', ignoreTrailingWhiteSpace="true"),
    case("trim trailing, first blank", " ,b,c\n", ignoreTrailingWhiteSpace="true"),
    case("trim and nullValue", " NA , ,x\nNA,NA, NA", ignoreLeadingWhiteSpace="true", nullValue="NA"),
    case("BOM", b"\xef\xbb\xbf1,2,3\n"),
    case("BOM twice", b"\xef\xbb\xbf\xef\xbb\xbf1,2,3\n"),
    case("BOM and header", b"\xef\xbb\xbfa,b,c\n1,2,3\n", header="true"),
    case("BOM, multiLine", b"\xef\xbb\xbf1,2,3\n", multiLine="true"),
    case("CRLF", "1,2,3\r\n4,5,6\r\n"),
    case("CR", "1,2,3\r4,5,6\r"),
    case("CR inside", "1,a\rb,3\n"),
    case("mixed line ends", "1,2,3\r\n4,5,6\n7,8,9\r\r10,11,12"),
    case("blank lines", "\n1,2,3\n\n\n4,5,6\n\n"),
    case("lines of blanks", "1,2,3\n   \n\t\n\x01\n4,5,6\n"),
    case("line of tabs, sep tab", "1\t2\t3\n\t\t\n4\t5\t6\n", sep="\t"),
    case("one column", "1\n   \n4\n", "a string"),
    case("one column, quoted empty", '""\nx\n', "a string"),
    case("comment", "#x,y,z\n1,2,3\n #no,2,3\n4,#5,6\n", comment="#"),
    case("no comment", "#x,y,z\n1,2,3\n"),
    case("header", "x,y,z\n1,2,3\na,b,c\n", header="true"),
    case("header only", "a,b,c\n", header="true"),
    case("header after blanks", "\n\na,b,c\n1,2,3\n", header="true"),
    case("header after comments", "#x\n #y\n\na,b,c\n#z\n1,2,3\n", header="true", comment="#"),
    case("header, CR", "a,b,c\r1,2,3\r4,5,6", header="true"),
    case("header strict, equal", "A,b,C\n1,2,3\n", header="true", enforceSchema="false"),
    case("header strict, different", "x,y,z\n1,2,3\n", header="true", enforceSchema="false"),
    case("header strict, short", "a,b\n1,2,3\n", header="true", enforceSchema="false"),
    case("unicode", "é,日本,😀\n"),
    case("U+2028", "a\u2028b,c\u0085d,\u00a0e\x1c\n"),
    case("bad UTF-8", b"a\xff,\xc3,3\n\xed\xa0\x80,\xe0\x80\x80,\xf0\x80\x80\x80\n\xf5,\xf4\x90\x80\x80,\xc0\x80\n"),
    case("cut UTF-8", b"\xe2\x82,\xf0\x9f\x98,\xe2\n\xe2\x28\xa1,\xf0\x28\x8c\xbc,\xc3\x28\n"),
    case("NUL", b'a\x00b,\x00,3\n\x00a,2,"\x00"\n'),
    case("NUL, escape=quote", b'"a\x00b","\x00",3\nx,y,"z\x00"\n', escape='"'),
    case("sep tab", "1\t2\t3\n", sep="\\t"),
    case("sep of two", "1||2||3\n||||\n1|2||3|||x\n", sep="||"),
    case("sep of two, quotes", '"1"||2||3\n', sep="||"),
    case("quote off", '"a,b",2\n', quote=""),
    case("quote single", "'a,b',2,3\n", quote="'"),
    case("escape off", '"a\\",2,""\n', escape=""),
    case("lineSep ;", "1,2,3;4,5,6;", lineSep=";"),
    case("lineSep ; with LF", "1,2\n,3;4,5,6;", lineSep=";"),
    case("lineSep LF, CR in data", "1,2,3\r\n4,5,6\r\n", lineSep="\n"),
    case("lineSep CRLF", '1,2,3\r\n4,"5\r6",7\r\n', lineSep="\r\n"),
    case("long value", "x" * 200_000 + ",2,3\n"),
    case("bad int", "x,1,2\n3,4,5\n", "a int, b int, c int"),
    case("bad int dropped", "x,1,2\n3,4,5\n", "a int, b int, c int", mode="DROPMALFORMED"),
    case("bad int failfast", "x,1,2\n3,4,5\n", "a int, b int, c int", mode="FAILFAST"),
    case("bad int kept", "x,1,2\n3,y,z\n", "a int, b int, c int, _corrupt_record string"),
    case("binary", "abc,é,3\n", "a binary, b binary, c string"),
    case("byte and short", "128,40000,3\n-128,-32768,1\n", "a tinyint, b smallint, c int"),
]

_VALUES = {
    "int": "1 +1 -1 01 1.0 1e2 99999999999 x 0x10 1_000 -0 ١ + - 2147483647 2147483648 １２ 𝟏",
    "bigint": "9223372036854775807 9223372036854775808 -9223372036854775808 1L",
    "decimal(7,2)": "1 1.5 1.555 1.565 1.545 -1.555 1e2 1E-1 +1.5 .5 5. 1,5 12345678901234.5 99999.99 99999.995 99999.994 "
    "100000.00 NaN 1_0 0x1p3 1.5d 1d 1e-999999999 1e9999999999 1e2147483648 -0.001 ١.٥ 0e10 1e+1 e1 0.004 0.005 --1",
    "decimal(38,0)": "99999999999999999999999999999999999999 100000000000000000000000000000000000000 1e37 1e38 -0.5",
    "decimal(10,10)": "0.1234567891 0.12345678915 1 -.1",
    "double": "1 1.5 1e400 NaN nan Inf -Inf +Inf inf Infinity +Infinity -Infinity -NaN 1d 1f 1D 0x1p3 0x1.8p1 0x.8p1 0x1 1_0 .5 "
    "5. 0.1 1e-400 4.9e-324 2.2250738585072012e-308 1.7976931348623157e308 1.7976931348623159e308 1e5f ١ . 1ed",
    "float": "0.1 1e40 16777217 16777219 3.4028235e38 3.4028236e38 1e-46 7.038531e-26 1.00000017881393432617187499 "
    "1.00000017881393421514957253748434595763683319091796875001 NaN -Inf 1.5f",
    "boolean": "true True TRUE t 1 0 yes false False FALSE falſe truee",
    "date": "1996-03-04 1996-3-4 1996-03 1996 1996-02-30 2000-02-29 1900-02-29 19960304 1996/03/04 1996-03-04T00:00:00 0001-01-01 "
    "9999-12-31 10000-01-01 1582-10-10 -0001-01-01 0000-01-01 epoch today 1996-03-04x 1996-03-04Tx +1996-03-04 -1996-03-04 "
    "12345678-01-01 1234567-01-01 5881580-07-11 5881580-07-12 -5877641-06-23 -5877641-06-22 199-01-01 1996-003-01 1996-03-04GMT 1996- 1996-03- GMT",
    "timestamp": "1996-03-04T01:02:03 1996-03-04T01:02:03Z 1996-03-04T01:02:03+02:00 1996-03-04T01:02:03.123456 "
    "1996-03-04T01:02:03.123456789 1996-03-04T01:02:03. 1996-03-04T01:02:03.1 1996-03-04 1996-3-4T1:2:3 1996-03-04T01:02 1996-03-04T01 "
    "1996-03-04T 1996 1996-03 2024-06-01T24:00:00 2024-06-01T23:59:60 1996-03-04T01:02:03Europe/Berlin 1996-03-04T01:02:03.5PST "
    "1996-03-04T01:02:03+2 1996-03-04T01:02:03+02 1996-03-04T01:02:03+0200 1996-03-04T01:02:03+2:00 1996-03-04T01:02:03+02:0 "
    "1996-03-04T01:02:03+02:00:30 1996-03-04T01:02:03+020030 1996-03-04T01:02:03+19:00 1996-03-04T01:02:03UTC 1996-03-04T01:02:03UTC+1 "
    "1996-03-04T01:02:03GMT+01:00 1996-03-04T01:02:03z 1996-03-04T01:02:03Mars/Olympus 1996-03-04T01:02:03.4.5 1996-03-04T01:02Z "
    "0001-01-01T00:00:00 9999-12-31T23:59:59.999999 10000-01-01T00:00:00 294247-01-10T04:00:54.775807 294247-01-10T04:00:54.775808 "
    "-0001-01-01T00:00:00 12:ab 1996-03-04T01:02:03+230 1996-03-04T01:02:03America/New_York 1996-03-04T01:02:03utc 1996-03-04T01:02:03UT "
    "1996-03-04T01:02:03GMT0 1996-03-04T01:02:03EST 1996-03-04T01:02:03-05:60 1996-03-04T01:02:03+18:00 1996-03-04T01:02:03+18:01 "
    "1996-03-04T01:02:03-x 1996-03-04T01:02:03- 1996-03-04T01:02:03-- 1996-03-04T01:02:03-99:99 1996-03-04T01:02:03-Europe/Berlin "
    "1996-03-04T01:02:03-1 1996-03-04T01:02:03-EST 1996-03-04T01:02:03+EST 1996-03-04T01:02:03MST 1:02:03-x T01:02:03- "
    "2021-03-28T02:30:00Europe/Berlin 2021-10-31T02:30:00Europe/Berlin 0500-01-01T00:00:00Europe/Berlin 12000-07-01T00:00:00Europe/Berlin",
}
_VALUES["timestamp_ntz"] = _VALUES["timestamp"]
_BLANK_VALUES = {
    "int": [" 1", "1 ", "", " "],
    "decimal(7,2)": [" 1.5", "1.5 ", "", "\t1"],
    "double": [" 1.5", "1.5 ", "", "\x001.5\x00", " NaN", " Inf", "1 d", "\u00a01"],
    "boolean": [" true", "true ", ""],
    "date": [" 1996-03-04", "1996-03-04 ", "", "1996-03-04 01:02:03", "\x7f1996-03-04\x00", "1996-03-04 x", "1996 x"],
    "timestamp": [
        "1996-03-04 01:02:03",
        " 1996-03-04 01:02 ",
        "1996-03-04 01:02:03 Europe/Berlin",
        "",
        "1996-03-04 01:02:03 +1",
        "1996-03-04 01:02:03 -x",
        "1996-03-04 01:02:03 -",
        "1996-03-04 01:02:03 ",
    ],
    "timestamp_ntz": ["1996-03-04 01:02:03", " 1996-03-04 01:02 ", "1996-03-04 01:02:03 Z", ""],
}


def _value_cases() -> list[Case]:
    out = []
    for kind, words in _VALUES.items():
        texts = words.split(" ") + _BLANK_VALUES.get(kind, [])
        quoted = ['"' + text + '"' if "," in text else text for text in texts]
        schema = f"a {kind}, b string, _corrupt_record string"
        out += [case(f"{kind} {text!r}", f"{text},z\n", schema) for text in quoted]
    return out


_PATTERNS = [
    case(
        "dd/MM/yyyy",
        "04/03/1996,z\n4/3/1996,z\n1996-03-04,z\n30/02/1996,z\n04/03/96,z\n 04/03/1996,z\n",
        "a date, b string",
        dateFormat="dd/MM/yyyy",
    ),
    case(
        "d.M.yyyy",
        "4.3.1996,z\n04.03.1996,z\n4.3.-0001,z\n4.3.10000,z\n4.3.+10000,z\n4.3.0000,z\n",
        "a date, b string",
        dateFormat="d.M.yyyy",
    ),
    case("yyyyMMdd", "19960304,z\n996034,z\n1996034,z\n", "a date, b string", dateFormat="yyyyMMdd"),
    case(
        "yyyy-MM-dd",
        "1996-03-04,z\n1996-3-4,z\n1996-03-04 ,z\n+10000-01-01,z\n-0001-01-01,z\n-1996-01-01,z\n",
        "a date, b string",
        dateFormat="yyyy-MM-dd",
    ),
    case("uuuu-MM-dd", "1996-03-04,z\n-0001-01-01,z\n0000-01-01,z\n", "a date, b string", dateFormat="uuuu-MM-dd"),
    case("yyyy-MM", "1996-03,z\n1996-13,z\n", "a date, b string", dateFormat="yyyy-MM"),
    case("yyyy", "1996,z\n996,z\n", "a date, b string", dateFormat="yyyy"),
    case(
        "date of timestamp",
        "1996-03-04 01:02:03,z\n1996-03-04 25:02:03,z\n",
        "a date, b string",
        dateFormat="yyyy-MM-dd HH:mm:ss",
    ),
    case(
        "seconds",
        "1996-03-04 01:02:03,z\n1996-03-04 1:2:3,z\n1996-03-04 24:00:00,z\n1996-03-04 01:02:60,z\n",
        "a timestamp, b string",
        timestampFormat="yyyy-MM-dd HH:mm:ss",
    ),
    case(
        "literals",
        "1996-03-04T01:02:03 o'clock,z\n",
        "a timestamp, b string",
        timestampFormat="yyyy-MM-dd'T'HH:mm:ss 'o''clock'",
    ),
    case(
        "millis and zone",
        "1996-03-04T01:02:03.123+02:00,z\n1996-03-04T01:02:03.123Z,z\n1996-03-04T01:02:03.12Z,z\n1996-03-04T01:02:03.123+0200,z\n1996-03-04T01:02:03.123+19:00,z\n",
        "a timestamp, b string",
        timestampFormat="yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    ),
    case(
        "micros",
        "1996-03-04 01:02:03.123456,z\n1996-03-04 01:02:03.123,z\n",
        "a timestamp, b string",
        timestampFormat="yyyy-MM-dd HH:mm:ss.SSSSSS",
    ),
    case(
        "nanos",
        "1996-03-04 01:02:03.123456789,z\n",
        "a timestamp, b string",
        timestampFormat="yyyy-MM-dd HH:mm:ss.SSSSSSSSS",
    ),
    case(
        "optional",
        "1996-03-04T01:02:03,z\n1996-03-04T01:02:03.123,z\n1996-03-04T01:02:03Z,z\n1996-03-04T01:02:03.123+01:00,z\n",
        "a timestamp, b string",
        timestampFormat="yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]",
    ),
    case("day", "1996-03-04,z\n1996-03-04 01,z\n", "a timestamp, b string", timestampFormat="yyyy-MM-dd"),
    case(
        "hour",
        "1996-03-04 1,z\n1996-03-04 01,z\n1996-03-04 123,z\n",
        "a timestamp, b string",
        timestampFormat="yyyy-MM-dd H",
    ),
    case(
        "X",
        "1996-03-04 01:02:03+02,z\n1996-03-04 01:02:03+0230,z\n1996-03-04 01:02:03Z,z\n1996-03-04 01:02:03+02:30,z\n",
        "a timestamp, b string",
        timestampFormat="yyyy-MM-dd HH:mm:ssX",
    ),
    case(
        "ntz",
        "1996-03-04 01:02:03,z\n1996-03-04T01:02:03,z\n",
        "a timestamp_ntz, b string",
        timestampNTZFormat="yyyy-MM-dd HH:mm:ss",
    ),
    case(
        "ntz zone",
        "1996-03-04 01:02:03Z,z\n1996-03-04 01:02:03,z\n",
        "a timestamp_ntz, b string",
        timestampNTZFormat="yyyy-MM-dd HH:mm:ss[XXX]",
    ),
    case(
        "time zone option",
        "1996-07-04 01:02:03,z\n2021-03-28 02:30:00,z\n2021-10-31 02:30:00,z\n0001-01-01 00:00:00,z\n1883-11-18 12:00:00,z\n",
        "a timestamp, b string",
        timeZone="Europe/Berlin",
    ),
    case("zone -3:30", "1996-07-04 01:02:03,z\n", "a timestamp, b string", timeZone="-3:30"),
    case(
        "pattern and time zone",
        "1996-07-04 01:02:03,z\n2021-03-28 02:30:00,z\n",
        "a timestamp, b string",
        timeZone="America/New_York",
        timestampFormat="yyyy-MM-dd HH:mm:ss",
    ),
]

CASES = _SHAPES + _value_cases() + _PATTERNS
