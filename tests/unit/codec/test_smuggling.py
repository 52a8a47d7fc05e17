"""Request smuggling: heads that two parsers read differently. All of them are refused, whatever the options.

The vectors are those of the literature (Watchfire 2005; Kettle 2019 and after) and of what llhttp, h11 and
nginx have had to fix.
"""

import pytest

from portico.codec.errors import ProtocolError
from portico.codec.fields import HeaderOptions
from portico.codec.http1_request import parse_request_fields

OPTIONS = [HeaderOptions(underscores, ignore) for underscores in (False, True) for ignore in (False, True)]

VECTORS = {
    "CL.TE": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
    "TE.CL": b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
    "two lengths": b"Content-Length: 6\r\nContent-Length: 5\r\n",
    "two equal lengths": b"Content-Length: 6\r\nContent-Length: 6\r\n",
    "length list": b"Content-Length: 6, 6\r\n",
    "length with plus": b"Content-Length: +6\r\n",
    "length with minus": b"Content-Length: -6\r\n",
    "length hex": b"Content-Length: 0x6\r\n",
    "length with underscore": b"Content-Length: 1_0\r\n",
    "length with point": b"Content-Length: 6.0\r\n",
    "length with exponent": b"Content-Length: 1e1\r\n",
    "length empty": b"Content-Length: \r\n",
    "length with inner space": b"Content-Length: 1 2\r\n",
    "length with vertical tab": b"Content-Length: \x0b6\r\n",
    "length with form feed": b"Content-Length: 6\x0c\r\n",
    "length in Arabic digits": b"Content-Length: \xd9\xa6\r\n",
    "length in superscript digits": b"Content-Length: \xb2\r\n",
    "length past 63 bits": b"Content-Length: 18446744073709551622\r\n",
    "length without colon": b"Content-Length 6\r\n",
    "space before colon": b"Transfer-Encoding : chunked\r\n",
    "tab before colon": b"Transfer-Encoding\t: chunked\r\n",
    "NUL before colon": b"Transfer-Encoding\0: chunked\r\n",
    "control before colon": b"Transfer-Encoding\x0b: chunked\r\n",
    "space before name": b" Transfer-Encoding: chunked\r\n",
    "tab before name": b"\tTransfer-Encoding: chunked\r\n",
    "folded": b"Foo: bar\r\n Transfer-Encoding: chunked\r\n",
    "folded encoding": b"Transfer-Encoding:\r\n chunked\r\n",
    "folded in tabs": b"Transfer-Encoding:\r\n\tchunked\r\n",
    "two encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    "two equal encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "encoding list": b"Transfer-Encoding: chunked, identity\r\n",
    "encoding list with holes": b"Transfer-Encoding: ,chunked\r\n",
    "encoding quoted": b'Transfer-Encoding: "chunked"\r\n',
    "encoding with parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "encoding with x": b"Transfer-Encoding: xchunked\r\n",
    "encoding with control": b"Transfer-Encoding: \x0bchunked\r\n",
    "encoding with NUL": b"Transfer-Encoding: chunked\0\r\n",
    "encoding after bare CR": b"Foo: bar\rTransfer-Encoding: chunked\r\n",
    "encoding with bare CR": b"Transfer-Encoding: chunked\r\r\n",
    "line of LF": b"Foo: bar\n\r\n",
    "blank line inside": b"Foo: bar\r\n\r\nGET /admin HTTP/1.1\r\n",
    "bare blank line inside": b"Foo: bar\n\nGET /admin HTTP/1.1\r\n",
    "empty name": b": chunked\r\n",
    "name of colon": b"::\r\n",
    "no colon": b"Transfer-Encoding\r\n",
    "CR in name": b"Trans\rfer-Encoding: chunked\r\n",
    "LF in name": b"Transfer-Encoding\n: chunked\r\n",
    "second host": b"Host: evil\r\n",
    "host in disguise": b"Host : evil\r\n",
    "DEL in name": b"Transfer-Encoding\x7f: chunked\r\n",
    "encoding with a byte behind": b"Transfer-Encoding\xa0: chunked\r\n",
    "length with a byte behind": b"Content-Length\x85: 6\r\n",
    "length with a byte inside": b"Content\xa0-Length: 6\r\n",
}


@pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda o: f"underscores={o.underscores},ignore={o.ignore_invalid}"
)
@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_vector_is_refused(vector: bytes, options: HeaderOptions) -> None:
    for raw in (b"Host: a\r\n" + vector, vector + b"Host: a\r\n"):
        with pytest.raises(ProtocolError) as caught:
            parse_request_fields(raw, 11, options)
        assert caught.value.status in (400, 501)


@pytest.mark.parametrize(
    "name", [b"Transfer_Encoding", b"Transfer.Encoding", b"Content_Length"]
)
def test_lookalikes_are_never_taken_for_framing(name: bytes) -> None:
    for options in OPTIONS:
        got = parse_request_fields(b"Host: a\r\n" + name + b": chunked\r\n", 11, options)
        assert (got.chunked, got.content_length) == (False, -1)
