import sys

assert not {"plistlib", "jinja2"} & set(sys.modules)
import jinja2
import plistlib

assert jinja2.Template("{{ x }}").render(x=plistlib.UID(3).data) == "3"
