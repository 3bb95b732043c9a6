"""XMP packets that others wrote: what is asked for changes, every other byte stays."""

import pytest

from qfm_metric.xmp_packet import EMPTY, OURS, XMP, PacketError, change_properties, read_properties

RATING, LABEL, SCORE = (XMP, "Rating"), (XMP, "Label"), (OURS, "Score")
NEW = {SCORE: "0.7000", RATING: "4", LABEL: "Green"}
NAMES = [RATING, LABEL, SCORE, (OURS, "Rating")]

# As darktable writes, with what a parser would lose: entities in attributes, comments, quotes, spaces, CDATA, wrapper.
DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<!-- kept -->
<?xpacket begin='' id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"   x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about='uuid:a&amp;b'
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:darktable="http://darktable.sf.net/"
   darktable:note="two&#xA;lines &quot;quoted&quot; > 1"  {attribute}
   xmp:CreatorTool='a "tool"'>{element}
   <!-- inside -->
   <dc:subject>
    <rdf:Seq>
     <rdf:li>größe</rdf:li>
     <rdf:li><![CDATA[<raw> & more]]></rdf:li>
    </rdf:Seq>
   </dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
   """


def packet(attribute="", element=""):
    return DARKTABLE.replace("{attribute}", attribute).replace("{element}", element).encode()


ATTRIBUTES = ['xmp:Rating="1"', "xmp:Rating = '1'  xmp:Label='Blue'"]
ELEMENTS = ["\n   <xmp:Rating>1</xmp:Rating>", "<xmp:Rating >1</xmp:Rating ><xmp:Label/>"]


@pytest.mark.parametrize("attribute", ["", *ATTRIBUTES])
@pytest.mark.parametrize("element", ["", *ELEMENTS])
def test_every_other_byte_stays(attribute, element):
    data = packet(attribute, "" if attribute else element)
    before = read_properties(data, NAMES)
    assert before.get(RATING) == ("1" if attribute or element else None)
    changed = change_properties(data, NEW)
    assert read_properties(changed, NAMES) == NEW
    assert b'rdf:about="uuid:a&amp;b"' in changed
    begin = changed.index(b"  <rdf:Description xmlns:rdf")
    end = changed.index(b"/>\n", begin) + 3
    assert (changed[:begin] + changed[end:]).split() == packet().split()
    assert change_properties(changed, NEW) == changed
    other = change_properties(changed, NEW | {RATING: "2"})
    assert other == changed.replace(b'xmp:Rating="4"', b'xmp:Rating="2"')


def test_a_packet_that_has_our_prefixes_for_something_else():
    data = b"""<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description xmlns:xmp="urn:other"
    xmlns:rdf="urn:x" xmlns:z="http://ns.adobe.com/xap/1.0/" xmp:Rating="keep" z:Rating="5" rdf:a="b"/></r:RDF>"""
    assert read_properties(data, NAMES) == {RATING: "5"}
    changed = change_properties(data, NEW)
    assert read_properties(changed, NAMES) == NEW
    assert b'xmp:Rating="keep"' in changed
    assert b"z:Rating" not in changed


def test_nested_properties_are_not_the_pictures_own():
    """The rating of a version inside a history, a structure of another property."""
    inside = (
        '<xmp:Thumbnails><rdf:Description xmp:Rating="9"><xmp:Label>X</xmp:Label></rdf:Description></xmp:Thumbnails>'
    )
    data = packet(element=inside)
    assert read_properties(data, NAMES) == {}
    assert inside.encode() in change_properties(data, NEW)


def test_a_comment_in_a_description_of_ours_stays():
    mine = change_properties(EMPTY, NEW).replace(b"/>\n </rdf:RDF", b"><!-- mine --></rdf:Description>\n </rdf:RDF")
    assert b"<!-- mine -->" in change_properties(mine, NEW)


def test_a_byte_order_mark_moves_nothing():
    data = b"\xef\xbb\xbf" + packet(ATTRIBUTES[0])
    changed = change_properties(data, NEW)
    assert changed.startswith(b"\xef\xbb\xbf<?xml")
    assert read_properties(changed, NAMES) == NEW


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"no XML", "expected XML"),
        (bytes(500), "expected XML, got nothing but bytes of zero"),
        (packet()[:-200], "expected XML"),
        (packet().decode().encode("utf-16"), "expected UTF-8, got UTF-16"),
        (packet().replace(b"UTF-8", b"ISO-8859-1"), "expected UTF-8, got ISO-8859-1"),
        (b"<html></html>", "got no <rdf:RDF>"),
        (b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>', "got no <rdf:RDF>"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "expected no document type"),
    ],
)
def test_what_is_no_packet_is_refused(data, says):
    with pytest.raises(PacketError, match=says):
        change_properties(data, NEW)
