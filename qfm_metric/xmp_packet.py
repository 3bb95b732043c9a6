"""Properties in an XMP packet: read, and changed by cutting out and putting in text; all other bytes stay as they are.

A property is an attribute of a top-level `rdf:Description`, or an element in it. New ones go into a description of
their own at the end of `rdf:RDF`, as XMP allows.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = "http://ns.adobe.com/xap/1.0/"
OURS = "urn:qfm-metric:1.0/"
PREFIXES = {XMP: "xmp", OURS: "qfm"}
EMPTY = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="qfm-metric">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()
ATTRIBUTE = re.compile(rb"""\s+([^\s=/>]+)\s*=\s*("[^"]*"|'[^']*')""")

Name = tuple[str, str]  # namespace and local name


class PacketError(ValueError):
    """Bytes are no XMP packet that can be changed; says why."""


@dataclass
class _Description:
    """A top-level `rdf:Description`, and where its properties stand: values, spans of bytes."""

    start: int
    about: str
    values: dict[Name, str] = field(default_factory=dict)
    spans: dict[Name, tuple[int, int]] = field(default_factory=dict)
    others: bool = False  # it has more than properties that have been asked for
    end: int = 0


@dataclass
class _Packet:
    """What was found: descriptions, and where `</rdf:RDF>` begins."""

    descriptions: list[_Description]
    end: int


def read_properties(data: bytes, names: Iterable[Name]) -> dict[Name, str]:
    """The values of simple properties that a packet has.

    Raises:
        PacketError: it is none.
    """
    found: dict[Name, str] = {}
    for description in _read(data, names).descriptions:
        found |= description.values
    return found


def change_properties(data: bytes, values: Mapping[Name, str]) -> bytes:
    """A packet with these properties instead of those of the same names; every other byte is as it was.

    Raises:
        PacketError: it is none.
    """
    packet = _read(data, values)
    about = next((description.about for description in packet.descriptions), "")
    cuts = []
    for description in packet.descriptions:
        whole = description.spans and not description.others
        cuts += [(description.start, description.end)] if whole else list(description.spans.values())
    namespaces = "".join(f' xmlns:{PREFIXES[uri]}="{uri}"' for uri in sorted({uri for uri, _ in values}))
    # A prefix that the packet has for something else is declared anew here, for this description alone.
    from xml.sax.saxutils import quoteattr  # brings urllib with it, which every command would wait for

    new = "".join(f"\n    {PREFIXES[uri]}:{name}={quoteattr(value)}" for (uri, name), value in values.items())
    rdf = f' xmlns:rdf="{RDF}"'
    text = f"  <rdf:Description{rdf} rdf:about={quoteattr(about)}{namespaces}{new}/>\n "
    at = packet.end
    while data[at - 1 : at].isspace() and data[at - 1 : at] != b"\n":
        at -= 1
    pieces = [(at, packet.end, text.encode("utf-8"))]
    pieces += [(_with_space(data, start), end, b"") for start, end in cuts]
    for start, end, put in sorted(pieces, reverse=True):
        data = data[:start] + put + data[end:]
    return data


def _with_space(data: bytes, start: int) -> int:
    """Where the white space in front of a place begins."""
    while data[start - 1 : start].isspace():
        start -= 1
    return start


class _Reader:
    """Finds descriptions and properties while expat reads."""

    def __init__(self, data: bytes, names: Iterable[Name]) -> None:
        self.data, self.names = data, set(names)
        self.path: list[Name] = []
        self.tags: list[int] = []  # where the elements' first tags end
        self.prefixes: dict[str | None, list[str]] = {}
        self.found: list[_Description] = []
        self.end: int | None = None
        self.property: tuple[Name, int] | None = None  # that is being read as an element
        self.text = ""
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self.begin
        self.parser.EndElementHandler = self.finish
        self.parser.CharacterDataHandler = self.characters
        self.parser.CommentHandler = self.parser.ProcessingInstructionHandler = self.remark
        self.parser.StartNamespaceDeclHandler = lambda prefix, uri: self.prefixes.setdefault(prefix, []).append(uri)
        self.parser.EndNamespaceDeclHandler = lambda prefix: self.prefixes[prefix].pop()
        self.parser.StartDoctypeDeclHandler = self.refuse_doctype
        self.parser.XmlDeclHandler = self.check_encoding

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(_split(name))
        at = self.parser.CurrentByteIndex
        self.tags.append(self.tag_end(at))
        if self.path[-2:] == [(RDF, "RDF"), (RDF, "Description")]:
            description = _Description(at, attributes.get(f"{RDF} about", ""))
            self.found.append(description)
            self.read_attributes(description, at, {_split(key): value for key, value in attributes.items()})
        elif self.path[-3:-1] == [(RDF, "RDF"), (RDF, "Description")]:
            if self.path[-1] in self.names:
                self.property, self.text = (self.path[-1], at), ""
            else:
                self.found[-1].others = True

    def read_attributes(self, description: _Description, at: int, attributes: Mapping[Name, str]) -> None:
        place = re.compile(rb"<[^\s/>]+").match(self.data, at)
        while place and (place := ATTRIBUTE.match(self.data, place.end())):
            prefix, _, local = place[1].decode("utf-8").rpartition(":")
            uri = (self.prefixes.get(prefix) or [""])[-1] if prefix else ""
            if (uri, local) in self.names:
                description.values[uri, local] = attributes[uri, local]
                description.spans[uri, local] = place.span()
            elif prefix != "xmlns" and (uri, local) not in ((RDF, "about"), ("", "xmlns")):
                description.others = True

    def characters(self, text: str) -> None:
        if self.property:
            self.text += text
        elif self.path[-2:] == [(RDF, "RDF"), (RDF, "Description")] and text.strip():
            self.found[-1].others = True

    def remark(self, *_: str) -> None:
        if self.path[-2:] == [(RDF, "RDF"), (RDF, "Description")]:
            self.found[-1].others = True

    def finish(self, name: str) -> None:
        at, end = self.parser.CurrentByteIndex, self.tags.pop()
        closed = self.data[end - 2 : end] == b"/>"  # expat is behind it then
        end = end if closed else self.tag_end(at)
        if self.property and self.path[-3:] == [(RDF, "RDF"), (RDF, "Description"), self.property[0]]:
            found, start = self.property
            self.found[-1].values[found] = self.text.strip()
            self.found[-1].spans[found] = (start, end)
            self.property = None
        elif self.path[-2:] == [(RDF, "RDF"), (RDF, "Description")]:
            self.found[-1].end = end
        elif self.path[-1] == (RDF, "RDF") and self.end is None and not closed:
            self.end = at
        self.path.pop()

    def tag_end(self, at: int) -> int:
        """Behind the tag that begins at a place; quoted values may have a > in them."""
        tag = re.compile(rb"""<(?:[^"'>]|"[^"]*"|'[^']*')*>""").match(self.data, at)
        assert tag  # expat has read it
        return tag.end()

    def refuse_doctype(self, *_: object) -> None:
        raise PacketError("expected no document type, which XMP does not have")

    def check_encoding(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding and encoding.lower() not in ("utf-8", "us-ascii"):
            raise PacketError(f"expected UTF-8, got {encoding}")


def _read(data: bytes, names: Iterable[Name]) -> _Packet:
    if data and not data.strip(b"\0"):  # as a crash leaves a file that was being written
        raise PacketError("expected XML, got nothing but bytes of zero")
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\0", b"<\0")):
        raise PacketError("expected UTF-8, got UTF-16 or UTF-32")
    reader = _Reader(data, names)
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise PacketError(f"expected XML: {error}") from error
    if reader.end is None:
        raise PacketError("expected an XMP packet, got no <rdf:RDF>...</rdf:RDF>")
    return _Packet(reader.found, reader.end)


def _split(name: str) -> Name:
    uri, _, local = name.rpartition(" ")
    return uri, local
