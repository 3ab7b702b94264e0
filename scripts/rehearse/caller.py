"""caller.py URL FILE: pays twenty times a second with the key in the file until SIGTERM, then prints the results."""

import http.client
import json
import pathlib
import signal
import sys
import time
import urllib.parse

address, key = urllib.parse.urlsplit(sys.argv[1]).netloc, pathlib.Path(sys.argv[2])
paid, failed, going = 0, [], True


def stop(*_):
    global going
    going = False


signal.signal(signal.SIGTERM, stop)
connection = http.client.HTTPConnection(address, timeout=10)
while going:
    try:
        connection.request("GET", "/api/payment/simulate", headers={"X-API-Key": key.read_text().strip()})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 200:
            paid += 1
        else:
            failed.append(f"{time.strftime('%H:%M:%S')} {answer.status} {body[:200].decode()}")
    except (OSError, http.client.HTTPException) as error:
        failed.append(f"{time.strftime('%H:%M:%S')} {error!r}")
        connection.close()
    time.sleep(0.05)
print(json.dumps({"paid": paid, "failed": failed}))
