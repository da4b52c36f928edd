"""The trading page in a real browser, against the whole exchange: what a person sees and does.

Needs Debian's `chromium` and `chromium-driver`, which are optional: without them these tests are skipped. The browser
is spoken to over W3C WebDriver, which is JSON over HTTP, so no library is needed for it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest

pytestmark = pytest.mark.integ

WAIT_S = 60
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WATCH_SOCKETS = """
    window.sockets = [];
    window.lose = 0;
    window.WebSocket = class extends WebSocket {
        constructor(...all) {
            super(...all);
            window.sockets.push(this);
            this.addEventListener('message', event => {
                if (window.lose > 0 && event.data.includes('"depthUpdate"')) {
                    window.lose -= 1;
                    event.stopImmediatePropagation();
                }
            });
        }
    };
"""
"""Lets a test close the sockets of the page, and keep `lose` messages of the book from it."""
WATCH_BADGE = """
    (() => {
        const badge = document.querySelector("output[aria-label='Connection']");
        window.seen = [];
        new MutationObserver(() => window.seen.push(badge.textContent))
            .observe(badge, {subtree: true, childList: true, characterData: true});
    })()
"""
BOOK = """
    ["Bids", "Asks"].map(side =>
        [...document.querySelectorAll(`[aria-label=${side}] .price`)].map(price => price.textContent))
"""
TEXTS = """
    const found = document.evaluate(arguments[0], document, null, XPathResult.ORDERED_NODE_SNAPSHOT_TYPE, null);
    return Array.from({length: found.snapshotLength}, (_, index) => found.snapshotItem(index).textContent);
"""
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The name that WebDriver gives to a reference to an element."""

T = TypeVar("T")


class Browser:
    """One session of chromedriver; elements are found by XPath."""

    def __init__(self, driver_url: str) -> None:
        options = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": [*FLAGS, "--window-size=1280,800"], "binary": shutil.which("chromium")},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self._url = f"{driver_url}/session"
        session = self._post("", {"capabilities": {"alwaysMatch": options}})
        self._url += f"/{session['sessionId']}"
        self.devtools("Page.addScriptToEvaluateOnNewDocument", source=WATCH_SOCKETS)

    def _post(self, path: str, body: dict[str, Any], method: str = "POST") -> Any:
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(
            f"{self._url}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]

    def quit(self) -> None:
        self._post("", {}, "DELETE")

    def open(self, url: str) -> None:
        self._post("/url", {"url": "about:blank"})  # else a new fragment alone would not load the page again
        self._post("/url", {"url": url})

    def script(self, code: str) -> Any:
        return self._post("/execute/sync", {"script": f"return {code.strip()}", "args": []})

    def devtools(self, command: str, **parameters: Any) -> None:
        self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def resize(self, width: int, height: int) -> None:
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def texts(self, xpath: str) -> list[str]:
        """Return the text of all that match, spaces joined, as of one moment."""
        texts = self._post("/execute/sync", {"script": TEXTS, "args": [xpath]})
        return [" ".join(text.split()) for text in texts]

    def click(self, xpath: str) -> None:
        """Click the first that matches; one that leaves the page between two looks is looked for again."""

        def is_clicked() -> bool:
            for element in self._post("/elements", {"using": "xpath", "value": xpath})[:1]:
                try:
                    self._post(f"/element/{element[ELEMENT]}/click", {})
                except urllib.error.HTTPError as error:
                    if json.load(error)["value"]["error"] != "stale element reference":
                        raise
                else:
                    return True
            return False

        wait_for(f"{xpath} to click", is_clicked)

    def type(self, field: str, text: str) -> None:
        """Replace what is in the input called `field`."""
        element = self._post("/element", {"using": "xpath", "value": f"//input[@name='{field}']"})
        self._post(f"/element/{element[ELEMENT]}/clear", {})
        self._post(f"/element/{element[ELEMENT]}/value", {"text": text})

    def complaints(self) -> list[str]:
        """Return errors and warnings of the console since the last call, refused requests to the exchange aside."""
        entries = self._post("/se/log", {"type": "browser"})
        return [
            entry["message"]
            for entry in entries
            if entry["level"] in {"SEVERE", "WARNING"} and "/api/v3/" not in entry["message"]
        ]


def wait_for(what: str, look: Callable[[], T]) -> T:
    """Return the first true answer of `look` within WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not (answer := look()):
        assert time.monotonic() < deadline, f"waited {WAIT_S} s for {what}"
        time.sleep(0.1)
    return answer


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    path = os.environ.get("BURSA_DEMO")
    if not path:
        pytest.skip("BURSA_DEMO does not name the demo.json of a running exchange")
    return json.loads(Path(path).read_text())


@pytest.fixture(scope="module")
def driver_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for name in ("chromium", "chromedriver"):
        if not shutil.which(name):
            pytest.skip(f"no {name} on PATH (Debian packages chromium, chromium-driver)")
    log = tmp_path_factory.mktemp("chromedriver") / "out"
    with log.open("wb") as out:
        process = subprocess.Popen(["chromedriver", "--port=0"], stdout=out, stderr=out)
    try:
        port = wait_for("chromedriver's port", lambda: re.search(rb"successfully on port (\d+)", log.read_bytes()))
        yield f"http://127.0.0.1:{port[1].decode()}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def browser(driver_url: str) -> Iterator[Browser]:
    browser = Browser(driver_url)
    yield browser
    browser.quit()


@pytest.fixture
def page(browser: Browser, demo: dict[str, Any]) -> Browser:
    """The page at 1280 by 800, with the key of the first demo account."""
    account = demo["accounts"][0]
    browser.resize(1280, 800)
    browser.open(f"{demo['ui_url']}#{urlencode({'key': account['api_key'], 'secret': account['secret_key']})}")
    wait_for("a live book", lambda: live(browser))
    wait_for("the account", lambda: any("Key " in text for text in browser.texts("//output[@aria-label='Account']")))
    return browser


def live(browser: Browser) -> bool:
    return any(text.startswith("Live") for text in browser.texts("//output[@aria-label='Connection']"))


def quoted(browser: Browser) -> tuple[list[Decimal], list[Decimal]] | None:
    """Return `book` once somebody quotes on both sides."""
    bids, asks = book(browser)
    return (bids, asks) if bids and asks else None


def book(browser: Browser) -> tuple[list[Decimal], list[Decimal]]:
    """Return the prices of bids and asks, best first: both of one moment, since the market moves between two looks."""
    bids, asks = browser.script(BOOK)
    return [Decimal(text.replace(",", "")) for text in bids], [Decimal(text.replace(",", "")) for text in asks]


def messages(browser: Browser) -> str:
    return " | ".join(browser.texts("//div[@aria-label='Messages']//p/span"))


def signed(demo: dict[str, Any], path: str, **parameters: str) -> Any:
    """Ask the exchange itself, past the page."""
    account = demo["accounts"][0]
    query = urlencode({**parameters, "timestamp": str(int(time.time() * 1000))})
    signature = hmac.new(account["secret_key"].encode(), query.encode(), hashlib.sha256).hexdigest()
    url = f"{demo['rest_url']}{path}?{query}&signature={signature}"
    request = urllib.request.Request(url, headers={"X-MBX-APIKEY": account["api_key"]})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def test_anyone_sees_the_market(browser: Browser, demo: dict[str, Any]) -> None:
    browser.resize(1280, 800)
    browser.open(demo["ui_url"])
    wait_for("a live book", lambda: live(browser))
    bids, asks = wait_for("quotes on both sides", lambda: quoted(browser))
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    assert browser.texts("//select[@aria-label='Market']/option") == demo["symbols"]
    assert browser.script("document.querySelector('#tv-attr-logo').href").startswith("https://www.tradingview.com/")
    assert browser.texts("//input[@name='api-key']/preceding-sibling::span") == ["API key"]
    assert browser.complaints() == []


def test_another_market(page: Browser, demo: dict[str, Any]) -> None:
    other = demo["symbols"][-1]
    page.click(f"//option[@value='{other}']")
    wait_for("the other market", lambda: page.texts("//section[@aria-label='Candles']//h2") == [other])
    bids = wait_for("its book", lambda: live(page) and book(page)[0])
    url = f"{demo['rest_url']}/api/v3/ticker/bookTicker?symbol={other}"
    with urllib.request.urlopen(url, timeout=10) as response:
        best = Decimal(json.load(response)["bidPrice"])
    assert abs(bids[0] - best) < best / 50


def test_the_key_stays_in_the_tab(page: Browser) -> None:
    assert page.script("location.hash") == ""
    assert page.script("localStorage.length") == 0
    assert page.script("document.cookie") == ""
    page.click("//button[text()='Forget key']")
    assert page.script("sessionStorage.length") == 0
    assert page.texts("//input[@name='secret-key']/preceding-sibling::span") == ["Secret key"]


def test_an_order_is_placed_and_cancelled_by_clicks(page: Browser, demo: dict[str, Any]) -> None:
    symbol = demo["symbols"][0]
    before = {order["orderId"] for order in signed(demo, "/api/v3/openOrders", symbol=symbol)}
    page.click("//div[@aria-label='Bids']//button[last()]")  # the market is not so soon where it would fill
    price = Decimal(page.script("document.querySelector('input[name=price]').value"))
    page.type("quantity", "0.001")
    page.click("//span[text()='Post only']")
    page.click("//button[@type='submit']")
    wait_for("the message", lambda: "is on the book" in messages(page))
    (order,) = (o for o in signed(demo, "/api/v3/openOrders", symbol=symbol) if o["orderId"] not in before)
    assert (order["side"], order["type"]) == ("BUY", "LIMIT_MAKER")
    assert (Decimal(order["price"]), Decimal(order["origQty"])) == (price, Decimal("0.001"))
    page.click(f"//button[@aria-label='Cancel order {order['orderId']}']")
    cancel = f"//button[@aria-label='Cancel order {order['orderId']}']"
    wait_for("the row to go", lambda: not page.texts(cancel))
    assert order["orderId"] not in {o["orderId"] for o in signed(demo, "/api/v3/openOrders", symbol=symbol)}


def test_a_market_order_by_amount_becomes_a_trade(page: Browser, demo: dict[str, Any]) -> None:
    symbol = demo["symbols"][0]
    page.click("//button[text()='Market']")
    page.click("//button[starts-with(text(), 'Amount')]")
    page.type("amount", "50")
    page.click("//button[@type='submit']")
    wait_for("the message", lambda: "Bought" in messages(page))
    trade = wait_for("the trade", lambda: signed(demo, "/api/v3/myTrades", symbol=symbol, limit="1"))[-1]
    page.click("//button[@role='tab' and text()='My trades']")
    newest = wait_for("my trade", lambda: page.texts("//tbody/tr[1]/td"))
    assert newest[1] == "Buy"
    assert Decimal(newest[2].replace(",", "")) == Decimal(trade["price"])


def test_a_refusal_is_told_in_the_words_of_the_exchange(page: Browser, demo: dict[str, Any]) -> None:
    held = {balance["asset"]: Decimal(balance["free"]) for balance in signed(demo, "/api/v3/account")["balances"]}
    page.click("//button[text()='Sell']")
    page.click("//div[@aria-label='Asks']//button[1]")
    page.type("quantity", str(int(held["BTC"]) + 1))
    page.click("//button[@type='submit']")
    wait_for("the refusal", lambda: "insufficient balance" in messages(page))
    assert "code -2010" in messages(page)


def test_a_number_that_cannot_be_sent_is_told_beside_the_field(page: Browser) -> None:
    page.type("price", "1,5")
    page.type("quantity", "1")
    page.click("//button[@type='submit']")
    (problem,) = wait_for("the problem", lambda: page.texts("//p[@id='problem']"))
    assert problem.startswith('Price: "1,5" is not a number; allowed:')
    assert page.script("document.activeElement.name") == "price"


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_screen(page: Browser, width: int) -> None:
    page.resize(width, 844)
    assert page.script("document.documentElement.scrollWidth") <= width
    hidden = """[...document.querySelectorAll('.panel, .form button, .form input')]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().width < 12)
        .map(e => e.className || e.name || e.textContent)"""
    assert page.script(hidden) == []


def test_a_lost_update_is_noticed_and_healed(page: Browser) -> None:
    page.script(WATCH_BADGE)
    page.script("window.lose = 1")
    wait_for("the gap", lambda: "Gap: resynchronising" in page.script("window.seen"))
    wait_for("a live book", lambda: live(page))
    bids, asks = wait_for("quotes on both sides", lambda: quoted(page))
    assert bids[0] < asks[0]


def test_a_lost_connection_comes_back(page: Browser) -> None:
    page.script(WATCH_BADGE)
    assert page.script("window.sockets.length") == 2
    page.script("window.sockets.forEach(socket => socket.close())")
    wait_for("the loss", lambda: any(text.startswith("Offline") for text in page.script("window.seen")))
    wait_for("a live book", lambda: live(page))
    wait_for("the account", lambda: any("Key " in text for text in page.texts("//output[@aria-label='Account']")))
    assert page.script("window.sockets.length") == 4
    seen = page.script("window.seen")
    lost = next(at for at, text in enumerate(seen) if text.startswith("Offline"))  # before, it was live
    live_again = next(at for at, text in enumerate(seen) if at > lost and text.startswith("Live"))
    assert "Synchronising" in seen[lost:live_again], seen
