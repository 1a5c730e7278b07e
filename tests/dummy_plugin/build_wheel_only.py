"""A build backend of one function, so that installing the plug-in needs no package from anywhere.

A wheel is a zip archive of the modules and a folder of metadata (PEP 427, PEP 517).
"""

import base64
import hashlib
import zipfile
from pathlib import Path

NAME, VERSION = "unitary_zoo_dummy", "0.1"
MODULES = ("unitary_zoo_dummy.py", "unitary_zoo_dummy_broken.py")


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    here, info = Path(__file__).parent, f"{NAME}-{VERSION}.dist-info"
    files = {module: (here / module).read_bytes() for module in MODULES}
    files[f"{info}/entry_points.txt"] = (here / "entry_points.txt").read_bytes()
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n".encode()
    )
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(data)}\n")
    files[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"]).encode()
    wheel = f"{NAME}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return wheel
