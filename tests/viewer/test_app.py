"""What the viewer answers, over a real connection."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from magneton_tasks.formats.precomputed.chunks import compress
from magneton_tasks.viewer.layers import Layer, resolve
from tests.helpers import bombs
from tests.viewer.conftest import PAGE, TOKEN, Client, Running, app_of

AFFINITY = "data/0"
SEGMENTATION = "data/1"
KEY = "8_8_16"


def chunk_of(folder: Path) -> Path:
    """Some chunk of a layer."""
    return min((folder / KEY).iterdir())


def url_of(folder: Path, n: int) -> str:
    return f"{PAGE}data/{n}/{KEY}/{chunk_of(folder).name.removesuffix('.gz')}"


# ------------------------------------------------------------------ the page
def test_the_page_is_neuroglancers_with_our_state(steady: Client) -> None:
    page = steady.get(PAGE).decode()
    scripts = re.findall(r'<script[^>]*src="([^"]+)"', page)
    assert scripts[0] == "state.js"  # before those of the client
    assert len(scripts) > 2
    for script in scripts:
        assert len(steady.get(PAGE + script)) > 100
    assert "segmentation" in steady.get(f"{PAGE}state.js").decode()


def test_the_state_holds_no_address_that_a_proxy_could_make_wrong(steady: Client) -> None:
    script = steady.get(f"{PAGE}state.js").decode()
    assert "http://" not in script
    assert str(steady.port) not in script


def test_without_the_last_slash_one_is_sent_to_the_page(steady: Client) -> None:
    status, headers, _ = steady.ask(f"/v/{TOKEN}")
    assert status == 307
    assert headers["location"] == f"{TOKEN}/"  # relative: right below any prefix


@pytest.mark.parametrize(
    "path",
    [
        "/v/wrong/", "/v/wrong", "/v/wrong/state.js", "/events/wrong", "/events/wrong?c=1",
        f"/v/wrong/{AFFINITY}/info", f"/v/{TOKEN}x/", f"/v/{TOKEN[:-1]}/", "/v/%C3%A4/",
    ],
)  # fmt: skip
def test_a_wrong_token_is_refused(steady: Client, path: str) -> None:
    status, _, body = steady.ask(path)
    assert status == 403
    assert b"link" in body


@pytest.mark.parametrize(
    "path", ["/", "/v", "/v//", "/info", "/favicon.ico", f"/{TOKEN}/", "/data/0/info"]
)
def test_without_a_token_there_is_nothing(steady: Client, path: str) -> None:
    assert steady.ask(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
@pytest.mark.parametrize("path", [PAGE, f"{PAGE}{AFFINITY}/info", f"/state/{TOKEN}", "/"])
def test_only_reading(steady: Client, method: str, path: str) -> None:
    status, headers, _ = steady.ask(path, method)
    assert status == 405
    assert "GET" in headers["allow"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200), ("localhost:9999", 200), ("localhost", 200), ("[::1]:80", 200),
        ("LOCALHOST", 200), ("evil.example:{port}", 421), ("127.0.0.1.evil.example", 421),
        ("localhost.", 421), ("", 421), ("[::1].evil.example", 421), ("evil.example@localhost", 421),
    ],
)  # fmt: skip
def test_other_names_for_this_machine_are_refused(steady: Client, host: str, status: int) -> None:
    """A page of evil.example whose name now points to 127.0.0.1 sends its own name as host."""
    assert steady.ask(PAGE, host=host.format(port=steady.port))[0] == status


def test_the_token_isnt_passed_on(steady: Client) -> None:
    assert steady.ask(PAGE)[1]["referrer-policy"] == "no-referrer"


# ------------------------------------------------------------------ files of a volume
def test_a_chunk_is_its_file(steady: Client, small_volumes: Path) -> None:
    folder = small_volumes / "affinity"
    status, headers, body = steady.ask(url_of(folder, 0))
    assert status == 200
    assert body == chunk_of(folder).read_bytes()
    assert headers["cache-control"] == "no-cache"
    assert headers["access-control-allow-origin"] == "*"
    assert json.loads(steady.get(f"{PAGE}{AFFINITY}/info"))["num_channels"] == 3


def test_an_unchanged_chunk_is_not_sent_again(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "affinity"
    url = url_of(folder, 0)
    tag = client.ask(url)[1]["etag"]
    status, headers, body = client.ask(url, if_none_match=f'"other", W/{tag}')
    assert (status, body) == (304, b"")
    assert headers["etag"] == tag
    replacement = tmp_path / "new"
    replacement.write_bytes(b"n" * chunk_of(folder).stat().st_size)
    os.rename(replacement, chunk_of(folder))
    assert client.get(url, if_none_match=tag)[:1] == b"n"


def test_a_chunk_that_comes_later_is_found(client: Client, tmp_path: Path) -> None:
    """apply is still writing: what is missing isn't remembered."""
    folder = tmp_path / "affinity"
    url, path = url_of(folder, 0), chunk_of(folder)
    path.rename(tmp_path / "aside")
    status, headers, _ = client.ask(url)
    assert status == 404
    assert headers["cache-control"] == "no-store"
    assert headers["access-control-allow-origin"] == "*"
    (tmp_path / "aside").rename(path)
    assert client.get(url)


@pytest.mark.parametrize(
    ("header", "status", "begin", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=10-", 206, 10, None),
        ("bytes=-7", 206, -7, None),
        ("bytes=5-999999999", 206, 5, None),
        ("bytes=-999999999", 206, 0, None),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=0-1,4-5", 200, 0, None),  # several: the whole, as HTTP allows
        ("bytes=9-3", 200, 0, None),
        ("lines=0-9", 200, 0, None),
        ("bytes=-", 200, 0, None),
    ],
)
def test_ranges(
    steady: Client, small_volumes: Path, header: str, status: int, begin: int, end: int | None
) -> None:
    folder = small_volumes / "affinity"
    whole = chunk_of(folder).read_bytes()
    expected = whole[begin:end]
    found, headers, body = steady.ask(url_of(folder, 0), range=header)
    assert (found, body) == (status, expected)
    assert headers["content-length"] == str(len(expected))
    if status == 206:
        first = len(whole) - len(expected) if begin < 0 else begin
        last = first + len(expected) - 1
        assert headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"
    head = steady.ask(url_of(folder, 0), "HEAD", range=header)
    assert (head[0], head[2]) == (status, b"")
    assert head[1]["content-length"] == str(len(expected))


@pytest.mark.parametrize("header", ["bytes=99999999-", "bytes=-0"])
def test_a_range_behind_the_end(steady: Client, small_volumes: Path, header: str) -> None:
    folder = small_volumes / "affinity"
    status, headers, body = steady.ask(url_of(folder, 0), range=header)
    assert (status, body) == (416, b"")
    assert headers["content-range"] == f"bytes */{chunk_of(folder).stat().st_size}"


def test_a_range_of_a_file_that_has_changed(steady: Client, small_volumes: Path) -> None:
    url = url_of(small_volumes / "affinity", 0)
    tag = steady.ask(url)[1]["etag"]
    assert steady.ask(url, range="bytes=0-9", if_range=tag)[0] == 206
    assert steady.ask(url, range="bytes=0-9", if_range='"other"')[0] == 200


def test_a_shard_is_sent_in_pieces(client: Client, tmp_path: Path) -> None:
    content = os.urandom(9 << 20)
    (tmp_path / "affinity" / KEY / "0a.shard").write_bytes(content)
    url = f"{PAGE}{AFFINITY}/{KEY}/0a.shard"
    assert client.get(url) == content
    status, _, body = client.ask(url, range=f"bytes=100-{8 << 20}")
    assert status == 206
    assert body == content[100 : (8 << 20) + 1]


def test_heads_and_gets_share_a_connection(steady: Client, small_volumes: Path) -> None:
    url = url_of(small_volumes / "affinity", 0)
    connection = http.client.HTTPConnection("127.0.0.1", steady.port, timeout=120)
    for method in ("HEAD", "GET", "HEAD", "GET"):
        connection.request(method, url)
        response = connection.getresponse()
        size = len(response.read())
        assert size == (0 if method == "HEAD" else int(response.headers["Content-Length"]))
    connection.close()


# ------------------------------------------------------------------ compressed chunks
def test_a_gzipped_chunk_goes_by_its_plain_name(steady: Client, small_volumes: Path) -> None:
    folder = small_volumes / "segmentation"
    stored = chunk_of(folder).read_bytes()
    assert chunk_of(folder).suffix == ".gz"
    status, headers, body = steady.ask(url_of(folder, 1), accept_encoding="gzip, br")
    assert (status, body) == (200, stored)
    assert headers["content-encoding"] == "gzip"
    assert headers["vary"] == "Accept-Encoding"
    # a range of compressed bytes is of no use to anyone: the whole
    status, headers, body = steady.ask(url_of(folder, 1), accept_encoding="gzip", range="bytes=0-9")
    assert (status, body) == (200, stored)
    assert "accept-ranges" not in headers
    status, headers, body = steady.ask(url_of(folder, 1), "HEAD", accept_encoding="gzip")
    assert (status, body) == (200, b"")
    assert headers["content-length"] == str(len(stored))


def test_who_takes_no_gzip_gets_plain_bytes(steady: Client, small_volumes: Path) -> None:
    folder = small_volumes / "segmentation"
    plain = gzip.decompress(chunk_of(folder).read_bytes())
    for accepted in ("identity", "gzip;q=0, br"):
        status, headers, body = steady.ask(url_of(folder, 1), accept_encoding=accepted)
        assert (status, body) == (200, plain)
        assert "content-encoding" not in headers


def test_a_brotli_chunk(client: Client, tmp_path: Path) -> None:
    import brotli

    folder = tmp_path / "segmentation"
    url, path = url_of(folder, 1), chunk_of(folder)
    plain = gzip.decompress(path.read_bytes())
    path.with_suffix(".br").write_bytes(brotli.compress(plain))
    path.unlink()
    assert client.ask(url, accept_encoding="br")[1]["content-encoding"] == "br"
    assert client.get(url, accept_encoding="gzip") == plain  # e.g. Firefox over plain http


def test_a_torn_gzip_chunk_is_an_error_not_a_picture(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "segmentation"
    chunk_of(folder).write_bytes(compress(b"0" * 1000, "gzip")[:-5])
    assert client.ask(url_of(folder, 1), accept_encoding="identity")[0] == 503


@pytest.mark.parametrize("kind", bombs.KINDS)
def test_a_bomb_is_cut_off(client: Client, tmp_path: Path, kind: str) -> None:
    """0.4 MB that would become 400 MB in the server."""
    folder = tmp_path / "segmentation"
    url = url_of(folder, 1)
    chunk = chunk_of(folder)
    suffix, data = bombs.bomb(kind)
    bombs.replace_chunk(chunk, kind)
    with bombs.little_memory(100):
        status, _, body = client.ask(url, accept_encoding="identity")
    assert status == 503
    assert chunk.with_suffix(suffix).name in body.decode()
    encoding = {".gz": "gzip", ".br": "br", ".zstd": "zstd"}[suffix]
    assert client.get(url, accept_encoding=encoding) == data, "as it is: the browser's to refuse"


# ------------------------------------------------------------------ nothing else
@pytest.mark.parametrize(
    "name",
    [
        "../secret", "..%2fsecret", "%2e%2e/secret", "%2e%2e%2fsecret", "8_8_16/../../secret",
        "8_8_16/%2e%2e/%2e%2e/secret", "//etc/passwd", "%2fetc%2fpasswd", "./info", "info/", "info%00",
        "", ".", "..", "8_8_16", "8_8_16/", "magneton.json", "8_8_16/notes.txt", "secret", "..\\secret",
        "8_8_16/.0-32_0-32_0-16.host-1-0a0b0c0d.tmp", "a/b/info",
    ],
)  # fmt: skip
def test_nothing_but_the_volumes_files(client: Client, tmp_path: Path, name: str) -> None:
    secret = b"nobody may see this"
    for path in (
        "secret",
        "affinity/secret",
        "affinity/magneton.json",
        "affinity/8_8_16/notes.txt",
        "affinity/8_8_16/.0-32_0-32_0-16.host-1-0a0b0c0d.tmp",
    ):
        (tmp_path / path).write_bytes(secret)
    status, _, body = client.ask(f"{PAGE}{AFFINITY}/{name}")
    assert status == 404
    assert secret not in body
    assert b"root:" not in body


@pytest.mark.parametrize("n", ["2", "-1", "x"])
def test_no_other_layer(steady: Client, n: str) -> None:
    assert steady.ask(f"{PAGE}data/{n}/info")[0] == 404


def test_no_link_leads_out(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "affinity"
    url, path = url_of(folder, 0), chunk_of(folder)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / path.name).write_bytes(b"nobody may see this")
    assert client.get(url)
    # the chunk itself; then the directory, swapped while the server runs
    path.unlink()
    path.symlink_to(outside / path.name)
    assert client.ask(url)[0] == 404
    (folder / KEY).rename(folder / "aside")
    (folder / KEY).symlink_to(outside)
    assert client.ask(url)[0] == 404
    # a neighbour whose name begins as the volume's does
    neighbour = tmp_path / "affinity-2"
    outside.rename(neighbour)
    (folder / KEY).unlink()
    (folder / KEY).symlink_to(neighbour)
    assert client.ask(url)[0] == 404
    # within the volume a link is fine
    (folder / KEY).unlink()
    (folder / KEY).symlink_to(folder / "aside")
    other = max((folder / "aside").iterdir()).name
    assert client.get(f"{PAGE}{AFFINITY}/{KEY}/{other}")


def test_a_volume_behind_a_link_is_served(
    tmp_path: Path, layers: list[Layer], running: Running
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "affinity")
    shown, _ = resolve([Layer("affinity", "affinity", f"file://{tmp_path}/link")])
    assert running(app_of(shown)).get(url_of(tmp_path / "affinity", 0))


def test_a_pipe_holds_nobody_up(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "affinity"
    url, path = url_of(folder, 0), chunk_of(folder)
    path.unlink()
    os.mkfifo(path)
    assert client.ask(url)[0] == 404


def test_other_sites_may_ask_first(steady: Client) -> None:
    status, headers, _ = steady.ask(
        f"{PAGE}{AFFINITY}/info",
        "OPTIONS",
        origin="https://neuroglancer.example",
        access_control_request_method="GET",
        access_control_request_headers="range",
        access_control_request_private_network="true",
    )
    assert status == 204
    assert headers["access-control-allow-origin"] == "*"
    assert "range" in headers["access-control-allow-headers"].lower()
    assert headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in headers


# ------------------------------------------------------------------ event streams, prefix
def open_stream(port: int, path: str) -> socket.socket:
    """A client that listens to events; it has received the first line."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=120)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    received = b""
    while b"\n\n" not in received.partition(b"\r\n\r\n")[2]:
        piece = connection.recv(4096)
        assert piece, received
        received += piece
    assert received.startswith(b"HTTP/1.1 200")
    assert b"text/event-stream" in received
    return connection


def test_many_event_streams_hold_up_nothing(steady: Client, small_volumes: Path) -> None:
    with ExitStack() as stack:
        for _ in range(100):  # more than there are threads
            stack.enter_context(open_stream(steady.port, f"/events/{TOKEN}?c=1&gc=&gs="))
        assert steady.get(url_of(small_volumes / "affinity", 0))


def test_below_a_prefix(tmp_path: Path, layers: list[Layer], running: Running) -> None:
    shown, _ = resolve(layers)
    prefix = "/some/prefix"
    client = running(Starlette(routes=[Mount(prefix, app=app_of(shown))]))
    assert b"state.js" in client.get(prefix + PAGE)
    assert client.get(prefix + url_of(tmp_path / "affinity", 0))
    assert client.ask(f"{prefix}/v/{TOKEN}")[1]["location"] == f"{TOKEN}/"
    assert client.ask(f"{prefix}/v/wrong/")[0] == 403
    assert client.ask(PAGE)[0] == 404
    with open_stream(client.port, f"{prefix}/events/{TOKEN}"):
        pass
    # behind a proxy the name is the proxy's: whoever mounts the application looks after it
    assert client.ask(prefix + PAGE, host="airflow.example")[0] == 200
