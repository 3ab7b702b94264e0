"""Prints one fact of target/image/payment-latency-api.tar: image_facts.py User | files | interpreter."""

import io
import json
import pathlib
import struct
import sys
import tarfile

ARCHIVE = pathlib.Path(__file__).parent.parent / "target/image/payment-latency-api.tar"
PT_INTERP = 3


def layers(archive, manifest):
    for name in manifest["Layers"]:
        with tarfile.open(fileobj=io.BytesIO(archive.extractfile(name).read())) as layer:
            for member in layer.getmembers():
                if not member.isdir():
                    yield member.name.lstrip("./"), layer.extractfile(member).read() if member.isfile() else b""


def interpreter(binary):
    """What the kernel would start to load libraries, by the ELF program headers; `none` for a static binary."""
    assert binary[:5] == b"\x7fELF\x02", "no 64-bit ELF"
    offset, size, count = struct.unpack_from("<Q", binary, 32)[0], *struct.unpack_from("<HH", binary, 54)
    for number in range(count):
        kind, _, start = struct.unpack_from("<IIQ", binary, offset + number * size)
        if kind == PT_INTERP:
            return binary[start:].split(b"\0", 1)[0].decode()
    return "none"


def main(fact):
    with tarfile.open(ARCHIVE) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        if fact == "files":
            print("\n".join(name for name, _ in layers(archive, manifest)))
        elif fact == "interpreter":
            print("\n".join(interpreter(content) for _, content in layers(archive, manifest)))
        else:
            print(json.load(archive.extractfile(manifest["Config"]))["config"].get(fact, ""))


if __name__ == "__main__":
    main(*sys.argv[1:])
