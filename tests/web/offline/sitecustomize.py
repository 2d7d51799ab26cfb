"""On PYTHONPATH of a server under test: every Python process of it may talk to this computer only.

An audit hook sees each connection and each look-up that Python makes, whoever makes it; what goes elsewhere is refused
and written down. What is not covered: sockets that native code opens by itself.
"""

import ipaddress
import os
import sys

LOCAL_NAMES = {"localhost", "", None, b"localhost", b""}


def _elsewhere(host: object) -> bool:
    if host in LOCAL_NAMES:
        return False
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(name.split("%")[0])
    except ValueError:
        return True  # a name that would have to be looked up
    return not (address.is_loopback or address.is_unspecified)


def _watch(event: str, arguments: tuple) -> None:
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a path: a Unix socket
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if _elsewhere(host):
        with open(os.environ["LECTERN_TEST_OUTBOUND"], "a") as log:
            log.write(f"{event} {host!r}\n")
        raise ConnectionRefusedError(f"{event} {host!r}: refused by the test")


sys.addaudithook(_watch)
