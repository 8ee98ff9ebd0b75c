"""A job as users write them, of the standard library only: asks the endpoint for a data key and prints its id."""

import http.client
import json
import os
import socket
import sys
from pathlib import Path

folder = Path(os.environ["REDOUBT_ENDPOINT"])
place = folder / json.loads((folder / "endpoint.json").read_text())["socket"]
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(str(place))
dataset, record = sys.argv[1:3]
connection.request("POST", "/v1/unwrap", json.dumps({"dataset": dataset, "purpose": "data", "records": [record]}))
answer = json.loads(connection.getresponse().read())
print(answer["keys"][0]["id"] if "keys" in answer else answer["type"])
