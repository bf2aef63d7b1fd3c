"""Tells the passing instances of a service as py-consul reads them."""

import json
import os
import sys
from urllib.parse import urlsplit

import consul

at = urlsplit(os.environ["CONSUL_HTTP_ADDR"])
_, entries = consul.Consul(host=at.hostname, port=at.port).health.service(sys.argv[1], passing=True)
found = [
    {
        "address": entry["Service"]["Address"],
        "port": entry["Service"]["Port"],
        "status": "passing" if all(c["Status"] == "passing" for c in entry["Checks"]) else "critical",
        "tags": entry["Service"]["Tags"],
        "zone": entry["Service"]["Meta"]["zone"],
        "version": entry["Service"]["Meta"]["version"],
    }
    for entry in entries
]
json.dump(found, sys.stdout)
