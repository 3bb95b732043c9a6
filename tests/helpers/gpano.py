"""XMP packets that say how a picture lies on the sphere."""

from qfm_metric.panorama.gpano import GPANO

NAMES = {
    "full_width": "FullPanoWidthPixels",
    "full_height": "FullPanoHeightPixels",
    "width": "CroppedAreaImageWidthPixels",
    "height": "CroppedAreaImageHeightPixels",
    "left": "CroppedAreaLeftPixels",
    "top": "CroppedAreaTopPixels",
}


def gpano(projection="equirectangular", **sizes):
    """With these properties; `sizes` by the keys of `NAMES`."""
    values = {"ProjectionType": projection} | {NAMES[name]: value for name, value in sizes.items()}
    texts = "".join(f'\n GPano:{name}="{value}"' for name, value in values.items())
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:GPano="{GPANO}"{texts}/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def with_packet(jpeg, packet):
    """The bytes of a JPEG file with a packet in a segment of its own."""
    content = b"http://ns.adobe.com/xap/1.0/\0" + packet
    return jpeg[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + jpeg[2:]
