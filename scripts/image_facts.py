"""Prints one fact of target/image/payment-latency-api.tar: image_facts.py User | files | interpreter | crates."""

import io
import json
import pathlib
import struct
import sys
import tarfile
import zlib

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
    assert binary[:5] == b"\x7fELF\x02", "the file is not a 64-bit ELF binary"
    offset, size, count = struct.unpack_from("<Q", binary, 32)[0], *struct.unpack_from("<HH", binary, 54)
    for number in range(count):
        kind, _, start = struct.unpack_from("<IIQ", binary, offset + number * size)
        if kind == PT_INTERP:
            return binary[start:].split(b"\0", 1)[0].decode()
    return "none"


def section(binary, name):
    """The content of an ELF section."""
    table = struct.unpack_from("<Q", binary, 40)[0]
    size, count, names = struct.unpack_from("<HHH", binary, 58)
    headers = [struct.unpack_from("<IIQQQQ", binary, table + number * size) for number in range(count)]
    texts = headers[names][4]
    for start, _, _, _, offset, length in headers:
        if binary[texts + start :].split(b"\0", 1)[0].decode() == name:
            return binary[offset : offset + length]
    raise ValueError(f"the binary has no section {name}")


def crates(binary):
    """The crates that the binary itself lists: https://github.com/rust-secure-code/cargo-auditable, PARSING.md."""
    packages = json.loads(zlib.decompress(section(binary, ".dep-v0")))["packages"]
    return sorted(f"{package['name']} {package['version']}" for package in packages if package.get("kind") != "build")


def main(fact):
    with tarfile.open(ARCHIVE) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        if fact == "files":
            print("\n".join(name for name, _ in layers(archive, manifest)))
        elif fact == "interpreter":
            print("\n".join(interpreter(content) for _, content in layers(archive, manifest)))
        elif fact == "crates":
            print("\n".join(crate for _, content in layers(archive, manifest) for crate in crates(content)))
        else:
            print(json.load(archive.extractfile(manifest["Config"]))["config"].get(fact, ""))


if __name__ == "__main__":
    main(*sys.argv[1:])
