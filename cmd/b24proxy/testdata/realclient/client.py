"""Calls a method twice with a library for Python, and prints how that ended.

Usage: python3 client.py http.client|urllib|requests|httpx|aiohttp ADDRESS
"""
import asyncio
import json
import os
import sys
import urllib.parse
import urllib.request

BODY = {"fields": {"TITLE": "a deal"}}
HEADERS = {"Content-Type": "application/json"}


def with_http_client(address):
    """http.client knows no variable for the proxy: a program that uses it must."""
    import base64
    import http.client

    proxy = urllib.parse.urlsplit(os.environ["https_proxy"])
    portal = urllib.parse.urlsplit(address)
    key = {}
    if proxy.username:
        pair = f"{proxy.username}:{proxy.password}".encode()
        key = {"Proxy-Authorization": "Basic " + base64.b64encode(pair).decode()}
    connection = http.client.HTTPSConnection(proxy.hostname, proxy.port)
    connection.set_tunnel(portal.hostname, 443, headers=key)
    for _ in range(2):
        connection.request("POST", portal.path, json.dumps(BODY), HEADERS)
        answer = connection.getresponse()
        yield answer.status, answer.read()


def with_urllib(address):
    for _ in range(2):
        request = urllib.request.Request(address, json.dumps(BODY).encode(), HEADERS)
        with urllib.request.urlopen(request) as answer:
            yield answer.status, answer.read()


def with_requests(address):
    import requests

    with requests.Session() as session:
        for _ in range(2):
            answer = session.post(address, json=BODY)
            yield answer.status_code, answer.content


def with_httpx(address):
    import httpx

    with httpx.Client() as client:
        for _ in range(2):
            answer = client.post(address, json=BODY)
            yield answer.status_code, answer.content


def with_aiohttp(address):
    import aiohttp

    async def calls():
        async with aiohttp.ClientSession(trust_env=True) as session:
            for _ in range(2):
                async with session.post(address, json=BODY) as answer:
                    answers.append((answer.status, await answer.read()))

    answers = []
    asyncio.run(calls())
    return answers


library, address = sys.argv[1:]
try:
    for status, body in globals()["with_" + library.replace(".", "_")](address):
        print(status, body.decode())
except Exception as error:
    print(type(error).__name__, error)
