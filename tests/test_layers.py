"""The package's shape: who may import whom, which test belongs to which module, and what is in the distribution."""

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mles_tx"

#: The layers, lowest first: a module imports from its own and from lower ones. Not all of them are there yet.
LAYERS = ("protocol", "metrics", "channels", "stores", "transport", "web", "service", "client", "cli")

#: What clients are made of. They never import the server.
CLIENT_IMPORTS = ("protocol", "client")

#: The modules and packages that may import a library.
IMPORTERS = {
    "autobahn": ("mles_tx.transport.websocket", "mles_tx.client.link"),
    "txacme": ("mles_tx.transport.certificates",),
    "acme": ("mles_tx.transport.certificates",),
    "josepy": ("mles_tx.transport.certificates",),
    "paho": ("mles_tx.client.mqtt",),
    "txredisapi": ("mles_tx.stores.redis.link",),
    "hiredis": ("mles_tx.stores.redis.link",),
}

#: What the rules of the protocol must do without.
NOT_IN_PROTOCOL = ("twisted", "zope")


def modules(directory: Path = PACKAGE) -> Iterator[tuple[str, Path]]:
    """Every module of the package: its name, `__init__` included, and its file."""
    for path in sorted(directory.rglob("*.py")):
        yield ".".join(path.relative_to(directory.parent).with_suffix("").parts), path


def imports(module: str, source: str) -> Iterator[tuple[str, bool]]:
    """What a module imports: each name in full, and whether it is imported as soon as the module is."""
    tree = ast.parse(source)
    late = {
        inner
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node not in late
        elif isinstance(node, ast.ImportFrom):
            # `from . import x` in package.module counts from the package; one dot more goes up one.
            base = module.split(".")[: -node.level] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{start}.{alias.name}", node not in late


def is_in(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a name is one of some packages, or in it."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def layer_of(name: str) -> str | None:
    """The layer a name of ours is in; None: in none, like the package itself."""
    parts = name.split(".")
    return parts[1] if parts[0] == "mles_tx" and len(parts) > 1 and parts[1] in LAYERS else None


def complaints(module: str, source: str) -> Iterator[str]:
    """What a module imports and should not."""
    own = layer_of(module)
    for name, at_once in imports(module, source):
        other = layer_of(name)
        if other is not None and other != own:
            if other == "cli":
                yield f"{module} imports {name}: nothing imports the command line"
            elif own == "client" and other not in CLIENT_IMPORTS:
                yield f"{module} imports {name}: clients import the protocol and nothing else of ours"
            elif own is not None and LAYERS.index(other) > LAYERS.index(own):
                yield f"{module} imports {name}: {other} is above {own}"
        if is_in(name, ("twisted.internet.reactor",)) and at_once:
            yield f"{module} imports {name}: the reactor is a parameter, or imported in a function that runs a program"
        if own == "protocol" and is_in(name, NOT_IN_PROTOCOL):
            yield f"{module} imports {name}: the protocol knows no framework"
        for library, allowed in IMPORTERS.items():
            if is_in(name, (library,)) and not is_in(module, allowed):
                yield f"{module} imports {name}: only {' and '.join(allowed)} may"


#: A module, a line of it, and how many complaints there are to be.
LINES = (
    ("mles_tx.protocol.header", "import json", 0),
    ("mles_tx.protocol.header", "from .auth import compute", 0),
    ("mles_tx.protocol.header", "from mles_tx.channels.history import Message", 1),
    ("mles_tx.protocol.header", "from ..channels import history", 1),
    ("mles_tx.protocol.header", "from twisted.logger import Logger", 1),
    ("mles_tx.protocol.header", "def f():\n    import zope.interface", 1),
    ("mles_tx.protocol.__init__", "from .auth import compute", 0),
    ("mles_tx.protocol.__init__", "from ..web import pages", 1),
    ("mles_tx.metrics", "from mles_tx.channels.registry import ChannelRegistry", 1),
    ("mles_tx.channels.registry", "from mles_tx.metrics import Metrics", 0),
    ("mles_tx.channels.registry", "from mles_tx import metrics", 0),
    ("mles_tx.channels.registry", "from mles_tx.protocol.closing import CloseReason", 0),
    ("mles_tx.channels.registry", "from mles_tx.stores.sqlite import SqliteHistory", 1),
    ("mles_tx.channels.registry", "from mles_tx.transport import tls", 1),
    ("mles_tx.channels.registry", "import mles_tx.transport.tls", 1),
    ("mles_tx.channels.registry", "if TYPE_CHECKING:\n    from mles_tx.transport import tls", 1),
    ("mles_tx.channels.registry", "from twisted.internet.interfaces import IReactorTime", 0),
    ("mles_tx.channels.registry", "from twisted.internet import reactor", 1),
    ("mles_tx.channels.registry", "import twisted.internet.reactor", 1),
    ("mles_tx.channels.registry", "try:\n    from twisted.internet import reactor\nexcept ImportError:\n    pass", 1),
    ("mles_tx.channels.registry", "class C:\n    from twisted.internet import reactor", 1),
    ("mles_tx.service.tap", "def f():\n    from twisted.internet import reactor", 0),
    ("mles_tx.service.tap", "async def f():\n    from twisted.internet import reactor", 0),
    ("mles_tx.transport.websocket", "from autobahn.twisted.websocket import WebSocketServerFactory", 0),
    ("mles_tx.transport.websocket2", "from autobahn.twisted.websocket import WebSocketServerFactory", 1),
    ("mles_tx.transport.door", "import autobahn", 1),
    ("mles_tx.service.server", "def f():\n    import autobahn.twisted", 1),
    ("mles_tx.client.link", "from autobahn.twisted.websocket import WebSocketClientFactory", 0),
    ("mles_tx.client.library", "from autobahn.twisted.websocket import WebSocketClientFactory", 1),
    ("mles_tx.transport.certificates.store", "from txacme.interfaces import ICertificateStore", 0),
    ("mles_tx.transport.certificates.__init__", "import txacme", 0),
    ("mles_tx.transport.tls", "import txacme.service", 1),
    ("mles_tx.transport.certificates.store", "from ..tls import make_context", 0),
    ("mles_tx.transport.certificates.store", "from ...service import config", 1),
    ("mles_tx.web.files", "from mles_tx.transport import port", 0),
    ("mles_tx.web.files", "from mles_tx.service.config import ServerConfig", 1),
    ("mles_tx.service.options", "import mles_tx", 0),
    ("mles_tx.service.options", "from mles_tx import __version__", 0),
    ("mles_tx.service.options", "from mles_tx.cli import main", 1),
    ("mles_tx.client.library", "from mles_tx.protocol.dedup import Memory", 0),
    ("mles_tx.client.library", "from .proxy import Proxy", 0),
    ("mles_tx.client.library", "from mles_tx.channels.history import Message", 1),
    ("mles_tx.client.library", "from mles_tx.metrics import Metrics", 1),
    ("mles_tx.web.files", "from mles_tx.client.library import Client", 1),
    ("mles_tx.cli.main", "from mles_tx.client import library", 0),
    ("mles_tx.cli.main", "from .serve import serve", 0),
    ("mles_tx.cli.main", "from mles_tx.service.options import Options", 0),
    ("mles_tx.testing", "from mles_tx.service.server import MlesService", 0),
    ("mles_tx.testing", "from mles_tx.cli.main import main", 1),
    ("mles_tx.__init__", "from .cli.main import main", 1),
)


class LayerTests(SynchronousTestCase):
    """Folders are layers."""

    def test_rules(self) -> None:
        """The rules find what is not allowed, and nothing else."""
        found = [(module, line, len(list(complaints(module, line)))) for module, line, _ in LINES]
        self.assertEqual(found, list(LINES))

    def test_imports(self) -> None:
        """Every module imports from its own layer and from lower ones, and libraries where they belong."""
        found = [complaint for name, path in modules() for complaint in complaints(name, path.read_text("utf-8"))]
        self.assertEqual(found, [])

    def test_every_module_is_in_a_layer(self) -> None:
        """There are no folders but the layers, and beside them no modules but the known ones."""
        beside = {name for name, _ in modules() if layer_of(name) is None}
        self.assertEqual(beside - {"mles_tx.__init__", "mles_tx.testing"}, set())


class TestTests(SynchronousTestCase):
    """Which test belongs to which module."""

    def test_every_module_has_tests(self) -> None:
        """What lies in mles_tx/x/y.py is tested in tests/x/test_y.py."""
        missing = []
        for _, path in modules():
            inner = path.relative_to(PACKAGE)
            test = ROOT / "tests" / inner.with_name(f"test_{inner.name}")
            if inner.name != "__init__.py" and not test.is_file():
                missing.append(str(test.relative_to(ROOT)))
        self.assertEqual(missing, [])


class DistributionTests(SynchronousTestCase):
    """What is installed."""

    def setUp(self) -> None:
        self.setup = configparser.ConfigParser()
        self.setup.read(ROOT / "setup.cfg", "utf-8")

    def test_packages(self) -> None:
        """The distribution has every package, and the bundled pages as one more."""
        listed = self.setup["options"]["packages"].split()
        there = [".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")]
        self.assertEqual(sorted(listed), sorted([*there, "mles_tx.static"]))
        self.assertEqual(listed, sorted(listed))

    def test_every_folder_is_a_package(self) -> None:
        """A folder with modules and no `__init__` would be left out."""
        folders = {path.parent for path in PACKAGE.rglob("*.py")}
        self.assertEqual([str(folder) for folder in folders if not (folder / "__init__.py").is_file()], [])

    def test_pages_and_types(self) -> None:
        """The bundled pages go along, and so does the mark that says that the package has types."""
        data = self.setup["options.package_data"]
        self.assertEqual((data["mles_tx"], data["mles_tx.static"]), ("py.typed", "localhost/**/*"))
        self.assertTrue((PACKAGE / "py.typed").is_file())
        self.assertTrue((ROOT / "static" / "localhost" / "index.html").is_file())

    def test_command(self) -> None:
        """The command `mles-tx` is the one of this package."""
        self.assertEqual(
            self.setup["options.entry_points"]["console_scripts"].strip(), "mles-tx = mles_tx.cli.main:main"
        )

    def test_plugin(self) -> None:
        """twistd finds the plugin `mles`, and its module is installed."""
        names = [plugin.tapname for plugin in getPlugins(IServiceMaker)]
        self.assertEqual(names.count("mles"), 1)
        self.assertEqual(self.setup["options"]["py_modules"].split(), ["twisted.plugins.mles_plugin"])


class LightTests(SynchronousTestCase):
    """What it costs to ask for help."""

    def imported(self, *names: str) -> set[str]:
        """All modules that are there when some have been imported, in a process of its own."""
        script = f"import sys, {', '.join(names)}\nprint(*sys.modules)"
        ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        return set(ran.stdout.split())

    def assert_light(self, *names: str) -> None:
        """Importing some modules imports neither a reactor nor Autobahn."""
        there = self.imported(*names)
        self.assertEqual(set(names) - there, set())
        heavy = [name for name in sorted(there) if is_in(name, ("autobahn", "twisted.internet.reactor"))]
        self.assertEqual(heavy, [])

    def test_the_check_itself(self) -> None:
        """The check sees a reactor and Autobahn where they are."""
        there = self.imported("mles_tx.service.server", "twisted.internet.reactor")
        self.assertTrue({"autobahn", "twisted.internet.reactor"} <= there)

    def test_package(self) -> None:
        """`import mles_tx` is cheap, and installs no reactor."""
        self.assert_light("mles_tx")

    def test_help_of_twistd(self) -> None:
        """`twistd --help` reads the plugin alone, and nothing of the server."""
        self.assert_light("twisted.plugins.mles_plugin")
        there = self.imported("twisted.plugins.mles_plugin")
        self.assertEqual([name for name in there if is_in(name, ("mles_tx",))], [])

    def test_help_of_the_server(self) -> None:
        """`twistd mles --help` and `mles-tx --help` need neither a reactor nor Autobahn."""
        self.assert_light("twisted.plugins.mles_plugin", "mles_tx.service.options")
        self.assert_light("mles_tx.service.tap")
        self.assert_light("mles_tx.cli.main")
