"""Shows what passes between a browser and a Space: requests, uploads, a stream of
events, and messages over a WebSocket."""

import asyncio
import hashlib
import os
import time

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, StreamingResponse

app = FastAPI(title="Wire check")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Wire check</title>
<style>body { font: 16px system-ui; max-width: 40em; margin: 3em auto; padding: 0 1em }</style>
</head><body>
<h1>Wire check</h1>
<p>This Space runs as user <b id="uid">?</b>.</p>
<p>Events: <b id="event">none yet</b></p>
<p>WebSocket: <b id="echo">no answer yet</b></p>
<p><input type="file" id="file"> <b id="sum"></b></p>
<script>
const show = (id, text) => { document.getElementById(id).textContent = text; };
const here = new URL(".", location.href);
fetch("who").then(answer => answer.json()).then(who => show("uid", who.uid));
new EventSource("clock").onmessage = event => show("event", event.data);
const socket = new WebSocket(new URL("echo", here).href.replace(/^http/, "ws"));
socket.onopen = () => socket.send("hello");
socket.onmessage = event => show("echo", event.data);
document.getElementById("file").onchange = async event => {
    const answer = await fetch("sum", { method: "POST", body: event.target.files[0] });
    const sum = await answer.json();
    show("sum", sum.bytes + " bytes, SHA-256 " + sum.sha256);
};
</script></body></html>"""


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    return PAGE


@app.get("/who")
def who() -> dict:
    """As whom the Space runs, and which of its variables are set (names only)."""
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "home": os.environ.get("HOME"),
        "title": os.environ.get("SPACE_TITLE"),
        "variables": sorted(os.environ),
    }


@app.post("/sum")
async def checksum(request: Request) -> dict:
    """Length and SHA-256 of the body, read piece by piece: any size passes."""
    digest, length = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        length += len(piece)
    return {"bytes": length, "sha256": digest.hexdigest()}


@app.get("/bytes/{count}")
def zeros(count: int) -> StreamingResponse:
    """A download of `count` zero bytes, at most 1 GiB."""
    count = max(0, min(count, 1 << 30))
    whole, rest = divmod(count, 1 << 16)
    pieces = (bytes(1 << 16) if i < whole else bytes(rest) for i in range(whole + 1))
    return StreamingResponse(pieces, media_type="application/octet-stream")


@app.get("/clock")
async def clock(ticks: int = 60) -> StreamingResponse:
    """Server-sent events, two a second."""
    async def events():
        for tick in range(ticks):
            yield f"id: {tick}\ndata: {time.strftime('%H:%M:%S')}\n\n"
            await asyncio.sleep(0.5)

    return StreamingResponse(events(), media_type="text/event-stream")


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    """Sends back what it is sent, text as text and bytes as bytes."""
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        return
