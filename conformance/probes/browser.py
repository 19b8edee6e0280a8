"""A real browser: Debian's Chromium, without a screen, driven by selenium through chromedriver.

It knows the platform's names by a rule instead of a hosts file, and trusts the platform's roots by a certificate store
of its own, as a person's browser would: no certificate error is ever ignored.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from selenium.common.exceptions import NoSuchElementException, TimeoutException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from betelgeuse.errors import BetelgeuseError
from betelgeuse.surroundings import environment
from conformance.secrecy import Secret
from conformance.timeouts import TIMEOUTS

CHROMIUM: Final = "/usr/bin/chromium"
DRIVER: Final = "/usr/bin/chromedriver"
CERTUTIL: Final = "/usr/bin/certutil"
_SIZE: Final = "1200,900"
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_FIX: Final = "`nox -s conformance` installs them, or: apt-get install chromium chromium-driver libnss3-tools"


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return [program for program in (CHROMIUM, DRIVER, CERTUTIL) if not shutil.which(program)]


def _certutil(store: Path, *arguments: str, text: str = "") -> None:
    command = [CERTUTIL, "-d", f"sql:{store}", *arguments]
    ended = subprocess.run(  # noqa: S603 - our own arguments, and a path of our own
        command,
        env=environment(),
        input=text,
        capture_output=True,
        text=True,
        timeout=TIMEOUTS.browser,
        check=False,
    )
    if ended.returncode:
        message = f"certutil could not prepare the browser's trust: {ended.stderr.strip()[-200:]}"
        raise BetelgeuseError(message)


def _trust(home: Path, roots: Path | None) -> None:
    """Make the certificate store that Chromium reads in this home, with our roots in it."""
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    _certutil(store, "-N", "--empty-password")
    pem = roots.read_text("utf-8") if roots is not None else ""
    for at, body in enumerate(pem.split(_BEGIN)[1:]):
        _certutil(store, "-A", "-t", "C,,", "-n", f"betelgeuse-{at}", "-a", text=_BEGIN + body)


def _options(home: Path, rules: Mapping[str, str]) -> ChromeOptions:
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    mapped = ", ".join(f"MAP {name} {address}" for name, address in rules.items())
    for argument in (
        "--headless=new",
        f"--user-data-dir={home / 'profile'}",
        f"--window-size={_SIZE}",
        f"--host-resolver-rules={mapped}, MAP * ~NOTFOUND",
        # Its shared memory would not fit into a container's /dev/shm.
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
        "--hide-scrollbars",
        # A proxy of the environment does not lead to nodes inside this machine.
        "--no-proxy-server",
    ):
        options.add_argument(argument)
    if os.geteuid() == 0:
        # Chromium refuses to run as root with its sandbox, and where we run as root there is often no user namespace to
        # build one from. It opens pages of the platform under test only, for which every other name is NOTFOUND.
        options.add_argument("--no-sandbox")
    return options


class Chromium:
    """One window, seen through what a person sees: text, links, forms."""

    def __init__(self, driver: Chrome) -> None:
        """Drive this one."""
        self.driver = driver

    def open(self, url: str) -> None:
        """Open an address; raise BetelgeuseError with the browser's words when it shows none (a bad certificate)."""
        try:
            self.driver.get(url)
        except WebDriverException as error:
            message = f"the browser did not open {url}: {(error.msg or '').partition(chr(10))[0]}"
            raise BetelgeuseError(message) from None

    @property
    def url(self) -> str:
        """The address shown, without its query."""
        return self.driver.current_url.partition("?")[0]

    @property
    def text(self) -> str:
        """What is to be read."""
        found = self.find("body")
        return found.text if found is not None else ""

    def find(self, selector: str) -> WebElement | None:
        """Return the first element of a CSS selector, or None."""
        with suppress(NoSuchElementException):
            return self.driver.find_element(By.CSS_SELECTOR, selector)
        return None

    def links(self) -> list[str]:
        """Return where the page's links lead."""
        found = self.driver.find_elements(By.CSS_SELECTOR, "a[href]")
        return [str(link.get_attribute("href")) for link in found]

    def wait(self, there: Callable[[], object]) -> bool:
        """Wait until something is there; False when it does not come."""
        with suppress(TimeoutException):
            WebDriverWait(self.driver, TIMEOUTS.browser, TIMEOUTS.poll).until(lambda _: there())
            return True
        return False

    def log_in(self, name: str, password: Secret) -> None:
        """Fill in the login form that is shown, and send it."""
        self.driver.find_element(By.CSS_SELECTOR, "input[name=username]").send_keys(name)
        self.driver.find_element(By.CSS_SELECTOR, "input[name=password]").send_keys(password.reveal())
        self.driver.find_element(By.CSS_SELECTOR, "[type=submit]").click()

    def click(self, selector: str) -> bool:
        """Click an element; False when there is none."""
        found = self.find(selector)
        if found is not None:
            found.click()
        return found is not None

    def resize(self, width: int, height: int) -> None:
        """Give the page a window of this size, in CSS pixels."""
        shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)

    def picture(self) -> bytes:
        """Return what is shown, as PNG."""
        return self.driver.get_screenshot_as_png()


@contextmanager
def running(rules: Mapping[str, str], roots: Path | None) -> Iterator[Chromium]:
    """Run a browser with an empty profile; `rules` map names (with a port, or with *) to addresses.

    Raises BetelgeuseError where its programs are missing or it does not start.
    """
    if lacking := missing():
        message = f"no browser: {', '.join(lacking)} missing; {_FIX}"
        raise BetelgeuseError(message)
    # What a browser leaves open while it ends must not fail us.
    with tempfile.TemporaryDirectory(prefix="betelgeuse-browser-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        _trust(home, roots)
        homes = {"HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_CACHE_HOME": folder}
        service = Service(DRIVER, env=environment(homes, internet=False))
        try:
            driver = Chrome(options=_options(home, rules), service=service)
        except WebDriverException as error:
            message = f"the browser does not start: {(error.msg or '').partition(chr(10))[0]}"
            raise BetelgeuseError(message) from None
        try:
            driver.set_page_load_timeout(TIMEOUTS.browser)
            yield Chromium(driver)
        finally:
            driver.quit()
