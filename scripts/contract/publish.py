"""Publishes through a running realtime server with Pusher's own Python library, and reads what WebSocket clients receive:
publish.py URL, where URL is ws://HOST:PORT/app/KEY and ORDERFLOW_REALTIME_SECRET is the secret of the application."""

import json
import os
import sys
from urllib.parse import urlsplit

from pusher import Pusher
from pusher.errors import PusherBadAuth, PusherBadRequest, PusherBadStatus, PusherError
from websockets.sync.client import connect

WAIT = 10  # seconds for an answer or an event
failed = False


def check(what, got, want):
    global failed
    if got != want:
        failed = True
        print(f"pusher: {what}: got {got!r}, want {want!r}", file=sys.stderr)


def refused(what, call, error):
    """Checks that the server refuses a call, with an error that says why."""
    try:
        got = call()
    except PusherError as refusal:
        got = type(refusal).__name__
        check(f"{what}: the answer has a message", '"message":' in str(refusal), True)
    check(what, got, error.__name__)


class Client:
    """A WebSocket client of the server."""

    def __init__(self, socket):
        self.socket = socket
        event, _, data = self.next()
        check("the first event of a connection", event, "pusher:connection_established")
        self.id = json.loads(data)["socket_id"]

    def next(self, wait=WAIT):
        """The next event: name, channel, data. It raises TimeoutError when none comes."""
        message = json.loads(self.socket.recv(timeout=wait))
        return message["event"], message.get("channel"), message.get("data")

    def subscribe(self, channel, **auth):
        self.socket.send(json.dumps({"event": "pusher:subscribe", "data": {"channel": channel, **auth}}))
        return self.next()

    def receives(self, what, *want):
        """Checks the next event. An earlier event that must not come is seen as this one."""
        try:
            check(what, self.next(), want)
        except TimeoutError:
            check(what, "no event", want)


def warm_up(pusher, client):
    """Waits until the server reads the bus: it may listen earlier, and then the first events can be lost."""
    client.subscribe("contract-ready")
    for _ in range(WAIT):
        pusher.trigger("contract-ready", "ready", {})
        try:
            client.next(wait=1)
            return
        except TimeoutError:
            pass
    sys.exit("pusher: no event arrived while the server was given time to read the bus")


def publish(pusher, options, secret, first, second):
    subscribed = "pusher_internal:subscription_succeeded"
    for client in (first, second):
        check("subscribe to a public channel", client.subscribe("contract-news"), (subscribed, "contract-news", "{}"))
        auth = pusher.authenticate("private-contract", client.id)
        check("subscribe to a private channel", client.subscribe("private-contract", **auth), (subscribed, "private-contract", "{}"))
    auth = pusher.authenticate("private-contract-2", second.id)
    event, channel, data = first.subscribe("private-contract-2", **auth)
    check("subscribe with the signature of another connection", (event, channel, json.loads(data).get("type")),
          ("pusher:subscription_error", "private-contract-2", "AuthError"))

    check("trigger to one channel", pusher.trigger("contract-news", "one", {"text": "Größer & “neu” + ? = %"}), {})
    for client in (first, second):
        client.receives("an event of one channel", "one", "contract-news", '{"text": "Größer & “neu” + ? = %"}')

    channels = ["contract-news", "private-contract", *(f"contract-{i}" for i in range(98))]
    check("trigger to 100 channels", pusher.trigger(channels, "many", "plain text"), {})
    for client in (first, second):
        for channel in channels[:2]:
            client.receives("an event of many channels", "many", channel, "plain text")

    batch = [{"channel": "contract-news", "name": f"batch {i}", "data": [i]} for i in range(9)]
    check("trigger_batch", pusher.trigger_batch([*batch, {"channel": "private-contract", "name": "last", "data": None}]), {})
    for client in (first, second):
        for i in range(9):
            client.receives("an event of a batch", f"batch {i}", "contract-news", f"[{i}]")
        client.receives("the last event of a batch", "last", "private-contract", "null")

    pusher.trigger("contract-news", "to others", 1, first.id)
    pusher.trigger("contract-news", "to all", 2)
    second.receives("an event with the socket id of another client", "to others", "contract-news", "1")
    first.receives("an event without a socket id, after one with the own", "to all", "contract-news", "2")
    second.receives("an event without a socket id", "to all", "contract-news", "2")

    count = {"subscription_count": 2}
    channels = {"contract-news": {}, "private-contract": {}}
    check("channels_info", {name: pusher.channels_info()["channels"].get(name) for name in channels}, channels)
    check("channels_info with a prefix", pusher.channels_info("private-con", ["subscription_count"]),
          {"channels": {"private-contract": count}})
    check("channels_info with a prefix of presence channels", pusher.channels_info("presence-", ["user_count"]), {"channels": {}})
    check("channel_info", pusher.channel_info("contract-news", ["subscription_count"]), {"occupied": True, **count})
    check("channel_info of an empty channel", pusher.channel_info("contract-empty"), {"occupied": False})
    refused("channel_info with the user_count of a public channel", lambda: pusher.channel_info("contract-news", ["user_count"]), PusherBadRequest)
    check("users_info of a presence channel", pusher.users_info("presence-contract"), {"users": []})
    refused("users_info of a public channel", lambda: pusher.users_info("contract-news"), PusherBadRequest)

    refused("trigger to a presence channel", lambda: pusher.trigger("presence-contract", "one", 1), PusherBadRequest)
    refused("trigger of an event of the protocol", lambda: pusher.trigger("contract-news", "pusher:error", 1), PusherBadRequest)
    refused("trigger_batch of 11 events", lambda: pusher.trigger_batch([dict(batch[0], data=0) for _ in range(11)]), PusherBadRequest)
    refused("trigger of more than 10 KiB", lambda: pusher.trigger("contract-news", "long", "x" * 10241), PusherBadStatus)
    refused("trigger with a wrong secret", lambda: Pusher(app_id="1", secret="wrong", **options).trigger("contract-news", "one", 1), PusherBadAuth)
    refused("trigger of an unknown application", lambda: Pusher(app_id="2", secret=secret, **options).trigger("contract-news", "one", 1), PusherBadStatus)

    first.socket.close()
    second.subscribe("contract-end")
    pusher.trigger(["contract-end", "contract-news"], "end", 0)
    second.receives("an event after refused ones", "end", "contract-end", "0")
    second.receives("an event after another client has left", "end", "contract-news", "0")


def main():
    url = urlsplit(sys.argv[1])
    options = {"key": url.path.removeprefix("/app/"), "ssl": False, "host": url.hostname, "port": url.port, "timeout": WAIT}
    secret = os.environ["ORDERFLOW_REALTIME_SECRET"]
    pusher = Pusher(app_id="1", secret=secret, **options)
    connection = f"{url.geturl()}?protocol=7"
    with connect(connection, open_timeout=WAIT) as socket:
        warm_up(pusher, Client(socket))
    with connect(connection, open_timeout=WAIT) as first, connect(connection, open_timeout=WAIT) as second:
        publish(pusher, options, secret, Client(first), Client(second))
    if failed:
        sys.exit(1)
    print("pusher: published, received, read and refused as documented")


main()
