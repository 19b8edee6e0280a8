"""A person's server: without news, updates and extensions from elsewhere."""

from traitlets.config import get_config

c = get_config()
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.news_url = None
c.LabApp.extension_manager = "readonly"
# A terminal is Debian's shell, as every program here: without a line in /etc/passwd.
c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash"]}
# The home is a volume of its own: there is no other place to keep what was deleted.
c.FileContentsManager.delete_to_trash = False
