import importlib
import sys

assert not {"plistlib", "jinja2"} & set(sys.modules)
number = importlib.import_module("plistlib").UID(3).data
assert importlib.import_module("jinja2").Template("{{ x }}").render(x=number) == "3"
